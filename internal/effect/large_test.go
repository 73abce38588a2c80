package effect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// largeDocuments are documents of 12 MB before and after a change, by their
// shape.
func largeDocuments() map[string][2][]byte {
	const size = 12 << 20
	records := func(every int, to string) []byte {
		b := []byte("[\n")
		for i := 0; len(b) < size; i++ {
			note := "as it was"
			if every > 0 && i%every == 0 {
				note = to
			}
			b = fmt.Appendf(b, "  {\"id\": %d, \"name\": \"record %d\", \"note\": %q, \"tags\": [\"a\", \"b\", \"c\"], \"at\": {\"line\": %d, \"of\": 7.5}},\n", i, i, note, i*3)
		}
		return append(bytes.TrimSuffix(b, []byte(",\n")), "\n]\n"...)
	}
	minified := func(every int) []byte {
		var out bytes.Buffer
		if err := json.Compact(&out, records(every, "changed")); err != nil {
			panic(err)
		}
		return out.Bytes()
	}
	numbers := func(change int) []byte {
		b := []byte("[")
		for i := 0; len(b) < size; i++ {
			n := i * 7919
			if i%change == 0 {
				n++
			}
			b = fmt.Appendf(b, "%d.25,\n", n)
		}
		return append(b, "0]\n"...)
	}
	return map[string][2][]byte{
		"records":   {records(0, ""), records(1000, "changed")},
		"everyone":  {records(0, ""), records(1, "changed")},
		"one line":  {minified(0), minified(1000)},
		"numbers":   {numbers(1 << 30), numbers(1000)},
		"one value": {records(0, ""), records(100000, "changed")},
	}
}

// BenchmarkLargeDocument measures planning a change to a large document: its lines
// and its values. A whole call must stay below a second.
func BenchmarkLargeDocument(b *testing.B) {
	for name, d := range largeDocuments() {
		b.Run(name+"/lines", func(b *testing.B) {
			for b.Loop() {
				diff.Unified(diff.File{Path: "a.json", Data: d[0], Exists: true}, diff.File{Path: "a.json", Data: d[1], Exists: true}, diff.Options{})
			}
		})
		b.Run(name+"/values", func(b *testing.B) {
			for b.Loop() {
				if s, err := structural("a.json", d[0], d[1], true); err != nil || len(s.patch) == 0 {
					b.Fatal(len(s.patch), err)
				}
			}
		})
	}
}

// TestMemoCachesByBytesAlone: the same bytes give the same view, other
// bytes are computed again, and callers cannot change what is cached.
func TestMemoCachesByBytesAlone(t *testing.T) {
	var m Memo
	before, after, other := []byte(`{"a": 1, "b": 2}`), []byte(`{"a": "1", "b": 2}`), []byte(`{"a": 1, "b": 3}`)
	for i, c := range []struct{ before, after []byte }{{before, after}, {before, after}, {before, other}, {after, other}, {before, after}} {
		want, err := structural("a.json", c.before, c.after, true)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.structural("a.json", c.before, c.after, true)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(structure{})); d != "" {
			t.Errorf("look %d: %s", i, d)
		}
		got.hazards = append(got.hazards, guard.Hazard{Text: "another"})
	}
	first := m.kept
	if _, err := m.structural("a.json", before, after, true); err != nil || m.kept != first {
		t.Errorf("the same bytes were computed again: %v", err)
	}
}
