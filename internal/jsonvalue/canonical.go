package jsonvalue

import (
	"fmt"

	"github.com/gowebpki/jcs"
)

// Canonical returns the canonical form of a JSON text (RFC 8785): one text for
// all spellings of one value, to be hashed. Beyond what [Decode] refuses, it
// refuses numbers that the form would change: whole numbers beyond ±2^53, of
// which several would share one form, numbers out of a double's range, and
// numbers with more digits than a double holds. -0 becomes 0, as the RFC says.
func Canonical(raw []byte) ([]byte, error) {
	v, err := Decode(raw)
	if err == nil {
		err = numbersSurvive(v)
	}
	if err != nil {
		return nil, fmt.Errorf("making JSON canonical: %w", err)
	}
	out, err := jcs.Transform(raw)
	if err != nil {
		return nil, fmt.Errorf("making JSON canonical: %w", err)
	}
	return out, nil
}

// Canonical returns the canonical form of v; see the function of that name.
func (v Value) Canonical() ([]byte, error) { return Canonical(v.Encode()) }

func numbersSurvive(v Value) error {
	if v.typ == TypeNumber {
		return survives(v.text)
	}
	if v.node == nil {
		return nil
	}
	for _, e := range v.node.vals {
		if err := numbersSurvive(e); err != nil {
			return err
		}
	}
	return nil
}
