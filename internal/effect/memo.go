package effect

import (
	"slices"

	"github.com/mcpguard/mcpguard/internal/digest"
)

// maxMemo bounds what is kept per call, in bytes, since a call may wait for hours.
const maxMemo = 256 << 10

// Memo caches the parts of a plan that depend on bytes alone. A call is planned
// when it arrives and again under the lock of its target; if the file and the
// arguments are identical, so is the structural view, which costs far more than a
// digest. Everything else is read again. The zero value is ready to use. A Memo is
// not safe for concurrent use.
type Memo struct {
	key  memoKey
	kept *structure
}

type memoKey struct {
	name          string
	exists        bool
	before, after digest.Digest
}

// structural is the function structural, computed once for the same bytes.
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

// clipped returns a copy of s whose lists can be appended to without changing s.
func (s structure) clipped() structure {
	s.hazards, s.sides = slices.Clip(s.hazards), slices.Clip(s.sides)
	return s
}
