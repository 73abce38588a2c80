package jsonrpc

import (
	"bytes"
	"slices"
)

// The splice functions return fresh bytes, or raw itself where there is nothing
// to change, and nil where they cannot do what they are asked: a caller that
// ignores the nil sends nothing, rather than the unchanged message.

// DeleteElements takes the elements for which drop is true out of the array at
// arr. Every other byte stays, white space around the kept elements included;
// the array then ends len(raw)-len(result) bytes earlier. It returns nil where
// there is no array.
func DeleteElements(raw []byte, arr Span, drop func(i int, el Span) bool) []byte {
	if TypeOf(raw, arr) != ArrayType || !closed(raw, arr) {
		return nil // fail closed: a list that cannot be filtered is not passed on
	}
	cells := cellCutter{raw: raw, next: arr.Start + 1}
	i, end := 0, arr.Start+1
	for el := range Elements(raw, arr) {
		cells.add(el.End, drop(i, el))
		i, end = i+1, el.End
	}
	return cells.finish(arr, end)
}

// DeleteMember takes the members with the decoded name out of the object at
// obj. It returns nil where there is no object.
func DeleteMember(raw []byte, obj Span, name string) []byte {
	if TypeOf(raw, obj) != ObjectType || !closed(raw, obj) {
		return nil // fail closed
	}
	cells := cellCutter{raw: raw, next: obj.Start + 1}
	end := obj.Start + 1
	for f := range Members(raw, obj) {
		cells.add(f.Value.End, f.Name == name)
		end = f.Value.End
	}
	return cells.finish(obj, end)
}

func closed(raw []byte, s Span) bool {
	v := s.bytes(raw)
	return len(v) >= 2 && v[len(v)-1] == v[0]+2
}

// cellCutter joins the cells of a container that are kept. A cell is what stands
// between two commas: a value and the white space around it.
type cellCutter struct {
	raw   []byte
	next  int // where the next cell begins
	kept  []Span
	drops int
}

func (c *cellCutter) add(valueEnd int, drop bool) {
	end := skipSpace(c.raw, valueEnd)
	if drop {
		c.drops++
	} else {
		c.kept = append(c.kept, Span{c.next, end})
	}
	c.next = end + 1 // after the comma
}

// finish puts the container together again. lastValue is where the walk over the
// elements ended.
func (c *cellCutter) finish(s Span, lastValue int) []byte {
	if skipSpace(c.raw, lastValue) != s.End-1 {
		return nil // fail closed: the walk stopped early, what follows was not judged
	}
	if c.drops == 0 {
		return c.raw
	}
	out := make([]byte, 0, len(c.raw))
	out = append(out, c.raw[:s.Start+1]...)
	for i, cell := range c.kept {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, c.raw[cell.Start:cell.End]...)
	}
	return append(out, c.raw[s.End-1:]...)
}

// Edit replaces the bytes at Span, which may be empty (an insertion).
type Edit struct {
	Span Span
	With []byte
}

// ReplaceSpans applies the edits, given in any order, to raw. It returns nil
// when edits overlap or lie outside; insertions at one place keep their order.
// That the result is JSON is the caller's business.
func ReplaceSpans(raw []byte, edits []Edit) []byte {
	if len(edits) == 0 {
		return raw
	}
	sorted := slices.Clone(edits)
	slices.SortStableFunc(sorted, func(a, b Edit) int {
		if a.Span.Start != b.Span.Start {
			return a.Span.Start - b.Span.Start
		}
		return a.Span.End - b.Span.End
	})
	size, at := len(raw), 0
	for _, e := range sorted {
		if e.Span.Start < at || e.Span.End < e.Span.Start || e.Span.End > len(raw) {
			return nil // fail closed
		}
		at = e.Span.End
		size += len(e.With) - e.Span.Len()
	}
	out := make([]byte, 0, size)
	at = 0
	for _, e := range sorted {
		out = append(append(out, raw[at:e.Span.Start]...), e.With...)
		at = e.Span.End
	}
	return append(out, raw[at:]...)
}

// SetMember makes value, one JSON value without newlines, the value of the named
// member of the object at obj: in place where there is such a member, else as
// the last one. It returns nil where there is no object, or several such
// members, or value is not JSON.
func SetMember(raw []byte, obj Span, name string, value []byte) []byte {
	if TypeOf(raw, obj) != ObjectType || !closed(raw, obj) || bytes.ContainsAny(value, "\r\n") ||
		Check(value, Limits{MaxDepth: maxMaxDepth, MaxFrame: maxMaxFrame}) != nil {
		return nil // fail closed
	}
	at, last := Span{}, obj.Start+1
	for f := range Members(raw, obj) {
		if f.Name == name {
			if !at.IsZero() {
				return nil // fail closed: which of the two would the reader take?
			}
			at = f.Value
		}
		last = f.Value.End
	}
	if skipSpace(raw, last) != obj.End-1 {
		return nil // fail closed: the walk stopped early
	}
	if !at.IsZero() {
		return ReplaceSpans(raw, []Edit{{at, value}})
	}
	var member []byte
	if last > obj.Start+1 {
		member = append(member, ',')
	}
	member = append(append(appendQuoted(member, name), ':'), value...)
	return ReplaceSpans(raw, []Edit{{Span{last, last}, member}})
}
