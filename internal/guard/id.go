package guard

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// The identifiers are TypeIDs: a prefix, an underscore and a UUIDv7 in 26
// characters of lower-case Crockford base32. They sort by time of creation.
type (
	ApprovalID string
	RunID      string
	CallID     string
	SessionID  string
	EventID    string
)

// Prefixes of the identifiers.
const (
	ApprovalPrefix = "appr"
	RunPrefix      = "run"
	CallPrefix     = "call"
	SessionPrefix  = "sess"
	EventPrefix    = "evt"
)

// NewApprovalID returns a new approval identifier.
func NewApprovalID() ApprovalID { return ApprovalID(newID(ApprovalPrefix)) }

// NewRunID returns a new run identifier.
func NewRunID() RunID { return RunID(newID(RunPrefix)) }

// NewCallID returns a new call identifier.
func NewCallID() CallID { return CallID(newID(CallPrefix)) }

// NewSessionID returns a new session identifier.
func NewSessionID() SessionID { return SessionID(newID(SessionPrefix)) }

// NewEventID returns a new audit event identifier.
func NewEventID() EventID { return EventID(newID(EventPrefix)) }

const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

func newID(prefix string) string {
	// NewV7 fails only if the system's random source does. Without it nothing
	// can be identified, so nothing may run.
	return prefix + "_" + encode32(uuid.Must(uuid.NewV7()))
}

// encode32 writes 128 bits as 26 characters, most significant first (TypeID).
func encode32(u uuid.UUID) string {
	var b [26]byte
	var acc uint
	bits := 2 // 130 bits are written; the first two are zero
	n := 0
	for _, x := range u {
		acc = acc<<8 | uint(x)
		bits += 8
		for bits >= 5 {
			bits -= 5
			b[n] = crockford[acc>>bits&31]
			n++
		}
		acc &= 1<<bits - 1
	}
	return string(b[:])
}

// CheckID returns an error unless s is an identifier with the given prefix.
// Everything from a peer passes through it before it is used as a key.
func CheckID(prefix, s string) error {
	rest, ok := strings.CutPrefix(s, prefix+"_")
	if !ok {
		return fmt.Errorf("%q is not an identifier of the form %s_…", s, prefix)
	}
	if len(rest) != 26 || rest[0] > '7' {
		return fmt.Errorf("%q is not an identifier: 26 base32 characters must follow %s_", s, prefix)
	}
	for _, c := range rest {
		if !strings.ContainsRune(crockford, c) {
			return fmt.Errorf("%q is not an identifier: %q is no base32 character", s, c)
		}
	}
	return nil
}
