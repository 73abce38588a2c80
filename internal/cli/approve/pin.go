package approve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// pin is the last state of the audit log that this user has seen.
type pin struct {
	Verifier   string `json:"verifier"`
	Checkpoint string `json:"checkpoint"`
}

func (a *app) pinPath() string { return a.paths.Pin() }

// logAlarm says that the audit log does not continue the one seen before.
type logAlarm struct{ err error }

func (l *logAlarm) Error() string {
	return fmt.Sprintf("ALARM: the audit log does not continue what approve saw last: %v", l.err)
}
func (l *logAlarm) Unwrap() error { return l.err }

func (l *logAlarm) remedy() string {
	return "someone may have put an old or another database in place; `mcpguardd audit verify` checks the log. If it was you, for example by restoring a backup, `approve ack log` accepts the log as it is now"
}

func isAlarm(err error) bool {
	var l *logAlarm
	return errors.As(err, &l)
}

// vouch compares the daemon's signed statement about its log with the last one
// seen, and stores the newer one. The error is a *logAlarm if they do not
// match; any other error means that the check was not possible.
func (a *app) vouch(ctx context.Context, c *client.Client) error {
	seen, old, alarm := a.readPin()
	var since int64
	if seen != nil {
		since = old.Size
	}
	proof, err := c.Checkpoint(ctx, since)
	if errors.Is(err, client.ErrUnreachable) || errors.Is(err, client.ErrVersion) {
		return err
	}
	if err != nil {
		return fmt.Errorf("asking for the state of the audit log: %w", err)
	}
	if alarm != nil {
		return &logAlarm{alarm}
	}
	fresh, err := audit.OpenCheckpoint([]byte(proof.Checkpoint), proof.Verifier)
	if err != nil {
		return &logAlarm{err}
	}
	if seen != nil {
		if err := continues(*seen, old, proof, fresh); err != nil {
			return &logAlarm{err}
		}
		if fresh.Size == old.Size {
			return nil
		}
	}
	if err := a.writePin(pin{Verifier: proof.Verifier, Checkpoint: proof.Checkpoint}); err != nil {
		a.note(fmt.Sprintf("the state of the audit log could not be remembered: %v", err), "a log that is rolled back will not be noticed")
	}
	return nil
}

func continues(seen pin, old audit.Checkpoint, proof client.Proof, fresh audit.Checkpoint) error {
	if seen.Verifier != proof.Verifier {
		return errors.New("it is signed with another key")
	}
	var hashes tlog.TreeProof
	for _, b := range proof.Hashes {
		if len(b) != tlog.HashSize {
			return errors.New("its proof is malformed")
		}
		hashes = append(hashes, tlog.Hash(b))
	}
	return audit.CheckConsistency(old, fresh, hashes)
}

// readPin returns the last state seen; nil if there is none. An unreadable
// file is an error: it must not count as a first visit.
func (a *app) readPin() (*pin, audit.Checkpoint, error) {
	b, err := os.ReadFile(a.pinPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, audit.Checkpoint{}, nil
	}
	var p pin
	if err == nil {
		err = jsonvalue.DecodeStrict(b, &p)
	}
	var c audit.Checkpoint
	if err == nil {
		c, err = audit.OpenCheckpoint([]byte(p.Checkpoint), p.Verifier)
	}
	if err != nil {
		// fail closed: whoever can damage the file could hide a rolled-back log.
		return nil, audit.Checkpoint{}, fmt.Errorf("what it saw cannot be read (%s): %w", a.pinPath(), err)
	}
	return &p, c, nil
}

// writePin replaces the whole file, so that two concurrent writes do not mix.
func (a *app) writePin(p pin) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(a.paths.Config, filepath.Base(a.pinPath())+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), a.pinPath())
}

// repin forgets the last state seen and accepts the present log.
func (a *app) repin(ctx context.Context, c *client.Client) (int64, error) {
	proof, err := c.Checkpoint(ctx, 0)
	if err != nil {
		return 0, fmt.Errorf("asking for the state of the audit log: %w", err)
	}
	now, err := audit.OpenCheckpoint([]byte(proof.Checkpoint), proof.Verifier)
	if err != nil {
		return 0, &logAlarm{err}
	}
	return now.Size, a.writePin(pin{Verifier: proof.Verifier, Checkpoint: proof.Checkpoint})
}
