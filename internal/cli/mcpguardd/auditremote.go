package mcpguardd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// remoteLog is the log as served by a running daemon.
type remoteLog struct {
	api *client.Client
}

// pageSize is how many records are requested at once.
const pageSize = 500

// each passes every record from an index on to use, in order.
func (l remoteLog) each(ctx context.Context, f client.AuditFilter, use func(client.Record) error) error {
	f.Oldest, f.Limit = true, pageSize
	for {
		page, err := l.api.Audit(ctx, f)
		if err != nil {
			return reached(err)
		}
		for _, r := range page.Records {
			if err := use(r); err != nil {
				return err
			}
		}
		if len(page.Records) == 0 || page.Next < 0 {
			return nil
		}
		f.From = page.Next
	}
}

func (l remoteLog) Export(ctx context.Context, w io.Writer, from int64) error {
	return l.each(ctx, client.AuditFilter{From: from}, func(r client.Record) error {
		_, err := w.Write(append(r.Event, '\n'))
		return err
	})
}

func (l remoteLog) Records(ctx context.Context, run guard.RunID) (out []audit.Event, err error) {
	err = l.each(ctx, client.AuditFilter{Run: string(run)}, func(r client.Record) error {
		e, err := audit.Decode(r.Event)
		out = append(out, e)
		return err
	})
	return out, err
}

// Verify asks the daemon to compare its file with what is stored and signed,
// which names a damaged record. It then reads every record up to the daemon's
// signed checkpoint, recomputes the tree only from them and compares it with
// that checkpoint: the daemon's own statement is not enough.
func (l remoteLog) Verify(ctx context.Context) (audit.Report, error) {
	v, err := l.api.VerifyLog(ctx)
	if err != nil {
		return audit.Report{}, reached(err)
	}
	if r := (audit.Report{Size: v.Records, FirstBad: v.FirstBad, LastBad: v.LastBad, Problem: v.Problem, Twice: v.Twice}); !r.OK() {
		return r, nil
	}
	proof, err := l.api.Checkpoint(ctx, 0)
	if err != nil {
		return audit.Report{}, reached(err)
	}
	c, err := audit.OpenCheckpoint([]byte(proof.Checkpoint), proof.Verifier)
	if err != nil {
		return audit.Report{}, fmt.Errorf("reading the daemon's checkpoint: %w", err)
	}
	src := &copied{}
	enough := errors.New("enough")
	err = l.each(ctx, client.AuditFilter{}, func(r client.Record) error {
		if r.Index >= c.Size {
			return enough
		}
		return src.add(r)
	})
	if err != nil && !errors.Is(err, enough) {
		return audit.Report{}, err
	}
	return audit.Verify(ctx, src, audit.VerifyOptions{Verifier: proof.Verifier, Checkpoints: [][]byte{[]byte(proof.Checkpoint)}})
}

// copied is a log whose hashes were computed here from the records.
type copied struct {
	leaves []audit.Leaf
	hashes []tlog.Hash
}

func (s *copied) add(r client.Record) error {
	if r.Index != int64(len(s.leaves)) {
		return fmt.Errorf("the daemon left out record %d of the audit log", len(s.leaves))
	}
	more, err := tlog.StoredHashes(r.Index, r.Event, tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, n := range at {
			out[i] = s.hashes[n]
		}
		return out, nil
	}))
	if err != nil {
		return fmt.Errorf("hashing record %d of the audit log: %w", r.Index, err)
	}
	s.leaves = append(s.leaves, audit.Leaf{Index: r.Index, Data: r.Event})
	s.hashes = append(s.hashes, more...)
	return nil
}

func (s *copied) Size() (records, hashes int64, err error) {
	return int64(len(s.leaves)), int64(len(s.hashes)), nil
}

func (s *copied) Leaves(from int64, limit int) ([]audit.Leaf, error) {
	return s.leaves[from:min(int(from)+limit, len(s.leaves))], nil
}

func (s *copied) StoredHashes(from int64, n int) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, n)
	if from < int64(len(s.hashes)) {
		copy(out, s.hashes[from:])
	}
	return out, nil
}
