package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Found is what reading the targets of effects back has shown.
type Found struct {
	Result guard.ReadBack
	After  []guard.State // one per effect
	Detail string        // explains every result but a plain Verified
	// Difference leads from what was predicted to what was found, where a record
	// is something else and the prediction is still known.
	Difference json.RawMessage
}

// maxDifference bounds the patch that says how a record diverged, in bytes.
const maxDifference = 256 << 10

// VerifyWith is Verify for effects among which may be records that a tool
// reads.
func VerifyWith(ctx context.Context, reader Reader, effects []guard.Effect) Found {
	var f Found
	f.Result, f.After, f.Detail = verify(ctx, effects, func(e guard.Effect) (guard.ReadBack, guard.State, string) {
		result, state, note, difference := verifyRecord(ctx, reader, e)
		if difference != nil {
			f.Difference = difference
		}
		return result, state, note
	})
	return f
}

func verifyRecord(ctx context.Context, reader Reader, e guard.Effect) (guard.ReadBack, guard.State, string, json.RawMessage) {
	var at *place
	if e.Record.Tool == "" {
		p, err := placeOf(e.Resource)
		if err != nil {
			return guard.Unverifiable, guard.State{}, err.Error(), nil
		}
		if _, err := p.look(); err == nil {
			p.exists = true
		}
		at = &p
	}
	name := recordName(e)
	raw, err := readRecord(ctx, reader, *e.Record, at)
	if err != nil {
		return guard.Unverifiable, guard.State{}, cannotReadRecord(name, err), nil
	}
	now, _, err := jsonvalue.Shape{Ignore: e.Record.Ignore, Keys: e.Record.Keys}.Normal(raw)
	if err != nil {
		return guard.Unverifiable, guard.State{}, cannotReadRecord(name, err), nil
	}
	state, _ := stateOfRecord(now)
	if matches(state, e.After) {
		return guard.Verified, state, "", nil
	}
	patch, where := differenceOf(e, now)
	switch {
	case matches(state, e.Before):
		return guard.Untouched, state, name + " is as it was before", patch
	case !state.Exists:
		return guard.Diverged, state, name + " is not there", patch
	}
	note := name + " is neither what was approved nor what was there before"
	if where != "" {
		note += ": " + where
	}
	return guard.Diverged, state, note, patch
}

func recordName(e guard.Effect) string {
	const longest = 120
	if r := []rune(oneLine(e.Resource.Path)); len(r) > longest {
		return "the record " + string(r[:longest]) + "…"
	}
	return "the record " + oneLine(e.Resource.Path)
}

func cannotReadRecord(name string, err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return name + " could not be read back: " + r.Reason
	}
	return name + " could not be read back"
}

// differenceOf says how a record differs from what was predicted; nothing after
// a restart, when only its digest is known.
func differenceOf(e guard.Effect, now jsonvalue.Value) (patch json.RawMessage, where string) {
	var want jsonvalue.Value
	if len(e.Want) > 0 {
		var err error
		if want, err = jsonvalue.Decode(e.Want); err != nil {
			return nil, ""
		}
	} else if e.After.Exists {
		return nil, ""
	}
	p, rows, _ := compareRecords(want, now)
	var places []string
	for i, r := range rows {
		if i == 3 {
			places = append(places, fmt.Sprintf("and %d more", len(rows)-i))
			break
		}
		places = append(places, fmt.Sprintf("%s %.100s", r.Op, oneLine(r.Path)))
	}
	where = strings.Join(places, ", ")
	raw, err := p.MarshalJSON()
	if err != nil || len(raw) > maxDifference {
		return nil, where
	}
	return raw, where
}
