package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// shelf is a server with one record, which every tool returns.
type shelf struct {
	doc   string // the structured content
	err   error
	asked []string
}

func (s *shelf) ReadTool(_ context.Context, tool string, args []byte) ([]byte, error) {
	s.asked = append(s.asked, tool+string(args))
	if s.err != nil {
		return nil, s.err
	}
	return []byte(`{"content":[],"structuredContent":` + s.doc + `}`), nil
}

func recordSpecOf(kind string, change func(*RecordSpec)) Spec {
	r := &RecordSpec{Tool: "get_contact", Args: map[string]string{"id": "args.id"}, At: "/contact", Path: "effect"}
	if change != nil {
		change(r)
	}
	return Spec{Kind: kind, Proven: true, Params: map[string]string{recordArg(kind): "args.change"}, Record: r}
}

// recordPlan plans a change to {"contact": before}.
func recordPlan(t testing.TB, s Spec, before string, change any) (guard.Preview, *shelf, error) {
	t.Helper()
	server := &shelf{doc: `{"contact":` + before + `}`}
	if before == "" {
		server.doc = `{}`
	}
	in := input(t, m{"id": "c1", "change": change})
	in.Reader = server
	p, err := plan(t, compile(t, s), in)
	return p, server, err
}

func TestRecordPlans(t *testing.T) {
	shape := func(r *RecordSpec) {
		r.Shape = jsonvalue.Shape{Ignore: []string{"/updated_at", "/items/*/seen"}, Keys: map[string]string{"/items": "id"}}
	}
	create := func(r *RecordSpec) { r.Create = true }
	for name, c := range map[string]struct {
		kind    string
		spec    func(*RecordSpec)
		before  string
		change  any
		preview string // or a part of the refusal's reason
		patch   string
		summary string
		hazards string
	}{
		"merge": {JSONMerge, nil, `{"stage":"lead","email":"a@x","n":1.0}`, m{"stage": "customer", "email": nil, "new": m{"a": []any{}}},
			`[{"op":"remove","path":"/email","from":"a@x"},{"op":"add","path":"/new","to":{"a":[]}},{"op":"replace","path":"/stage","from":"lead","to":"customer"}]`,
			`[{"op":"test","path":"/email","value":"a@x"},{"op":"remove","path":"/email"},{"op":"add","path":"/new","value":{"a":[]}},{"op":"test","path":"/stage","value":"lead"},{"op":"replace","path":"/stage","value":"customer"}]`,
			`change get_contact:{"id":"c1"} (+2 −2)`, ""},
		"nothing changes":    {JSONMerge, nil, `{"n":1.0}`, m{"n": 1}, `[]`, `[]`, `no change to get_contact:{"id":"c1"}`, ""},
		"merge of no object": {JSONMerge, nil, `{"a":1}`, []any{1}, "would replace the whole record", "", "", ""},
		"replace": {JSONReplace, shape, `{"updated_at":"now","items":[{"id":1,"seen":2},{"id":2}]}`, m{"items": []any{m{"id": 2}, m{"id": 1}}},
			`[]`, `[]`, `no change to get_contact:{"id":"c1"}`, ""},
		"keyed lists": {JSONReplace, shape, `{"items":[{"id":2,"n":1},{"id":1}]}`, m{"items": []any{m{"id": 1}, m{"id": 2, "n": 3}}},
			`[{"op":"replace","path":"/items/1/n","from":1,"to":3}]`, `[{"op":"test","path":"/items/1/n","value":1},{"op":"replace","path":"/items/1/n","value":3}]`, `change get_contact:{"id":"c1"} (+1 −1)`, ""},
		"a list without keys": {JSONReplace, shape, `{"items":[{"id":1},{"id":1,"x":2}]}`, m{"items": []any{}},
			`[{"op":"remove","path":"/items/0","from":{"id":1}},{"op":"remove","path":"/items/1","from":{"id":1,"x":2}}]`, "", `change get_contact:{"id":"c1"} (+0 −2)`, HazardUnkeyed},
		"the server's own field":      {JSONMerge, shape, `{"updated_at":"now"}`, m{"updated_at": "then"}, "/updated_at of the record is set by the server itself", "", "", ""},
		"taken away by a merge":       {JSONMerge, shape, `{"updated_at":"now","a":1}`, m{"updated_at": nil, "a": 2}, "/updated_at of the record is set by the server itself", "", "", ""},
		"taken away by a patch":       {JSONPatch, shape, `{"updated_at":"now"}`, []any{m{"op": "remove", "path": "/updated_at"}}, "/updated_at of the record is set by the server itself", "", "", ""},
		"left out of the whole":       {JSONReplace, shape, `{"updated_at":"now","a":1}`, m{"a": 2}, `[{"op":"replace","path":"/a","from":1,"to":2}]`, "", `change get_contact:{"id":"c1"} (+1 −1)`, ""},
		"gone with its element":       {JSONPatch, shape, `{"items":[{"id":1,"seen":1}]}`, []any{m{"op": "remove", "path": "/items/0"}}, `[{"op":"remove","path":"/items/0","from":{"id":1}}]`, "", `change get_contact:{"id":"c1"} (+0 −1)`, ""},
		"the same field sent back":    {JSONReplace, shape, `{"updated_at":"now","a":1}`, m{"updated_at": "now", "a": 2}, `[{"op":"replace","path":"/a","from":1,"to":2}]`, "", `change get_contact:{"id":"c1"} (+1 −1)`, ""},
		"one in an element":           {JSONReplace, shape, `{"items":[{"id":1,"seen":1},{"id":2,"seen":2}]}`, m{"items": []any{m{"id": 2, "seen": 1}}}, "/items/0/seen of the record is set by the server itself", "", "", ""},
		"an element that moved":       {JSONReplace, shape, `{"items":[{"id":1,"seen":1},{"id":2,"seen":2,"a":1}]}`, m{"items": []any{m{"id": 2, "seen": 2, "a": 3}}}, `[{"op":"remove","path":"/items/0","from":{"id":1}},{"op":"replace","path":"/items/1/a","from":1,"to":3}]`, "", `change get_contact:{"id":"c1"} (+1 −2)`, ""},
		"patch":                       {JSONPatch, nil, `{"a":[1,2]}`, []any{m{"op": "add", "path": "/a/-", "value": 3}, m{"op": "test", "path": "/a/0", "value": 1}}, `[{"op":"add","path":"/a/2","to":3}]`, `[{"op":"add","path":"/a/2","value":3}]`, `change get_contact:{"id":"c1"} (+1 −0)`, ""},
		"a patch that does not apply": {JSONPatch, nil, `{"a":1}`, []any{m{"op": "test", "path": "/a", "value": 2}}, "operation 1, test", "", "", ""},
		"no patch":                    {JSONPatch, nil, `{"a":1}`, []any{m{"op": "frob", "path": "/a"}}, "the patch is not valid", "", "", ""},
		"missing":                     {JSONReplace, nil, "", m{"a": 1}, "there is no such record", "", "", ""},
		"missing, null":               {JSONReplace, nil, "null", m{"a": 1}, "there is no such record", "", "", ""},
		"made": {JSONReplace, create, "", m{"a": 1}, `[{"op":"add","path":"","to":{"a":1}}]`, `[{"op":"add","path":"","value":{"a":1}}]`,
			`create the record get_contact:{"id":"c1"}`, ""},
		"made by a merge": {JSONMerge, create, "null", m{"a": m{"b": nil, "c": 1}}, `[{"op":"add","path":"","to":{"a":{"c":1}}}]`, "", `create the record get_contact:{"id":"c1"}`, ""},
		"removed":         {JSONReplace, nil, `{"a":1}`, nil, `[{"op":"remove","path":"","from":{"a":1}}]`, `[{"op":"test","path":"","value":{"a":1}},{"op":"replace","path":"","value":null}]`, `remove the record get_contact:{"id":"c1"}`, ""},
		"moved": {JSONPatch, nil, `{"a":{"x":1}}`, []any{m{"op": "move", "from": "/a", "path": "/b"}}, `[{"op":"remove","path":"/a","from":{"x":1}},{"op":"add","path":"/b","to":{"x":1}}]`,
			`[{"op":"test","path":"/a","value":{"x":1}},{"op":"move","from":"/a","path":"/b"}]`, `change get_contact:{"id":"c1"} (+1 −1)`, ""},
		"a name that JavaScript knows": {JSONMerge, nil, `{}`, m{"a": m{"__proto__": m{"owner": "eve"}}}, `[{"op":"add","path":"/a","to":{"__proto__":{"owner":"eve"}}}]`, "", `change get_contact:{"id":"c1"} (+1 −0)`, HazardOddName},
		"a pair of names":              {JSONMerge, nil, `{}`, m{"constructor": m{"prototype": 1}}, `[{"op":"add","path":"/constructor","to":{"prototype":1}}]`, "", `change get_contact:{"id":"c1"} (+1 −0)`, HazardOddName},
		"a plain word":                 {JSONMerge, nil, `{}`, m{"constructor": "Lotus"}, `[{"op":"add","path":"/constructor","to":"Lotus"}]`, "", `change get_contact:{"id":"c1"} (+1 −0)`, ""},
		"long integers": {JSONMerge, nil, `{"id":9007199254740993,"n":123456789012345678901234567890}`, m{"x": 1},
			`[{"op":"add","path":"/x","to":1}]`, "", `change get_contact:{"id":"c1"} (+1 −0)`, ""},
		"another type": {JSONMerge, nil, `{"age":"41"}`, m{"age": 41}, `[{"op":"replace","path":"/age","from":"41","to":41}]`, "", `change get_contact:{"id":"c1"} (+1 −1)`, HazardRetyped},
		"hidden text":  {JSONMerge, nil, `{"a":"x"}`, m{"a": "x\u202ey"}, `[{"op":"replace","path":"/a","from":"x","to":"x` + "\u202e" + `y"}]`, "", `change get_contact:{"id":"c1"} (+1 −1)`, "bidi"},
	} {
		p, server, err := recordPlan(t, recordSpecOf(c.kind, c.spec), c.before, c.change)
		if c.summary == "" {
			var r *Refusal
			if !errors.As(err, &r) || !strings.Contains(r.Reason, c.preview) || r.Repair == "" {
				t.Errorf("%s: got %v, want a refusal with %q", name, err, c.preview)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if string(p.Change.Preview) != c.preview || c.patch != "" && string(p.Change.Patch) != c.patch || p.Summary != c.summary || p.Change.Type != guard.ChangeJSONPatch {
			t.Errorf("%s\npreview %s\nwant    %s\npatch   %s\nwant    %s\nsummary %s\nwant    %s", name, p.Change.Preview, c.preview, p.Change.Patch, c.patch, p.Summary, c.summary)
		}
		var kinds []string
		for _, h := range p.Hazards {
			kinds = append(kinds, h.Kind)
		}
		if all := strings.Join(kinds, " "); c.hazards == "" && all != "" || !strings.Contains(all, c.hazards) {
			t.Errorf("%s: hazards %s, want %s", name, all, c.hazards)
		}
		e := p.Effects[0]
		if e.Resource.Kind != TargetRecord || e.Resource.Key != `files:get_contact:{"id":"c1"}` || !e.Resource.Write || !e.After.Computed {
			t.Errorf("%s: the effect is on %+v", name, e.Resource)
		}
		if len(server.asked) != 1 || server.asked[0] != `get_contact{"id":"c1"}` {
			t.Errorf("%s: the server was asked %q", name, server.asked)
		}
	}
}

// TestRecordReadsFailClosed: a record that cannot be read is not guessed.
func TestRecordReadsFailClosed(t *testing.T) {
	b := compile(t, recordSpecOf(JSONMerge, nil))
	broken := errors.New("gone")
	for name, c := range map[string]struct {
		reader Reader
		want   string
	}{
		"no server":       {nil, "only be read from the running server"},
		"a failing read":  {&shelf{err: &Refusal{Rule: guard.RulePreviewFailed, Reason: "it does not answer", Repair: "x"}}, "it does not answer"},
		"the call ended":  {&shelf{err: broken}, "gone"},
		"no record in it": {&shelf{doc: `{"other":{}}`}, "there is no such record"},
		"a scalar":        {&shelf{doc: `{"contact":{"a":1,"a":2}}`}, "does not show the record"},
	} {
		in := input(t, m{"id": "c1", "change": m{"a": 1}})
		in.Reader = c.reader
		if _, err := plan(t, b, in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	// The arguments of the read are required.
	in := input(t, m{"change": m{"a": 1}})
	if _, err := b.Resolve(context.Background(), in); err == nil {
		t.Error("a record without a name is resolved")
	}
	// Rules that were applied to another record do not count for this one.
	in = input(t, m{"id": "c1", "change": m{}})
	in.Reader = &shelf{doc: `{"contact":{}}`}
	if _, err := b.Plan(context.Background(), in, []guard.Target{{Kind: TargetRecord, Key: "files:get_contact:{\"id\":\"c2\"}"}}); err == nil {
		t.Error("another record is planned")
	}
}

func TestRecordPaths(t *testing.T) {
	rules := func(r *RecordSpec) {
		r.Allow, r.Ask, r.Deny = []string{"/stage", "/items/*/n", "/meta"}, []string{"/email", "/meta/secret"}, []string{"/owner", "/items/*/price", "/address/country"}
	}
	const before = `{"stage":"lead","email":"a","owner":"o","items":[{"n":1,"price":2}],"address":{"street":"s","country":"c"},"meta":{"a":1,"secret":2}}`
	for name, c := range map[string]struct {
		kind   string
		change any
		want   string // allow, ask, or the rule that denies
	}{
		"allowed":                     {JSONMerge, m{"stage": "x"}, "allow"},
		"allowed, of another type":    {JSONMerge, m{"stage": m{"a": 1}}, "ask"},
		"allowed, with a hidden sign": {JSONMerge, m{"stage": "won\u202e"}, "ask"},
		"allowed, with an odd name":   {JSONMerge, m{"meta": m{"x": m{"__proto__": m{"a": 1}}}}, "ask"},
		"asked for":                   {JSONMerge, m{"email": "x"}, "ask"},
		"one of two":                  {JSONMerge, m{"stage": "x", "email": "x"}, "ask"},
		"named by no list":            {JSONMerge, m{"other": "x"}, "ask"},
		"denied":                      {JSONMerge, m{"owner": "x"}, "effect.paths.deny[0]"},
		"denied beside allowed":       {JSONMerge, m{"stage": "x", "owner": nil}, "effect.paths.deny[0]"},
		"denied though it stays":      {JSONMerge, m{"owner": "o"}, "effect.paths.deny[0]"},
		"below what is denied":        {JSONMerge, m{"owner": m{"a": m{"b": 1}}}, "effect.paths.deny[0]"},
		"a name that begins alike":    {JSONMerge, m{"owners": "x"}, "ask"},
		"another case":                {JSONMerge, m{"Owner": "x"}, "ask"},
		"gone with its parent":        {JSONMerge, m{"address": nil}, "effect.paths.deny[2]"},
		"replaced with its parent":    {JSONMerge, m{"address": "x"}, "effect.paths.deny[2]"},
		"beside it":                   {JSONMerge, m{"address": m{"street": "x"}}, "ask"},
		"made with its parent":        {JSONMerge, m{"items": []any{m{"price": 1}}}, "effect.paths.deny[1]"},
		"ask within allowed":          {JSONMerge, m{"meta": m{"secret": 3}}, "ask"},
		"the rest of allowed":         {JSONMerge, m{"meta": m{"a": 3}}, "allow"},
		"nothing":                     {JSONMerge, m{}, "ask"},
		"any element":                 {JSONPatch, []any{m{"op": "replace", "path": "/items/0/n", "value": 5}}, "allow"},
		"an element's denied member":  {JSONPatch, []any{m{"op": "replace", "path": "/items/0/price", "value": 2}}, "effect.paths.deny[1]"},
		"a move of what is denied":    {JSONPatch, []any{m{"op": "move", "from": "/owner", "path": "/stage"}}, "effect.paths.deny[0]"},
		"there and back":              {JSONPatch, []any{m{"op": "remove", "path": "/owner"}, m{"op": "add", "path": "/owner", "value": "o"}}, "effect.paths.deny[0]"},
		"a copy over it":              {JSONPatch, []any{m{"op": "copy", "from": "/stage", "path": "/owner"}}, "effect.paths.deny[0]"},
		"a copy of it":                {JSONPatch, []any{m{"op": "copy", "from": "/owner", "path": "/stage"}}, "allow"},
		"a test of it":                {JSONPatch, []any{m{"op": "test", "path": "/owner", "value": "o"}, m{"op": "replace", "path": "/stage", "value": "x"}}, "allow"},
		"the whole by a patch":        {JSONPatch, []any{m{"op": "replace", "path": "", "value": m{"stage": "lead"}}}, "effect.paths.deny[0]"},
		"the whole":                   {JSONReplace, m{"stage": "lead"}, "effect.paths.deny[0]"},
		"the whole, one different":    {JSONReplace, json.RawMessage(strings.Replace(before, "lead", "won", 1)), "allow"},
	} {
		p, _, err := recordPlan(t, recordSpecOf(c.kind, rules), before, c.change)
		got := string(p.Paths)
		var r *Refusal
		if errors.As(err, &r) {
			got = string(r.Rule)
		} else if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if p, _, err := recordPlan(t, recordSpecOf(JSONMerge, nil), before, m{"owner": "x"}); err != nil || p.Paths != "" {
		t.Errorf("without rules: %q, %v", p.Paths, err)
	}
}

// TestRecordPlanTimeIsProportionalToSize: many elements, many members and
// hazardous names all take time in proportion to their size.
func TestRecordPlanTimeIsProportionalToSize(t *testing.T) {
	const n = 20_000
	var list, object, odd []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"id":%d,"seen":1}`, i))
		object = append(object, fmt.Sprintf(`"m%d":{"seen":1}`, i))
		odd = append(odd, fmt.Sprintf(`"m%d":{"__proto__":1}`, i))
	}
	before := `{"items":[` + strings.Join(list, ",") + `],"map":{` + strings.Join(object, ",") + `}}`
	slices.Reverse(list)
	after := `{"items":[` + strings.Join(list, ",") + `],"map":{` + strings.Join(object, ",") + `},"odd":{` + strings.Join(odd, ",") + `}}`
	for _, kind := range []string{JSONReplace, JSONMerge} {
		s := recordSpecOf(kind, func(r *RecordSpec) {
			r.Shape = jsonvalue.Shape{Ignore: []string{"/items/*/seen", "/map/*/seen"}, Keys: map[string]string{"/items": "id"}}
		})
		start := time.Now()
		p, _, err := recordPlan(t, s, before, json.RawMessage(after))
		if err != nil || p.Change.Added != 1 || !hasHazard(p, HazardOddName) {
			t.Errorf("%s: %s, %v", kind, p.Summary, err)
		}
		if took := time.Since(start); took > 10*time.Second { // takes less than one second; quadratic time would take minutes
			t.Errorf("%s took %v", kind, took)
		}
	}
}

// TestIndexedPathChangesWhenElementsShift: an indexed path changes too when an
// element is added or removed before it.
func TestIndexedPathChangesWhenElementsShift(t *testing.T) {
	rules := func(r *RecordSpec) {
		r.Allow, r.Ask, r.Deny = []string{"/roles", "/tags"}, []string{"/tags/0"}, []string{"/roles/1", "/a~1b/~0", "/list/0/x"}
	}
	const before = `{"roles":["admin","dev","qa"],"tags":["a","b"],"a/b":{"~":1,"~0":2},"list":{"0":{"x":1}}}`
	for name, c := range map[string]struct {
		patch []any
		want  string
	}{
		"before it, added":        {[]any{m{"op": "add", "path": "/roles/0", "value": "root"}}, "effect.paths.deny[0]"},
		"before it, removed":      {[]any{m{"op": "remove", "path": "/roles/0"}}, "effect.paths.deny[0]"},
		"swapped with the last":   {[]any{m{"op": "move", "from": "/roles/2", "path": "/roles/0"}}, "effect.paths.deny[0]"},
		"before it, replaced":     {[]any{m{"op": "replace", "path": "/roles/0", "value": "root"}}, "allow"},
		"after it":                {[]any{m{"op": "add", "path": "/roles/-", "value": "x"}}, "allow"},
		"there and back":          {[]any{m{"op": "add", "path": "/roles/0", "value": "x"}, m{"op": "remove", "path": "/roles/0"}, m{"op": "add", "path": "/roles/-", "value": "x"}}, "allow"},
		"one to be asked for":     {[]any{m{"op": "add", "path": "/tags/0", "value": "x"}}, "ask"},
		"after the one":           {[]any{m{"op": "add", "path": "/tags/1", "value": "x"}}, "allow"},
		"a name with escapes":     {[]any{m{"op": "replace", "path": "/a~1b/~0", "value": 2}}, "effect.paths.deny[1]"},
		"its neighbour":           {[]any{m{"op": "replace", "path": "/a~1b/~00", "value": 3}}, "ask"},
		"a number that is a name": {[]any{m{"op": "remove", "path": "/list/0"}}, "effect.paths.deny[2]"},
	} {
		p, _, err := recordPlan(t, recordSpecOf(JSONPatch, rules), before, c.patch)
		got := string(p.Paths)
		var r *Refusal
		if errors.As(err, &r) {
			got = string(r.Rule)
		} else if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestRecordExpressions checks what is computed from the current record.
func TestRecordExpressions(t *testing.T) {
	s := recordSpecOf(JSONPatch, nil)
	s.Params["patch"] = `args.names.map(n, {'op': 'add', 'path': '/list/' + string(record.list.transformList(i, x, x.name == n, i)[0]) + '/seen', 'value': record.n})`
	b := compile(t, s)
	run := func(doc string, names ...string) (guard.Preview, error) {
		in := input(t, m{"id": "c1", "names": names})
		in.Reader = &shelf{doc: `{"contact":` + doc + `}`}
		return plan(t, b, in)
	}
	p, err := run(`{"n":12345678901234567,"list":[{"name":"a"},{"name":"b"}]}`, "b")
	if err != nil || string(p.Change.Preview) != `[{"op":"add","path":"/list/1/seen","to":12345678901234567}]` {
		t.Errorf("got %s, %v", p.Change.Preview, err)
	}
	if _, err := run(`{"n":1,"list":[]}`, "b"); err == nil {
		t.Error("what is not there is found")
	}
	var r *Refusal
	if _, err := run(`{"n":9223372036854775808,"list":[{"name":"b"}]}`, "b"); !errors.As(err, &r) || !strings.Contains(r.Reason, "would be rounded") {
		t.Errorf("a number that no expression holds: %v", err)
	}
	if _, err := run(`{"n":0.12345678901234567890123,"list":[{"name":"b"}]}`, "b"); !errors.As(err, &r) || !strings.Contains(r.Reason, "would be rounded") {
		t.Errorf("a fraction that no expression holds: %v", err)
	}
}

// TestRecordInFile: a record in a file is read and verified there, and must lie in
// the workspace.
func TestRecordInFile(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "data.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"users":{"ada":{"n":1}},"other":1}`)
	s := recordSpecOf(JSONMerge, func(r *RecordSpec) { r.Tool, r.Args, r.File, r.At = "", nil, "args.file", "/users/ada" })
	b := compile(t, s)
	p, err := plan(t, b, input(t, m{"file": "data.json", "change": m{"n": 2}}, root))
	if err != nil || string(p.Change.Preview) != `[{"op":"replace","path":"/n","from":1,"to":2}]` || p.Effects[0].Resource.Kind != TargetFile {
		t.Fatalf("got %s, %v", p.Change.Preview, err)
	}
	ctx := context.Background()
	if f := Verify(ctx, nil, p.Effects); f.Result != guard.Untouched {
		t.Errorf("before the write: %+v", f)
	}
	write(`{"other":1, "users": {"ada": {"n": 2.0}}}`)
	if f := Verify(ctx, nil, p.Effects); f.Result != guard.Verified {
		t.Errorf("after the write: %+v", f)
	}
	write(`{"users":{"ada":{"n":2,"admin":true}}}`)
	if f := Verify(ctx, nil, p.Effects); f.Result != guard.Diverged || string(f.Difference) != `[{"op":"add","path":"/admin","value":true}]` {
		t.Errorf("after another write: %+v", f)
	}
	for name, args := range map[string]m{
		"outside":   {"file": "../data.json", "change": m{}},
		"a folder":  {"file": ".", "change": m{}},
		"not there": {"file": "none.json", "change": m{}},
	} {
		var r *Refusal
		if _, err := plan(t, b, input(t, args, root)); !errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for text, want := range map[string]string{`{"users":{},"users":{}}`: "twice", `{"users":`: "cannot be read", ``: "cannot be read"} {
		write(text)
		if _, err := plan(t, b, input(t, m{"file": "data.json", "change": m{}}, root)); err == nil {
			t.Errorf("%s: planned, want %s", text, want)
		}
	}
}

func TestRecordVerify(t *testing.T) {
	s := recordSpecOf(JSONMerge, func(r *RecordSpec) { r.Shape.Ignore = []string{"/updated_at"} })
	p, _, err := recordPlan(t, s, `{"a":1,"updated_at":"then"}`, m{"a": 2})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		reader     Reader
		want       guard.ReadBack
		detail     string
		difference string
	}{
		"as approved":        {&shelf{doc: `{"contact":{"updated_at":"now","a":2.0}}`}, guard.Verified, "", ""},
		"nothing done":       {&shelf{doc: `{"contact":{"a":1,"updated_at":"now"}}`}, guard.Untouched, "as it was before", `[{"op":"test","path":"/a","value":2},{"op":"replace","path":"/a","value":1}]`},
		"more done":          {&shelf{doc: `{"contact":{"a":2,"owner":"eve"}}`}, guard.Diverged, "add /owner", `[{"op":"add","path":"/owner","value":"eve"}]`},
		"gone":               {&shelf{doc: `{}`}, guard.Diverged, "is not there", `[{"op":"test","path":"","value":{"a":2}},{"op":"replace","path":"","value":null}]`},
		"a read that fails":  {&shelf{err: &Refusal{Reason: "no"}}, guard.Unverifiable, "could not be read back: no", ""},
		"no server any more": {nil, guard.Unverifiable, "could not be read back", ""},
	} {
		f := Verify(context.Background(), c.reader, p.Effects)
		if f.Result != c.want || !strings.Contains(f.Detail, c.detail) || string(f.Difference) != c.difference {
			t.Errorf("%s: %s, %s, %s", name, f.Result, f.Detail, f.Difference)
		}
	}
	// After a restart only the digest of the prediction is known.
	raw, err := json.Marshal(p.Effects)
	if err != nil {
		t.Fatal(err)
	}
	var kept []guard.Effect
	if err := json.Unmarshal(raw, &kept); err != nil {
		t.Fatal(err)
	}
	if f := Verify(context.Background(), &shelf{doc: `{"contact":{"a":2}}`}, kept); f.Result != guard.Verified {
		t.Errorf("after a restart: %+v", f)
	}
	if f := Verify(context.Background(), &shelf{doc: `{"contact":{"a":3}}`}, kept); f.Result != guard.Diverged || f.Difference != nil {
		t.Errorf("after a restart: %+v", f)
	}
}

func TestAnswer(t *testing.T) {
	for in, want := range map[string]string{
		`{"structuredContent":{"b":1,"a":9007199254740993}}`:                                                `{"b":1,"a":9007199254740993}`,
		`{"content":[{"type":"text","text":"{\"a\":1}"}],"structuredContent":{}}`:                           `{}`,
		`{"content":[{"type":"text","text":"{\"a\":1}"}],"structuredContent":null}`:                         `{"a":1}`,
		`{"content":[{"type":"image","data":""},{"type":"text","text":"[1]"}]}`:                             `[1]`,
		`{"content":[{"type":"text","text":"1"},{"type":"text","text":"2"}]}`:                               "",
		`{"content":[{"type":"text","text":"Done."}]}`:                                                      "",
		`{"content":[{"type":"text"}]}`:                                                                     "",
		`{"content":[{"type":"text","text":"{\"a\":1}"}],"structuredContent":{"result":"{\"a\":1}"}}`:       `{"a":1}`,
		`{"content":[{"type":"text","text":"{\"a\":1}"}],"structuredContent":{"result":"{\"a\":2}"}}`:       `{"result":"{\"a\":2}"}`,
		`{"content":[{"type":"text","text":"{\"a\":1}"}],"structuredContent":{"result":"{\"a\":1}","x":1}}`: `{"result":"{\"a\":1}","x":1}`,
		`{"content":[{"type":"text","text":"done"}],"structuredContent":{"result":"done"}}`:                 `{"result":"done"}`,
		`{"content":[]}`:                      "",
		`{}`:                                  "",
		`{"structuredContent":{"a":1,"a":2}}`: "",
	} {
		v, err := Answer([]byte(in))
		if got := v.String(); got != want || (want == "") != (err != nil) {
			t.Errorf("%s\ngot  %s, %v\nwant %s", in, got, err, want)
		}
	}
}
