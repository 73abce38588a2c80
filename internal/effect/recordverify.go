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

// maxDifference bounds the patch that shows how a record diverged, in bytes.
const maxDifference = 256 << 10

// verify reads the record again and compares its normal form.
func (recordKind) verify(ctx context.Context, reader Reader, e guard.Effect) reading {
	if e.Record == nil || !e.After.Computed {
		return notComputed()
	}
	name := recordName(e)
	raw, err := recordNow(ctx, reader, e)
	if err != nil {
		return reading{result: guard.Unverifiable, note: cannotReadRecord(name, err)}
	}
	now, _, err := recordShape(e).Normal(raw)
	if err != nil {
		return reading{result: guard.Unverifiable, note: cannotReadRecord(name, err)}
	}
	state, _ := stateOfRecord(now)
	if matches(state, e.After) {
		return reading{result: guard.Verified, state: state}
	}
	patch, where := differenceOf(e, now)
	r := reading{result: guard.Diverged, state: state, difference: patch}
	switch {
	case matches(state, e.Before):
		r.result, r.note = guard.Untouched, name+" is as it was before"
	case !state.Exists:
		r.note = name + " is not there"
	default:
		r.note = name + " is neither what was approved nor what was there before"
		if where != "" {
			r.note += ": " + where
		}
	}
	return r
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

// differenceOf returns how a record differs from the prediction. It returns nothing
// after a restart, when only the digest is known.
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
