package policy

import (
	"slices"

	"github.com/mcpguard/mcpguard/internal/config"
)

// effect compares what two policies say that a tool changes, part by part, because
// a reader could not find the difference between two long texts. A difference
// counts as widening unless it is known to narrow.
func (d *differ) effect(name string, old, new config.Effect) {
	if same(old, new) {
		return
	}
	if old.Kind != new.Kind || (old.Record == nil) != (new.Record == nil) {
		d.add(true, "%s: effect %s → %s", name, orNone(old.Kind), orNone(new.Kind))
	}
	for _, p := range union(old.Params, new.Params) {
		d.text(name+", effect, "+p, old.Params[p], new.Params[p])
	}
	if a, b := old.Record, new.Record; a != nil && b != nil {
		d.record(name+", record", *a, *b)
	}
}

// text compares two expressions or names.
func (d *differ) text(what, old, new string) {
	if old != new {
		a, b := apart(orNone(old), orNone(new))
		d.add(true, "%s: %s → %s", what, a, b)
	}
}

func (d *differ) record(name string, old, new config.Record) {
	d.text(name+", read.tool", old.Read.Tool, new.Read.Tool)
	d.text(name+", read.file", string(old.Read.File), string(new.Read.File))
	for _, arg := range union(old.Read.Args, new.Read.Args) {
		d.text(name+", read.args."+arg, string(old.Read.Args[arg]), string(new.Read.Args[arg]))
	}
	d.text(name+", at", old.At, new.At)
	d.text(name+", missing", old.Missing, new.Missing)
	d.words(name+", not compared", old.Ignore, new.Ignore)
	for _, list := range union(old.Keys, new.Keys) {
		d.text(name+", keys of "+list, old.Keys[list], new.Keys[list])
	}
	d.words(name+", allowed paths", old.Paths.Allow, new.Paths.Allow)
	d.forbidden(name+", paths that are asked for", old.Paths.Ask, new.Paths.Ask)
	d.forbidden(name+", denied paths", old.Paths.Deny, new.Paths.Deny)
	if named := len(old.Paths.Allow) + len(old.Paths.Ask) + len(old.Paths.Deny); named > 0 && len(new.Paths.Allow)+len(new.Paths.Ask)+len(new.Paths.Deny) == 0 {
		d.add(true, "%s: no rules for single paths any more", name)
	}
	if x, y := undescribedRecord(old), undescribedRecord(new); !same(x, y) {
		a, b := apart(text(x), text(y))
		d.add(true, "%s: %s → %s", name, a, b)
	}
}

// forbidden compares two lists of restrictions: a removal widens.
func (d *differ) forbidden(what string, old, new []string) {
	for _, w := range new {
		if !slices.Contains(old, w) {
			d.add(false, "%s: %s added", what, w)
		}
	}
	for _, w := range old {
		if !slices.Contains(new, w) {
			d.add(true, "%s: %s removed", what, w)
		}
	}
}

// undescribedRecord returns the part of a record's settings that the differ does
// not describe. A new setting counts as widening until it is described.
func undescribedRecord(r config.Record) config.Record {
	r.Read, r.At, r.Missing, r.Keys, r.Ignore, r.Paths = config.RecordRead{}, "", "", nil, nil, config.RecordPaths{}
	return r
}

// apart removes the common prefix and suffix of two long texts, so that the
// difference survives clipping.
func apart(a, b string) (string, string) {
	const shown, around = 120, 20
	if len([]rune(a)) <= shown && len([]rune(b)) <= shown {
		return a, b
	}
	x, y := []rune(a), []rune(b)
	from := 0
	for from < len(x) && from < len(y) && x[from] == y[from] {
		from++
	}
	till := 0
	for till < len(x)-from && till < len(y)-from && x[len(x)-1-till] == y[len(y)-1-till] {
		till++
	}
	from, till = max(from-around, 0), max(till-around, 0)
	cut := func(r []rune) string {
		s := clipText(string(r[from : len(r)-till]))
		if from > 0 {
			s = "…" + s
		}
		if till > 0 {
			s += "…"
		}
		return s
	}
	return cut(x), cut(y)
}
