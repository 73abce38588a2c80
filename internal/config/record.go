package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Record says how to read the record that a json.* effect changes, and which parts
// of it count.
type Record struct {
	Path    string            `yaml:"-" json:"-"`
	Read    RecordRead        `yaml:"read" doc:"How the record is read, before and after the call: by a T0 tool of the same server, or from a file. Required."`
	At      string            `yaml:"at" doc:"Where the record stands in the answer or the file, as a JSON Pointer. Default: the whole."`
	Ignore  []string          `yaml:"ignore" doc:"JSON Pointers into the record, * for any one name: fields that the server itself sets, such as times. They are not compared, and no call may set them."`
	Keys    map[string]string `yaml:"keys" doc:"Lists in the record, by JSON Pointer (* for any one name), whose order does not count, and the member by which their elements are told apart."`
	Paths   RecordPaths       `yaml:"paths" doc:"Which changes of the record are allowed, asked for or denied, by path."`
	Missing string            `yaml:"missing" doc:"What to do where there is no such record: 'create' lets json.replace and json.merge make one. Default: the call is refused." enum:"create"`
}

func (Record) displayName() string { return "a json effect" }

// RecordRead names the tool or the file that a record is read from.
type RecordRead struct {
	Tool string                `yaml:"tool" doc:"A tool of the same server at T0_READ. The guard calls it by itself; its answer does not reach the client."`
	Args map[string]Expression `yaml:"args" doc:"Its arguments, as expressions."`
	File Expression            `yaml:"file" doc:"The path of a JSON file in the workspace, as an expression."`
}

func (RecordRead) displayName() string { return "read" }

// RecordPaths decides about changes by their path. A path covers itself and
// everything below it.
type RecordPaths struct {
	Allow []string `yaml:"allow" doc:"At T1, a call that changes nothing else runs unasked, though not in prod. From T2 up it is asked for all the same."`
	Ask   []string `yaml:"ask" doc:"Asked for, whatever 'allow' says. So is what no list names."`
	Deny  []string `yaml:"deny" doc:"A call that changes any of these is refused, whatever else it changes."`
}

func (RecordPaths) displayName() string { return "paths" }

// Set reports whether any path is named.
func (p RecordPaths) Set() bool { return len(p.Allow)+len(p.Ask)+len(p.Deny) > 0 }

// Expression is the source of an expression. A number, true or false may be written
// literally.
type Expression string

func (e *Expression) decodeNode(d *decoder, n *node, _ string) {
	switch n.kind {
	case kindString, kindNumber, kindBool:
		*e = Expression(n.text)
	default:
		d.mismatch(n, "an expression, such as args.id,")
	}
}

// decodeRecord reads the parameters of a json.* effect: its expressions, and how to
// read its record.
func (e *Effect) decodeRecord(d *decoder, about effect.About, params *node, path string) {
	kind := about.Name
	path = join(path, kind)
	required, optional := effect.Params(kind)
	expressions := append(required, optional...)
	names, _ := fields(typeOf[Record]())
	e.Kind, e.Params, e.Record = kind, map[string]string{}, &Record{}
	rest := *params
	rest.keys, rest.items = nil, nil
	for i, k := range params.keys {
		switch {
		case slices.Contains(expressions, k.name):
			var x Expression
			decodeInto(d, params.items[i], &x, join(path, k.name))
			e.Params[k.name] = string(x)
		case slices.Contains(names, k.name):
			rest.keys, rest.items = append(rest.keys, k), append(rest.items, params.items[i])
		default:
			d.report(k.pos, fmt.Sprintf("%q is not a key of %s", clip(k.name), kind), didYouMean(k.name, append(expressions, names...)))
		}
	}
	d.decodeStruct(&rest, reflect.ValueOf(e.Record).Elem(), path)
	e.Record.Path = path
	if _, ok := e.Params[about.Record]; !ok {
		d.report(params.pos, fmt.Sprintf("%s needs %q, an expression", kind, about.Record), "")
	}
}

// checkRecord reports invalid settings of a json.* effect.
func (c *Config) checkRecord(d *decoder, s *Server, t *Tool) {
	r := t.Effect.Record
	if r == nil {
		return
	}
	read := r.Path + ".read"
	switch {
	case (r.Read.Tool == "") == (r.Read.File == ""):
		d.errorf(read, "write {tool: get_…, args: {…}} or {file: args.path}", "%s needs a tool or a file to read the record from", t.Effect.Kind)
	case r.Read.File != "" && len(r.Read.Args) > 0:
		d.errorf(read+".args", "remove it", "a file is read without arguments")
	case r.Read.Tool != "":
		checkReadTool(d, s, r.Read.Tool, read+".tool")
	}
	if r.Missing != "" {
		oneOf(d, r.Path+".missing", "an answer here", r.Missing, "create")
		if about, _ := effect.Lookup(t.Effect.Kind); !about.Creates {
			d.errorf(r.Path+".missing", "remove it", "%s changes a record that is there", t.Effect.Kind)
		}
	}
	pointer := func(at, p string, whole bool) {
		if _, err := jsonvalue.ParsePointer(p); err != nil || p == "" && !whole {
			d.errorf(at, "write it as /name/name", "%q is not a JSON Pointer", clip(p))
		}
	}
	pointer(r.Path+".at", r.At, true)
	for name, list := range map[string][]string{"ignore": r.Ignore, "paths.allow": r.Paths.Allow, "paths.ask": r.Paths.Ask, "paths.deny": r.Paths.Deny} {
		for i, p := range list {
			pointer(fmt.Sprintf("%s.%s[%d]", r.Path, name, i), p, name != "ignore")
		}
	}
	for _, p := range slices.Sorted(maps.Keys(r.Keys)) {
		pointer(r.Path+".keys."+p, p, true)
		if r.Keys[p] == "" {
			d.errorf(r.Path+".keys."+p, "", "the member that tells the elements apart is not named")
		}
	}
	if len(r.Paths.Allow) > 0 && t.highest() >= guard.T2IrreversibleWrite && t.highest() != guard.Never {
		c.note(r.Path+".paths.allow", fmt.Sprintf("calls of %q at %s are asked for even where their paths are allowed", t.Name, t.highest()), "")
	}
}

// checkReadTool requires a tool that the guard may call on its own.
func checkReadTool(d *decoder, s *Server, name, at string) {
	tool := s.Tools[name]
	switch {
	case s.Builtin == NativeServer:
		d.errorf(at, "read the record from a file", "the guard cannot call the client's own tools")
	case tool == nil:
		var reads []string
		for n, t := range s.Tools {
			if t != nil && t.Tier == guard.T0Read {
				reads = append(reads, n)
			}
		}
		slices.Sort(reads)
		d.errorf(at, didYouMean(name, reads), "server %q names no tool %q to read the record with", s.Name, clip(name))
	case tool.Tier != guard.T0Read:
		d.errorf(at, "name a tool at T0_READ", "the record is read with %q, which is %s; the guard calls only T0_READ by itself", name, tool.Tier)
	case tool.Approval.Required != nil && *tool.Approval.Required && !tool.Sensitive.Set():
		d.errorf(at, "name another tool, or remove its approval.required", "the record is read with %q, which waits for an approval itself", name)
	}
}

// receiptKinds are the kinds of thing that a result may say were touched.
var receiptKinds = []string{"record", "message", "file", "commit", "other"}

// checkReceipts checks what a tool keeps of its results.
func checkReceipts(d *decoder, t *Tool, path string) {
	for _, kind := range slices.Sorted(maps.Keys(t.Receipts)) {
		at := join(path+".receipts", kind)
		if !slices.Contains(receiptKinds, kind) {
			d.errorf(at, "known are "+strings.Join(receiptKinds, ", "), "%q is not a kind of receipt", clip(kind))
		}
		if t.Tier == guard.T0Read {
			d.errorf(at, "remove it", "a tool at T0_READ touches nothing, so there is no receipt")
		}
	}
}

// checkUndo checks the call that undoes a change.
func checkUndo(d *decoder, s *Server, t *Tool, at string) {
	if !t.Undo.Set() {
		return
	}
	tool := s.Tools[t.Undo.Tool]
	switch {
	case t.Effect.Record == nil:
		d.errorf(at, "remove it", "'undo' belongs to json.* effects: of files the way back is known, of nothing else there is one")
	case t.Undo.Tool == "":
		d.errorf(at, "name the tool that takes the change back", "'undo' needs a tool")
	case tool == nil:
		d.errorf(at+".tool", didYouMean(t.Undo.Tool, slices.Sorted(maps.Keys(s.Tools))), "server %q names no tool %q", s.Name, clip(t.Undo.Tool))
	case tool.Tier == guard.T0Read || tool.Tier == guard.Never:
		d.errorf(at+".tool", "name a tool that writes", "%q is %s, so it takes nothing back", t.Undo.Tool, tool.Tier)
	}
}
