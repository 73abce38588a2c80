package effect

import (
	"slices"

	"github.com/mcpguard/mcpguard/internal/digest"
)

// maxMemo bounds what is kept of a call, in bytes: it may wait for hours.
const maxMemo = 256 << 10

// Memo keeps what was computed of a call's change from bytes alone. A call is
// planned when it is asked and again under the lock of its target; where the
// file and the arguments are the same to the byte, so is the view of their
// values, which takes far longer to compute than a digest. Everything that is
// looked up elsewhere is looked up again. The zero value is ready; one goroutine
// at a time uses it.
type Memo struct {
	key  memoKey
	kept *structure
}

type memoKey struct {
	name          string
	exists        bool
	before, after digest.Digest
}

// structural is the function of this name, computed once for the same bytes.
func (m *Memo) structural(name string, before, after []byte, exists bool) (structure, error) {
	if m == nil {
		return structural(name, before, after, exists)
	}
	key := memoKey{name, exists, digest.Sum(before), digest.Sum(after)}
	if m.kept != nil && m.key == key {
		return m.kept.clipped(), nil
	}
	s, err := structural(name, before, after, exists)
	m.kept = nil
	if err == nil && len(s.patch)+len(s.preview) <= maxMemo {
		m.key, m.kept = key, &s
	}
	return s.clipped(), err
}

// clipped returns s so that appending to its lists leaves the original alone.
func (s structure) clipped() structure {
	s.hazards, s.sides = slices.Clip(s.hazards), slices.Clip(s.sides)
	return s
}
