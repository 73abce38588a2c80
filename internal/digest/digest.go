package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

const digestPrefix = "sha256:"

// Digest is a SHA-256 value. Its text form is "sha256:" and 64 lower-case
// hexadecimal digits. The zero value means "no digest" and is never the digest
// of anything.
type Digest [sha256.Size]byte

// Sum returns the plain SHA-256 of b, the number that sha256sum prints. It
// identifies content and carries neither a domain nor AlgorithmVersion.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

// String returns the text form.
func (d Digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// IsZero says that d holds no digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText returns the text form, or nothing for the zero value.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return []byte{}, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText is the inverse of MarshalText.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	v, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// ParseDigest reads the text form and nothing else: no upper case, no blanks, no
// missing prefix. The digest of all zeros is refused, for it stands for none.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	digits, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(d)) || strings.ToLower(digits) != digits {
		return Digest{}, fmt.Errorf("parsing digest: want %q and %d lower-case hexadecimal digits", digestPrefix, hex.EncodedLen(len(d)))
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return Digest{}, fmt.Errorf("parsing digest: %w", err)
	}
	if d.IsZero() {
		return Digest{}, fmt.Errorf("parsing digest: all zeros is no digest")
	}
	return d, nil
}

// Hasher builds the digest of a list of named fields under a domain. Domain,
// names and values are length-prefixed, so no two lists share an encoding, and
// AlgorithmVersion is part of it. A Hasher belongs to one goroutine.
type Hasher struct{ h hash.Hash }

// NewHasher starts a digest. Each use of a digest has its own domain, so that a
// digest made for one purpose cannot be presented for another.
func NewHasher(domain string) *Hasher {
	h := &Hasher{h: sha256.New()}
	h.write([]byte("mcpguard digest"))
	h.number(AlgorithmVersion)
	h.write([]byte(domain))
	return h
}

// Field adds one field and returns h. The order of fields counts; an empty
// field is not the same as none.
func (h *Hasher) Field(name string, b []byte) *Hasher {
	h.write([]byte(name))
	h.write(b)
	return h
}

// Digest returns the digest of the fields so far. Further fields may follow.
func (h *Hasher) Digest() Digest {
	var d Digest
	h.h.Sum(d[:0])
	return d
}

func (h *Hasher) write(b []byte) {
	h.number(uint64(len(b)))
	h.h.Write(b)
}

func (h *Hasher) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	h.h.Write(b[:])
}
