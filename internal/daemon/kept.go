package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/strictjson"
)

// giveBack returns a session to its shim for the next daemon, and reports
// whether the shim has it.
// ours says that one of the guard's own programs handed it over.
func (d *daemon) giveBack(ours bool, h *ipc.Handover, b ipc.Handback) bool {
	if err := h.Return(b); err != nil {
		d.log.Warn("a session could not be given back to its shim", "server", h.Hello.Server, "shim_pid", h.Shim.PID, "error", err)
		return false
	}
	if ours {
		d.kept.add(h.Shim.Ref())
	}
	return true
}

// owns reports whether one of the guard's own programs handed a session over.
// A shim whose program was replaced by a newer one while it waited for this
// daemon was recognised by the previous daemon.
func (d *daemon) owns(h *ipc.Handover) bool {
	return h.RunsOneOf(d.programs) || h.Kept != nil && h.Peer != nil && d.kept.had(h.Peer.Ref()) && h.Peer.Alive()
}

// keptShims are the guard's own shims that keep a session across a daemon
// restart. It is safe for concurrent use.
type keptShims struct {
	mu           sync.Mutex
	before, next []ipc.ClientRef
}

func (k *keptShims) add(ref ipc.ClientRef) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.next = append(k.next, ref)
}

func (k *keptShims) had(ref ipc.ClientRef) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.before {
		if r == ref {
			return true
		}
	}
	return false
}

// keptRecord is the file that passes them to the next daemon.
type keptRecord struct {
	Boot  string          `json:"boot"`
	Shims []ipc.ClientRef `json:"shims"`
}

func (d *daemon) keptFile() string { return filepath.Join(d.cfg.Paths.State, "shims.json") }

// save writes the shims for the next daemon.
func (k *keptShims) save(path, boot string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.next) == 0 {
		return nil
	}
	b, err := json.Marshal(keptRecord{Boot: boot, Shims: k.next})
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// load reads, once, what the previous daemon wrote.
func (k *keptShims) load(path, boot string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var r keptRecord
	err = strictjson.DecodeStrict(b, &r)
	if rerr := os.Remove(path); err != nil || rerr != nil {
		return errors.Join(err, rerr)
	}
	if r.Boot != boot {
		return fmt.Errorf("%s is from before the machine started", path) // no process of then runs
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.before = r.Shims
	return nil
}
