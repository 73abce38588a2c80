package effect

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Hazards of records.
const (
	HazardUnkeyed = "list_without_key"
	HazardRetyped = "type_changed"
	HazardOddName = "special_name"
)

// stateRecord is the kind of a record's state.
const stateRecord = "record"

// largeRows is the number of changed values from which a change is more than a
// person reads.
const largeRows = 500

// recordFile returns the path of the file that holds a record.
func recordFile(p resolvedPath) (*resolvedPath, error) {
	switch {
	case p.exists && p.stat.isDir():
		return nil, refusePlan("name a file", "%q is a folder", p.rel())
	case p.exists && p.stat.isLink():
		return nil, refusePlan("write to what it leads to", "%q is a symbolic link", p.rel())
	}
	return &p, nil
}

// recordValue evaluates the parameter that computes the new record, which may refer
// to the current one.
func (b *Binding) recordValue(in Input, before jsonvalue.Value) (jsonvalue.Value, error) {
	prog, vars := b.params[b.about.Record], in.Vars
	if prog.Uses("record") {
		var doc any
		if before.Present() {
			var err error
			if doc, err = Plain(before); err != nil {
				return jsonvalue.Value{}, refusePlan(askDeveloper, "the record cannot be used in an expression: %v", err)
			}
		}
		over := *in.Vars
		over.Record = &doc
		vars = &over
	}
	v, err := exactValue(prog, vars)
	if err != nil {
		return jsonvalue.Value{}, fmt.Errorf("effect %s, %s: %w", b.about.Name, b.about.Record, err)
	}
	return v, nil
}

func refuseRecordPatch(err error) *Refusal {
	var pe *jsonvalue.PatchError
	if !errors.As(err, &pe) {
		return refusePlan(readRecordFirst, "the patch does not apply to the record")
	}
	return refusePlan(readRecordFirst, "the patch does not apply to the record: operation %d, %s at %.100q: %v", pe.Index+1, pe.Op, pe.Path, pe.Err)
}

// serverMade refuses a call that sets a field that, by the policy, the server
// makes: it is not compared, so the change would go unseen. The current value may
// be sent along. A whole record may omit the field. named says that the call names
// what changes; then removing the field counts as setting it, unless its whole
// parent is removed.
func (r *record) serverMade(before, after jsonvalue.Value, named bool) error {
	for _, p := range r.ignored {
		if err := r.sameAt(p, before, after, nil); err != nil {
			return err
		}
		if named {
			if err := keptAt(p, before, after, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func setByServer(path []string) error {
	return refusePlan("leave it out", "%s of the record is set by the server itself", oneLine(jsonvalue.FormatPointer(path...)))
}

// keptAt refuses to remove a field from an object that stays.
func keptAt(p pattern, before, after jsonvalue.Value, path []string) error {
	if len(p) == 0 || !after.Present() {
		return nil
	}
	path = path[:len(path):len(path)]
	now := membersOf(after, p[0])
	for name, was := range before.Members() {
		if p[0] != "*" && p[0] != name {
			continue
		}
		here, is := append(path, name), now[name]
		if len(p) == 1 && after.Type() == jsonvalue.TypeObject && !is.Present() {
			return setByServer(here)
		}
		if err := keptAt(p[1:], was, is, here); err != nil {
			return err
		}
	}
	return nil
}

// membersOf returns the members of an object that a pattern token matches.
func membersOf(v jsonvalue.Value, token string) map[string]jsonvalue.Value {
	if token != "*" {
		if m := v.Member(token); m.Present() {
			return map[string]jsonvalue.Value{token: m}
		}
		return nil
	}
	out := make(map[string]jsonvalue.Value, v.Len())
	for name, m := range v.Members() {
		out[name] = m
	}
	return out
}

func (r *record) sameAt(p pattern, before, after jsonvalue.Value, path []string) error {
	if !after.Present() {
		return nil
	}
	if len(p) == 0 {
		if !after.Equal(before) {
			return setByServer(path)
		}
		return nil
	}
	path = path[:len(path):len(path)]
	was := membersOf(before, p[0])
	for name, v := range after.Members() {
		if p[0] != "*" && p[0] != name {
			continue
		}
		if err := r.sameAt(p[1:], was[name], v, append(path, name)); err != nil {
			return err
		}
	}
	var earlier func(int, jsonvalue.Value) jsonvalue.Value
	for i, v := range after.Elems() {
		token := strconv.Itoa(i)
		if p[0] != "*" && p[0] != token {
			continue
		}
		if earlier == nil {
			earlier = r.earlier(before)
		}
		if err := r.sameAt(p[1:], earlier(i, v), v, append(path, token)); err != nil {
			return err
		}
	}
	return nil
}

// earlier returns a function that finds what a list element was before: the element
// with its key, an equal one, or else the one at the same index.
func (r *record) earlier(before jsonvalue.Value) func(i int, v jsonvalue.Value) jsonvalue.Value {
	text := func(v jsonvalue.Value) string {
		n, _, _ := jsonvalue.Shape{}.Normal(v) // no pointer, no error
		return n.String()
	}
	whole, keyed := map[string]jsonvalue.Value{}, map[string]jsonvalue.Value{}
	for _, old := range before.Elems() {
		whole[text(old)] = old
		for _, member := range r.spec.Shape.Keys {
			key := old.Member(member)
			if name := member + "\x00" + text(key); key.Present() && !keyed[name].Present() {
				keyed[name] = old
			}
		}
	}
	return func(i int, v jsonvalue.Value) jsonvalue.Value {
		for _, member := range r.spec.Shape.Keys {
			if key := v.Member(member); key.Present() {
				if old, ok := keyed[member+"\x00"+text(key)]; ok {
					return old
				}
			}
		}
		if old, ok := whole[text(v)]; ok {
			return old
		}
		return before.Elem(i)
	}
}

// presentRecord renders a change to a record.
func (b *Binding) presentRecord(t guard.Target, ref *guard.RecordRef, before, after jsonvalue.Value, named []touch) (guard.Preview, error) {
	var hazards []guard.Hazard
	was, will, unkeyed, err := b.record.spec.Shape.NormalPair(noNull(before), noNull(after))
	if err != nil {
		return guard.Preview{}, err
	}
	patch, rows, coarse := compareRecords(was, will)
	verdict, err := b.record.paths.evaluate(rows, named, was, will)
	if err != nil {
		return guard.Preview{}, err
	}
	add := func(kind, format string, args ...any) {
		hazards = append(hazards, guard.Hazard{Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	if b.record.unproven {
		add(HazardUnproven, "this version of the server was not compared with what the guard knows of it")
	}
	if len(unkeyed) > 0 {
		add(HazardUnkeyed, "in a list that is compared by a key, an element has none or two share one: %s", named3(unkeyed))
	}
	if names := oddNames(rows); len(names) > 0 {
		add(HazardOddName, "JavaScript takes this for something else than a name: %s", named3(names))
	}
	if coarse {
		add(HazardCoarse, "the change is too large to be compared closely; unchanged values may show as changed")
	}
	text, added, removed, types := rowText(rows)
	if len(rows) > largeRows || len(text) > largeText {
		add(HazardLarge, "%d values change", len(rows))
	}
	if len(types) > 0 {
		add(HazardRetyped, "%s changes its type", named3(types))
	}
	change := guard.Change{Type: guard.ChangeJSONPatch, Text: text, Added: added, Removed: removed}
	if change.Patch, err = patch.MarshalJSON(); err != nil {
		return guard.Preview{}, fmt.Errorf("writing the patch of a record: %w", err)
	}
	if change.Preview, err = marshalRows(rows); err != nil {
		return guard.Preview{}, fmt.Errorf("writing the preview of a record: %w", err)
	}
	e := guard.Effect{Kind: b.about.Name, Resource: t, Record: ref, Diff: digest.Sum(change.Patch)}
	e.Before, _ = stateOfRecord(was)
	e.After, e.Want = stateOfRecord(will)
	hazards = append(hazards, textHazards([]byte(text))...)
	return guard.Preview{
		Effects: []guard.Effect{e}, Change: change, Paths: verdict, Hazards: hazards,
		Summary: recordSummary(t, e, rows, added, removed),
	}, nil
}

// compareRecords returns the patch between two states of a record and its rows. In
// the rows, a moved value is removed and added. In the patch, a deleted record is
// replaced by null, since RFC 6902 has no document without a value.
func compareRecords(was, will jsonvalue.Value) (jsonvalue.Patch, []jsonvalue.Change, bool) {
	patch, rows, coarse := jsonvalue.Compare(was, will)
	if was.Present() && !will.Present() {
		patch = jsonvalue.Patch{{Op: jsonvalue.OpTest, Value: was}, {Op: jsonvalue.OpReplace, Value: jsonvalue.Null()}}
	}
	out := make([]jsonvalue.Change, 0, len(rows))
	for _, r := range rows {
		if r.Op == jsonvalue.OpMove {
			out = append(out, jsonvalue.Change{Op: jsonvalue.OpRemove, Path: r.FromPath, From: r.From})
			r = jsonvalue.Change{Op: jsonvalue.OpAdd, Path: r.Path, To: r.To}
		}
		out = append(out, r)
	}
	return patch, out, coarse
}

// oddNames lists the first new paths with a member name through which JavaScript
// reaches properties that all objects share. A server that copies such a record
// member by member would change other records too.
func oddNames(rows []jsonvalue.Change) []string {
	var out []string
	for _, r := range rows {
		path, err := jsonvalue.ParsePointer(r.Path)
		if err != nil {
			continue
		}
		_ = leavesOf(r.To, path, func(leaf []string) error {
			for i, name := range leaf {
				if len(out) == 3 {
					return errEnough
				}
				if name != "__proto__" && name != "prototype" {
					continue
				}
				if at := jsonvalue.FormatPointer(leaf[:i+1]...); (name == "__proto__" || i > 0 && name == "prototype" && leaf[i-1] == "constructor") && !slices.Contains(out, at) {
					out = append(out, at)
				}
			}
			return nil
		})
	}
	return out
}

// errEnough stops a walk early.
var errEnough = errors.New("enough")

// named3 joins the first three of a list for a sentence.
func named3(list []string) string { return oneLine(strings.Join(list[:min(len(list), 3)], ", ")) }

// noNull returns v, or absent if v is null, which stands for no record.
func noNull(v jsonvalue.Value) jsonvalue.Value {
	if v.Type() == jsonvalue.TypeNull {
		return jsonvalue.Value{}
	}
	return v
}

// stateOfRecord returns the state of a normalized record, and its encoding.
func stateOfRecord(v jsonvalue.Value) (guard.State, []byte) {
	if !v.Present() {
		return guard.State{Computed: true}, nil
	}
	text := v.Encode()
	return guard.State{Exists: true, Kind: stateRecord, SHA256: digest.Sum(text), Size: int64(len(text)), Computed: true}, text
}

// rowText describes the rows in full, because a value left out could hide
// something. types lists the paths whose value changes type.
func rowText(rows []jsonvalue.Change) (text string, added, removed int, types []string) {
	var w strings.Builder
	for _, r := range rows {
		path := oneLine(r.Path)
		if path == "" {
			path = "the record"
		}
		fmt.Fprintf(&w, "%s %s\n", r.Op, path)
		if r.From.Present() {
			w.WriteString("- " + r.From.String() + "\n")
			removed++
		}
		if r.To.Present() {
			w.WriteString("+ " + r.To.String() + "\n")
			added++
		}
		if r.From.Present() && r.To.Present() && r.From.Type() != r.To.Type() && r.From.Type() != jsonvalue.TypeNull && r.To.Type() != jsonvalue.TypeNull {
			types = append(types, path)
		}
	}
	return w.String(), added, removed, types
}

func recordSummary(t guard.Target, e guard.Effect, rows []jsonvalue.Change, added, removed int) string {
	name := oneLine(t.Path)
	const longest = 80
	if r := []rune(name); len(r) > longest {
		name = string(r[:longest]) + "…"
	}
	switch {
	case len(rows) == 0:
		return "no change to " + name
	case !e.Before.Exists:
		return "create the record " + name
	case !e.After.Exists:
		return "remove the record " + name
	}
	return fmt.Sprintf("change %s (+%d −%d)", name, added, removed)
}
