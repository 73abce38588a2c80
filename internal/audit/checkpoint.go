package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is a statement about the log: with Size records its root is Root.
type Checkpoint struct {
	Origin string // names the log; also the name of its key
	Size   int64
	Root   tlog.Hash
}

// maxCheckpoint bounds a signed checkpoint, in bytes.
const maxCheckpoint = 16 << 10

// Text returns the three lines that are signed (C2SP tlog-checkpoint).
func (c Checkpoint) Text() string {
	return c.Origin + "\n" + strconv.FormatInt(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) != 4 || lines[0] == "" {
		return Checkpoint{}, errors.New("a checkpoint has an origin, a size and a root hash, each on its line")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%q is not a size", clip(lines[1], 64))
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("%q is not a root hash", clip(lines[2], 64))
	}
	// fail closed: extension lines are legal in the format, but this log writes
	// none, and a line that nobody reads is a place to hide.
	if lines[3] != "" {
		return Checkpoint{}, errors.New("the checkpoint has lines that this log does not write")
	}
	c := Checkpoint{Origin: lines[0], Size: size}
	copy(c.Root[:], root)
	return c, nil
}

// Key signs the checkpoints of one log. Its text form is a secret.
type Key struct {
	signer note.Signer
	secret string
	public string
}

// NewKey makes an Ed25519 key and with it the name of a new log, which is
// prefix, a slash and 16 random hexadecimal digits. random is crypto/rand.Reader.
func NewKey(random io.Reader, prefix string) (*Key, error) {
	var id [8]byte
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return nil, fmt.Errorf("naming the audit log: %w", err)
	}
	secret, _, err := note.GenerateKey(random, prefix+"/"+hex.EncodeToString(id[:]))
	if err != nil {
		return nil, fmt.Errorf("making the key of the audit log: %w", err)
	}
	return ParseKey(secret)
}

// ParseKey reads the text form of a key, as Secret returns it.
func ParseKey(secret string) (*Key, error) {
	secret = strings.TrimSpace(secret)
	signer, err := note.NewSigner(secret)
	if err != nil {
		// The error of the library does not carry the key; this one must not either.
		return nil, fmt.Errorf("reading the key of the audit log: %w", err)
	}
	// PRIVATE+KEY+name+hash+base64, as NewSigner has just checked.
	parts := strings.SplitN(secret, "+", 5)
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, errors.New("reading the key of the audit log: malformed seed")
	}
	private := ed25519.NewKeyFromSeed(raw[1:])
	public, err := note.NewEd25519VerifierKey(signer.Name(), private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("reading the key of the audit log: %w", err)
	}
	return &Key{signer: signer, secret: secret, public: public}, nil
}

// Origin returns the name of the log that k signs for.
func (k *Key) Origin() string { return k.signer.Name() }

// Secret returns the text form of k, to be kept in a file of mode 0600.
func (k *Key) Secret() string { return k.secret }

// Verifier returns the text form of the public half.
func (k *Key) Verifier() string { return k.public }

// String keeps the secret out of logs.
func (k *Key) String() string { return k.public }

// Sign returns the signed checkpoint of a log with size records and this root.
func (k *Key) Sign(size int64, root tlog.Hash) ([]byte, error) {
	c := Checkpoint{Origin: k.Origin(), Size: size, Root: root}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, k.signer)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint: %w", err)
	}
	return signed, nil
}

// OpenCheckpoint checks the signature of a checkpoint against the public key
// and returns what it says. The origin must be the name of the key.
func OpenCheckpoint(signed []byte, verifier string) (Checkpoint, error) {
	if len(signed) > maxCheckpoint {
		return Checkpoint{}, fmt.Errorf("opening a checkpoint: it has %d bytes, at most %d are read", len(signed), maxCheckpoint)
	}
	v, err := note.NewVerifier(verifier)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("opening a checkpoint: reading the public key: %w", err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("opening a checkpoint: %w", err)
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("opening a checkpoint: %w", err)
	}
	if c.Origin != v.Name() {
		return Checkpoint{}, fmt.Errorf("opening a checkpoint: it is of the log %q, the key is of %q", clip(c.Origin, 256), v.Name())
	}
	return c, nil
}

// CheckConsistency says whether the log that stated old is a prefix of the one
// that stated fresh. Every log continues the empty one.
func CheckConsistency(old, fresh Checkpoint, proof tlog.TreeProof) error {
	switch {
	case old.Origin != fresh.Origin:
		return fmt.Errorf("checking consistency: %q and %q are two logs", old.Origin, fresh.Origin)
	case fresh.Size < old.Size:
		return fmt.Errorf("checking consistency: the log had %d records and has %d now: it was rolled back", old.Size, fresh.Size)
	case old.Size == 0:
		return nil
	}
	if err := tlog.CheckTree(proof, fresh.Size, fresh.Root, old.Size, old.Root); err != nil {
		return fmt.Errorf("checking consistency: the first %d records are not those of the earlier log: %w", old.Size, err)
	}
	return nil
}
