package expr

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestRecordAndAnswerExistOnlyInTheirScopes: record and answer exist only in
// their own scopes.
func TestRecordAndAnswerExistOnlyInTheirScopes(t *testing.T) {
	base := env(t)
	record, err := base.Record()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := base.Answer()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env *Env
		src string
	}{{base, "record.a == 1"}, {base, "answer.a == 1"}, {record, "answer.a == 1"}, {answer, "record.a == 1"}} {
		var e *Error
		if _, err := c.env.Compile(c.src, Bool); !errors.As(err, &e) || !strings.Contains(e.Message, "undeclared reference") {
			t.Errorf("%s compiles where it means nothing: %v", c.src, err)
		}
	}
	p, err := record.Compile("record.list.transformList(i, x, x.name == args.name, i)[0]", Dyn)
	if err != nil {
		t.Fatal(err)
	}
	var doc any = map[string]any{"list": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}}
	got, err := p.Any(&Vars{Args: Args{Plain: map[string]any{"name": "b"}}, Record: &doc})
	if err != nil || !reflect.DeepEqual(got, int64(1)) {
		t.Errorf("the place in a list is %v, %v", got, err)
	}
	if _, err := p.Any(&Vars{Args: Args{Plain: map[string]any{"name": "b"}}}); err == nil {
		t.Error("an expression over an unknown record has a value")
	}
	var null any
	p, err = record.Compile("record == null ? 'none' : 'one'", String)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := p.String(&Vars{Record: &null}); err != nil || s != "none" {
		t.Errorf("no record is %q, %v", s, err)
	}
}

// TestScopesAreBounded: an expression without an estimate is stopped at run time.
func TestScopesAreBounded(t *testing.T) {
	record, err := env(t).Record()
	if err != nil {
		t.Fatal(err)
	}
	p, err := record.Compile("record.all(a, record.all(b, record.all(c, record.all(d, a + b + c + d >= 0))))", Bool)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]any, 200)
	for i := range list {
		list[i] = int64(i)
	}
	var doc any = list
	if _, err := p.Bool(&Vars{Record: &doc}); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("an expression without end ends with %v", err)
	}
}

// TestLargeValues: expressions can read documents of the maximum size and depth,
// and their results stay bounded.
func TestLargeValues(t *testing.T) {
	base := env(t)
	record, err := base.Record()
	if err != nil {
		t.Fatal(err)
	}
	var deep any = "end"
	for range 45 {
		deep = map[string]any{"x": []any{deep}}
	}
	many := make([]any, 30_000)
	for i := range many {
		many[i] = map[string]any{"id": int64(i), "tags": []any{"a", map[string]any{"b": []any{int64(1)}}}}
	}
	var doc any = map[string]any{"deep": deep, "many": many}
	vars := &Vars{Args: Args{Plain: map[string]any{"deep": deep, "many": many, "ids": []any{int64(7), int64(29_999)}}}, Record: &doc}
	for _, c := range []struct {
		env  *Env
		src  string
		fine bool
	}{
		{base, "size(args.deep) == 1 && args.deep.x[0].x.size() == 1", true},
		{base, "size(args.many) == 30000 && args.many.exists(m, m.id == 29999)", true},
		{record, "record.many.filter(m, m.id in args.ids).size() == 2", true},
		{record, "args.ids.all(i, record.many.exists(m, m.id == i)) && record.deep.x.size() == 1", true},
		{record, "record.many.map(m, {'op': 'add', 'path': '/' + string(m.id), 'value': m}).size() == 30000", true},
		{record, "record.many.map(a, record.many.map(b, [a, b])).size() == 30000", false},
		{record, "record.many.map(a, record.many).flatten().flatten().size() > 0", false},
	} {
		p, err := c.env.Compile(c.src, Bool)
		if err != nil {
			t.Fatal(err)
		}
		if !c.fine && testing.Short() {
			continue // it takes as many steps as there are; the full run covers it
		}
		start := time.Now()
		got, err := p.Bool(vars)
		if c.fine != (err == nil && got) {
			t.Errorf("%s: %v, %v", c.src, got, err)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s took %v", c.src, took)
		} else {
			t.Logf("%s: %v", c.src, took)
		}
	}
}
