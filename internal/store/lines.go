package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// Line is a command line that a client was given in place of a command that
// has run in a sandbox. It shows a token, which is not stored: whoever reads
// the database cannot present it.
type Line struct {
	Token  digest.Digest     `json:"token"` // of the token
	Tenant string            `json:"tenant"`
	Run    guard.RunID       `json:"run"`
	Call   guard.CallID      `json:"call"`
	Client guard.UpstreamRef `json:"client"` // the only process whose descendants may present the token
	Record string            `json:"record"` // of the sandbox's run, to be landed
	At     time.Time         `json:"at"`
	// Ended means that the call has been answered. Refused is then the sentence
	// for the model if there was no outcome.
	Ended   bool   `json:"ended,omitempty"`
	Refused string `json:"refused,omitempty"`
	// Printed means that the outcome was delivered.
	Printed bool `json:"printed,omitempty"`

	// Outcome is what the line prints and how it ends, as the caller encodes
	// it. Without an end, it is what the sandbox's run has given.
	Outcome []byte `json:"-"`
}

// lineRow is a stored line; its outcome stands in a bucket of its own.
type lineRow struct {
	Line
	Sum digest.Digest `json:"outcome,omitzero"`
}

// maxLines is how many lines of one tenant are kept; beyond that the oldest
// are dropped.
const maxLines = 4096

// PutLine stores a line durably. A line of the same token is replaced.
func (s *Store) PutLine(_ context.Context, l Line) error {
	if err := checkTenant("the line", l.Tenant); err != nil {
		return fmt.Errorf("keeping a line: %w", err)
	}
	if l.Token.IsZero() || l.Call == "" {
		return fmt.Errorf("keeping a line: it has no token or no call")
	}
	packed := s.deflate.pack(l.Outcome)
	return s.do("keeping a line", func(b *batch) error {
		if err := b.tenant(l.Tenant); err != nil {
			return err
		}
		return b.putLine(lineRow{Line: l, Sum: digest.Sum(l.Outcome)}, packed)
	})
}

func (b *batch) putLine(r lineRow, packed []byte) error {
	k := key(r.Tenant, r.Token.String())
	if packed != nil {
		if err := b.put(bucketLineOutput, k, packed); err != nil {
			return err
		}
	}
	return b.putJSON(bucketLines, k, r)
}

// EndLineAsync records how the call of a line ended, within 50 ms. An outcome
// replaces the one of the sandbox's run; refused is the sentence if there is
// none.
func (s *Store) EndLineAsync(token digest.Digest, outcome []byte, refused string) {
	var packed []byte
	if refused == "" {
		packed = s.deflate.pack(outcome)
	}
	s.changeLine("ending a line", token, packed, func(r *lineRow) {
		r.Ended, r.Refused = true, refused
		if refused == "" {
			r.Sum = digest.Sum(outcome)
		}
	})
}

// LinePrintedAsync records, within 50 ms, that the outcome of a line was
// delivered.
func (s *Store) LinePrintedAsync(token digest.Digest) {
	s.changeLine("recording that a line has printed", token, nil, func(r *lineRow) { r.Printed = true })
}

func (s *Store) changeLine(what string, token digest.Digest, packed []byte, change func(*lineRow)) {
	err := s.async(s.logged(what, func(b *batch) error {
		tenant, ok := b.find(bucketLines, token.String())
		if !ok {
			return ErrNotFound
		}
		var r lineRow
		if _, err := getJSON(b.bucket(bucketLines), key(tenant, token.String()), &r); err != nil {
			return err
		}
		change(&r)
		return b.putLine(r, packed)
	}))
	if err != nil {
		s.log.Error(what, "error", err)
	}
}

// LineOf returns the line that shows a token, ErrNotFound if there is none.
func (s *Store) LineOf(token digest.Digest) (Line, error) {
	var r lineRow
	tenants := s.tenants()
	err := s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucketLines))
		tenant, ok := findTenant(b, tenants, token.String())
		if !ok {
			return ErrNotFound
		}
		k := key(tenant, token.String())
		if _, err := getJSON(b, k, &r); err != nil {
			return err
		}
		var err error
		r.Outcome, err = unpack(tx.Bucket([]byte(bucketLineOutput)).Get(k), r.Sum)
		return err
	})
	if err != nil {
		return Line{}, fmt.Errorf("finding a line: %w", err)
	}
	return r.Line, nil
}

// UnprintedLines returns the lines of a run whose outcome was not delivered,
// without the outcomes.
func (s *Store) UnprintedLines(tenant string, run guard.RunID) ([]Line, error) {
	var out []Line
	err := s.view(func(tx *bolt.Tx) error {
		return eachJSON(tx.Bucket([]byte(bucketLines)), prefix(tenant), func(r lineRow) {
			if r.Run == run && !r.Printed {
				out = append(out, r.Line)
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the lines of a run: %w", err)
	}
	return out, nil
}

// PruneLines drops lines issued before olderThan, and of the others all but
// the newest maxLines of a tenant.
func (s *Store) PruneLines(_ context.Context, olderThan time.Time) (int, error) {
	return ask(s, "dropping old lines", func(b *batch) (n int, late, err error) {
		byTenant := map[string][]lineRow{}
		if err := eachJSON(b.bucket(bucketLines), nil, func(r lineRow) { byTenant[r.Tenant] = append(byTenant[r.Tenant], r) }); err != nil {
			return 0, nil, err
		}
		for _, rows := range byTenant {
			for _, r := range oldLines(rows, olderThan, maxLines) {
				k := key(r.Tenant, r.Token.String())
				if err := b.delete(bucketLines, k); err != nil {
					return n, nil, err
				}
				if err := b.delete(bucketLineOutput, k); err != nil {
					return n, nil, err
				}
				n++
			}
		}
		return n, nil, nil
	})
}

// oldLines returns the lines of one tenant to be dropped.
func oldLines(rows []lineRow, olderThan time.Time, most int) []lineRow {
	slices.SortFunc(rows, func(a, b lineRow) int { return b.At.Compare(a.At) }) // the newest first
	i := min(len(rows), most)
	for i > 0 && rows[i-1].At.Before(olderThan) {
		i--
	}
	return rows[i:]
}
