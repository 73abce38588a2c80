package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/store"
)

// ReadPolicy compiles the configuration and the accepted definitions of a
// folder. Without a configuration the set is empty: nothing is allowed.
func ReadPolicy(p ipc.Paths) (*policy.Set, error) {
	cfg, err := config.Load(p.ConfigFile())
	if errors.Is(err, fs.ErrNotExist) {
		cfg, err = config.Parse(p.ConfigFile(), []byte("version: 1\n"))
	}
	if err != nil {
		return nil, err
	}
	return Compile(cfg, p)
}

// Compile compiles cfg with the accepted definitions of a folder.
func Compile(cfg *config.Config, p ipc.Paths) (*policy.Set, error) {
	lock, err := config.LoadLock(p.ToolsLock())
	if err != nil {
		return nil, err
	}
	if err := clientToolPins(cfg, lock); err != nil {
		return nil, err
	}
	return policy.Compile(cfg, lock)
}

// clientToolPins accepts the definitions of the client's own tools, which are
// part of this program.
func clientToolPins(cfg *config.Config, lock *config.Lock) error {
	if cfg.Native == nil {
		return nil
	}
	for name := range cfg.Native.Tools {
		if err := lock.Put(guard.Pin{Server: config.NativeServer, Tool: name, Definition: clienttools.Definition(name), AcceptedBy: "mcpguardd"}); err != nil {
			return fmt.Errorf("describing the client's own tools: %w", err)
		}
	}
	return nil
}

// loadPolicy reads the policy at the start of the daemon. If it does not load,
// an empty policy, which denies everything, is in force; status, doctor and
// approve tell the developer.
func (d *daemon) loadPolicy(ctx context.Context) error {
	if err := d.inheritApprovers(ctx); err != nil {
		return fmt.Errorf("taking over who may decide: %w", err)
	}
	files := d.policyFiles()
	set, err := d.readPolicy(d.hadConfig())
	if err != nil {
		d.refusePolicy(err, true)
		cfg, perr := config.Parse(d.cfg.Paths.ConfigFile(), []byte("version: 1\n"))
		if perr != nil {
			return perr
		}
		if set, err = policy.Compile(cfg, nil); err != nil {
			return err
		}
		return d.denyAll(ctx, set)
	}
	return d.adopt(ctx, d.policyBefore(), set, files)
}

// denyAll puts the empty policy into force if none loads at the start. The
// copy of the previous policy stays, and the next one that loads is compared
// with it: correcting a mistake then does not count as widening, and a
// permission added with the correction is not hidden among all those that
// return.
func (d *daemon) denyAll(ctx context.Context, empty *policy.Set) error {
	if err := d.record(ctx, audit.PolicyRead(empty.Hash(), d.cfg.Paths.ConfigFile(), "no policy loads; everything is denied", d.now())); err != nil {
		return err // fail closed: what is not recorded does not come into force
	}
	if err := d.adoptApprovers(ctx, empty, false); err != nil {
		return fmt.Errorf("taking over who may decide: %w", err)
	}
	d.policy.Store(empty)
	d.expected.Store(true)
	return nil
}

// readPolicy reads the policy. A configuration that existed before and is now
// missing does not count as empty: an editor may be replacing it, or it is
// lost.
func (d *daemon) readPolicy(before bool) (*policy.Set, error) {
	if _, err := os.Lstat(d.cfg.Paths.ConfigFile()); before && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is gone; put it back, or write one with the line \"version: 1\" to allow nothing", d.cfg.Paths.ConfigFile())
	}
	return ReadPolicy(d.cfg.Paths)
}

// hadConfig reports whether the previous daemon had a configuration in force.
func (d *daemon) hadConfig() bool {
	_, err := os.Lstat(d.lastPolicy().ConfigFile())
	return err == nil
}

// reload reads the policy again. One that does not load changes nothing.
func (d *daemon) reload(ctx context.Context) error {
	d.reloads.Lock()
	defer d.reloads.Unlock()
	files := d.policyFiles()
	set, err := d.readPolicy(d.expected.Load())
	if err != nil {
		old := d.problem.Load()
		d.refusePolicy(err, old != nil && old.none)
		return err
	}
	before := d.policy.Load()
	if old := d.problem.Swap(nil); old != nil && old.none {
		before = d.policyBefore()
	}
	if set.Hash() == d.policy.Load().Hash() {
		d.policy.Store(set)
		d.expected.Store(files.config != nil)
		d.keepLast(files)
		return nil
	}
	return d.adopt(ctx, before, set, files)
}

// policyProblem says why the policy in force is not that of the files.
type policyProblem struct {
	text string
	none bool // nothing is in force, since no policy has loaded since the start
}

func (d *daemon) refusePolicy(err error, none bool) {
	p := policyProblem{err.Error(), none}
	if old := d.problem.Swap(&p); old != nil && *old == p {
		return
	}
	if none {
		d.log.Error("the configuration does not load, and none is in force: everything is denied", "error", p.text)
		return
	}
	d.log.Error("the configuration does not load; the policy in force stays", "error", p.text)
}

// adopt puts set into force. It first records it with its changes; a change
// that widens permission raises an alert that stays until a human has seen it.
// files are the files that set was read from.
func (d *daemon) adopt(ctx context.Context, before, set *policy.Set, files policyFiles) error {
	var lines, wider []string
	_, kept, err := d.store.ApproverRule() // then a wider rule waits, with its own alert
	if err != nil {
		return err
	}
	if before != nil {
		for _, c := range policy.Changes(before, set) {
			lines = append(lines, c.Text)
			if c.Widens && (!kept || c.Text != approversChange(before.Config().Approvers.Unsigned, set.Config().Approvers.Unsigned)) {
				wider = append(wider, c.Text)
			}
		}
	}
	summary := string(d.secrets.text([]byte(strings.Join(lines, "\n"))))
	if err := d.record(ctx, audit.PolicyRead(set.Hash(), d.cfg.Paths.ConfigFile(), summary, d.now())); err != nil {
		return err // fail closed: a policy that is not recorded does not come into force
	}
	if len(wider) > 0 {
		err := d.store.RaiseAlert(ctx, store.Alert{
			Kind: "policy_widened", Key: set.Hash(),
			Text:   fmt.Sprintf("the policy allows more than before (%s)", count(len(wider), "change")),
			Detail: strings.Join(wider, "\n"),
		})
		if err != nil {
			return fmt.Errorf("recording that the policy was widened: %w", err)
		}
	}
	if err := d.adoptApprovers(ctx, set, files.config != nil); err != nil {
		return fmt.Errorf("taking over who may decide: %w", err)
	}
	d.policy.Store(set)
	d.expected.Store(files.config != nil)
	for _, s := range d.sessions.all() {
		s.renew(set)
	}
	d.keepLast(files)
	d.log.Info("policy in force", "hash", set.Hash(), "changes", len(lines), "wider", len(wider))
	return nil
}

// lastPolicy is where a copy of the files in force is kept, so that a change
// made while no daemon ran is noticed at the next start.
func (d *daemon) lastPolicy() ipc.Paths {
	dir := filepath.Join(d.cfg.Paths.State, "policy-in-force")
	return ipc.Paths{Config: dir, State: dir}
}

// policyBefore returns the policy of the previous daemon, nil if there was
// none. A copy that does not load or was removed counts as an empty policy.
func (d *daemon) policyBefore() *policy.Set {
	if _, err := os.Stat(d.lastPolicy().Config); errors.Is(err, fs.ErrNotExist) && d.first {
		return nil
	}
	set, err := ReadPolicy(d.lastPolicy())
	if err == nil {
		return set
	}
	d.log.Warn("the copy of the earlier policy does not load; everything that is allowed now counts as new", "error", err)
	if set, err = ReadPolicy(ipc.Paths{Config: filepath.Join(d.lastPolicy().Config, "none")}); err != nil {
		return nil
	}
	return set
}

// policyFiles holds the contents of the files of a policy; nil means no file.
type policyFiles struct{ config, lock []byte }

func (d *daemon) policyFiles() (f policyFiles) {
	f.config, _ = config.ReadFile(d.cfg.Paths.ConfigFile()) // reading the policy says what is wrong
	f.lock, _ = config.ReadFile(d.cfg.Paths.ToolsLock())
	return f
}

// keepLast saves a copy of the files that the policy in force was read from.
func (d *daemon) keepLast(files policyFiles) {
	if now := d.policyFiles(); !bytes.Equal(now.config, files.config) || !bytes.Equal(now.lock, files.lock) {
		// fail closed: what was read in between is not known, and the next start
		// must not take a wider policy for the one before. The change is read next.
		files = policyFiles{}
	}
	to := d.lastPolicy()
	if err := os.MkdirAll(to.Config, 0o700); err != nil {
		d.log.Warn("keeping a copy of the policy", "error", err)
		return
	}
	for path, data := range map[string][]byte{to.ConfigFile(): files.config, to.ToolsLock(): files.lock} {
		var err error
		if data != nil {
			err = os.WriteFile(path, data, 0o600)
		} else if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err != nil {
			d.log.Warn("keeping a copy of the policy", "error", err)
		}
	}
}

// settle is how long a changed file must rest before it is read.
const settle = 100 * time.Millisecond

// changes reports events after which the policy must be read again: SIGHUP and
// changed configuration files.
type changes struct {
	hup   chan os.Signal
	files *fsnotify.Watcher // nil where files cannot be watched
}

// notice starts watching. It is called before the policy is first read, so
// that no change is missed in between. The caller closes the result.
func (d *daemon) notice() *changes {
	c := &changes{hup: make(chan os.Signal, 1)}
	signal.Notify(c.hup, syscall.SIGHUP)
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(d.cfg.Paths.Config); err != nil {
			_ = w.Close()
		}
	}
	if err != nil {
		d.log.Warn("changes of the configuration are not noticed by themselves; send SIGHUP", "error", err)
		return c
	}
	c.files = w
	return c
}

func (c *changes) close() {
	signal.Stop(c.hup)
	if c.files != nil {
		_ = c.files.Close()
	}
}

// watchPolicy reloads the policy on each event, until ctx ends.
func (d *daemon) watchPolicy(ctx context.Context, c *changes) {
	var events <-chan fsnotify.Event
	var lost <-chan error // more happened than the system kept, most likely
	if c.files != nil {
		events, lost = c.files.Events, c.files.Errors
	}
	rest := time.NewTimer(0)
	<-rest.C
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.hup:
			rest.Reset(0)
		case e := <-events:
			if e.Name == d.cfg.Paths.ConfigFile() || e.Name == d.cfg.Paths.ToolsLock() {
				rest.Reset(settle)
			}
		case err := <-lost:
			d.log.Warn("a change of the configuration may have been missed; it is read again", "error", err)
			rest.Reset(settle)
		case <-rest.C:
			if err := d.reload(ctx); err != nil && ctx.Err() == nil {
				d.log.Error("reloading the configuration", "error", err)
			}
		}
	}
}

// watchSwitches tells the sessions when a switch is set or cleared, until ctx
// ends.
func (d *daemon) watchSwitches(ctx context.Context) {
	w := d.store.Watch()
	defer w.Close()
	for {
		c, err := w.Next(ctx)
		if err != nil {
			return
		}
		if c.Kind == store.ChangeSwitch || c.Kind == store.ChangeResync {
			for _, s := range d.sessions.all() {
				s.look()
			}
		}
	}
}

// count formats a number of things.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
