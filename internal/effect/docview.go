package effect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Hazards of documents that a structural view finds.
const (
	HazardType      = "type_changed"
	HazardAmbiguous = "ambiguous_value"
)

// maxNamedValues bounds the values that one hazard names.
const maxNamedValues = 5

// structure is the structural view of a change.
type structure struct {
	patch, preview json.RawMessage
	hazards        []guard.Hazard
	sides          []guard.SideEffect
}

func marshalRows(rows []jsonvalue.Change) (json.RawMessage, error) {
	if rows == nil {
		rows = []jsonvalue.Change{}
	}
	return json.Marshal(rows)
}

// readDocument reads a file as a document, with its format taken from its name. A
// .json file with comments is read the way editors that allow comments read it.
func readDocument(name string, data []byte) (jsonvalue.Value, document.Notes, error) {
	base := strings.ToLower(path.Base(name))
	ext := path.Ext(base)
	switch {
	case base == ".env" || strings.HasPrefix(base, ".env.") || ext == ".env":
		return document.ReadEnv(data)
	case ext == ".ini":
		return document.ReadINI(data)
	}
	v, notes, err := document.ParseDocument(ext, data)
	if err != nil && ext == ".json" {
		if v, notes, err := document.ParseDocument(".jsonc", data); err == nil {
			return v, notes, nil
		}
	}
	return v, notes, err
}

// structural returns the JSON Patch and the rows that show what changes in a
// document, and its hazards. It returns nothing if either side is not a document,
// and only hazards for a new document.
func structural(name string, before, after []byte, exists bool) (s structure, err error) {
	b, notes, berr := readDocument(name, after)
	if errors.Is(berr, document.ErrUnknownFormat) {
		return structure{}, nil
	}
	if berr == nil && len(notes.Duplicates) > 0 {
		s.hazards = append(s.hazards, hazard(HazardDuplicate, "a member is given more than once (%s); readers differ about which counts", named(notes.Duplicates)))
	}
	if !exists {
		return s, nil
	}
	a, old, err := readDocument(name, before)
	switch {
	case errors.Is(err, document.ErrNotOneDocument) || err == nil && errors.Is(berr, document.ErrNotOneDocument):
		s.sides = append(s.sides, guard.SideEffect{Text: "the file holds several documents; only its lines are compared"})
		return s, nil
	case errors.Is(err, document.ErrTooLarge) || errors.Is(berr, document.ErrTooLarge):
		s.sides = append(s.sides, guard.SideEffect{Text: "too large to be compared as a document; only its lines are"})
		return s, nil
	case err != nil:
		return s, nil
	case berr != nil:
		s.hazards = append(s.hazards, hazard(HazardBroken, "the file was a valid %s document and will not be one", notes.Format))
		return s, nil
	}
	if old.Format == "json" && notes.Format == "jsonc" {
		s.hazards = append(s.hazards, hazard(HazardBroken, "the file was plain JSON and will have comments or trailing commas, which many readers refuse"))
	}
	patch, rows, _ := jsonvalue.Compare(a, b)
	if s.patch, err = patch.MarshalJSON(); err != nil {
		return structure{}, fmt.Errorf("writing the structural patch: %w", err)
	}
	if s.preview, err = marshalRows(rows); err != nil {
		return structure{}, fmt.Errorf("writing the structural preview: %w", err)
	}
	s.hazards = append(s.hazards, valueHazards(rows, old, notes)...)
	agreed := notes.Format != "yaml" || document.YAMLAgrees(after, b)
	if !agreed {
		s.hazards = append(s.hazards, hazard(HazardAmbiguous, "two readers of yaml take this file differently; what is said of its structure is the word of one"))
	}
	if agreed && old.Format == "yaml" {
		// Readers disagree about tabs between tokens and about repeated anchors.
		agreed = document.YAMLAgrees(before, a) && bytes.IndexByte(before, '\t') < 0 && bytes.IndexByte(after, '\t') < 0 && !repeats(notes.Anchors)
	}
	if len(patch) == 0 && agreed && old.SameReading(notes) && !bytes.Equal(before, after) {
		s.sides = append(s.sides, guard.SideEffect{Text: sameMeaning(before, after, notes.Format)})
	}
	return s, nil
}

// repeats reports whether a list contains an entry twice.
func repeats(list []string) bool {
	return len(slices.Compact(slices.Sorted(slices.Values(list)))) < len(list)
}

// valueHazards lists values that change type, and new values that readers of the
// format interpret differently.
func valueHazards(rows []jsonvalue.Change, old, notes document.Notes) []guard.Hazard {
	var out []guard.Hazard
	var types []string
	for _, r := range rows {
		if r.Op == "replace" && r.From.Type() != r.To.Type() && r.From.Type() != jsonvalue.TypeNull && r.To.Type() != jsonvalue.TypeNull {
			types = append(types, fmt.Sprintf("%s from %s to %s", shortText(r.Path), shortValue(r.From), shortValue(r.To)))
		}
	}
	if len(types) > 0 {
		out = append(out, hazard(HazardType, "a value changes its type: %s", named(types)))
	}
	left := slices.Clone(old.Ambiguous)
	var fresh []string
	for _, n := range notes.Ambiguous {
		if i := slices.Index(left, n); i >= 0 {
			left = slices.Delete(left, i, i+1)
		} else {
			fresh = append(fresh, shortText(n))
		}
	}
	if len(fresh) > 0 {
		out = append(out, hazard(HazardAmbiguous, "readers of %s take this differently: %s", notes.Format, named(fresh)))
	}
	return out
}

// named joins the first entries of a list for a sentence.
func named(list []string) string {
	if len(list) > maxNamedValues {
		return strings.Join(list[:maxNamedValues], ", ") + fmt.Sprintf(" and %d more", len(list)-maxNamedValues)
	}
	return strings.Join(list, ", ")
}

// shortValue describes a value with its type.
func shortValue(v jsonvalue.Value) string {
	switch v.Type() {
	case jsonvalue.TypeObject, jsonvalue.TypeArray:
		return "an " + v.Type().String()
	}
	return v.Type().String() + " " + shortText(v.String())
}

func shortText(s string) string {
	const limit = 60
	if r := []rune(s); len(r) > limit {
		s = string(r[:limit]) + "…"
	}
	return oneLine(s)
}

// sameMeaning describes the change to a document whose meaning stays the same.
func sameMeaning(before, after []byte, format string) string {
	const same = ": the document means the same"
	r := diff.Compute(before, after, diff.Options{})
	if r.Coarse || r.Binary {
		return "formatting only" + same
	}
	var text, comments [2]strings.Builder // before and after
	for _, h := range r.Hunks {
		for _, l := range h.Lines {
			side := 0
			switch l.Kind {
			case diff.Equal:
				continue
			case diff.Insert:
				side = 1
			}
			if t, c := splitComment(string(l.Text), format); t != "" || c != "" {
				text[side].WriteString(t)
				comments[side].WriteString(c)
				if t != "" {
					text[side].WriteByte('\n')
				}
			}
		}
	}
	switch {
	case comments[0].String() == comments[1].String():
		return "formatting only" + same
	case text[0].String() == text[1].String():
		return "comments only" + same
	}
	return "formatting and comments only" + same
}

// splitComment splits a line at its comment, roughly: a sign inside a string counts
// too. The meaning of the document does not depend on it, since that was compared
// separately.
func splitComment(line, format string) (text, comment string) {
	signs := []string{"#"}
	switch format {
	case "json":
		signs = nil
	case "jsonc":
		signs = []string{"//", "/*"}
		if t := strings.TrimSpace(line); strings.HasPrefix(t, "*") {
			return "", t
		}
	case "ini":
		signs = []string{"#", ";"}
	}
	at := len(line)
	for _, sign := range signs {
		if i := strings.Index(line, sign); i >= 0 {
			at = min(at, i)
		}
	}
	return strings.TrimSpace(line[:at]), strings.TrimSpace(line[at:])
}
