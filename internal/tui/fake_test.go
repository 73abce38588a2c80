package tui

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"github.com/mcpguard/mcpguard/internal/client"
)

var start = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// fakeDaemon is a daemon in memory. It decides exactly as the real one does:
// by identifier and digest.
type fakeDaemon struct {
	mu       sync.Mutex
	now      time.Time
	items    map[string]*client.Detail
	order    []string
	words    []said // every decision that was asked for
	switches []client.Switch
	alerts   []client.Alert
	servers  []client.Server
	sessions []client.Session
	records  []client.Record
	stats    client.Stats
	running  []client.RunningCommand
	status   client.Status
	down     error
	undoErr  error
	feed     chan client.Event
	version  uint64
}

type said struct {
	id string
	client.DecisionRequest
}

func newFake() *fakeDaemon {
	return &fakeDaemon{now: start, items: map[string]*client.Detail{}, feed: make(chan client.Event, 1024),
		status: client.Status{Version: "0.1.0", Level: "L0", Claim: "stops accidents", Sessions: 2}}
}

func (f *fakeDaemon) fresh(d client.Detail) client.Detail {
	if d.Status == client.Pending {
		d.SecondsLeft = max(0, int(d.ExpiresAt.Sub(f.now)/time.Second))
	}
	return d
}

// put stores a detail as a new version of itself.
func (f *fakeDaemon) put(d client.Detail) client.Detail {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.store(d)
}

func (f *fakeDaemon) store(d client.Detail) client.Detail {
	f.version++
	d.Version = f.version
	if f.items[d.ID] == nil {
		f.order = append(f.order, d.ID)
	}
	f.items[d.ID] = &d
	return f.fresh(d)
}

func (f *fakeDaemon) err(ctx context.Context) error {
	if f.down != nil {
		return f.down
	}
	return ctx.Err()
}

func (f *fakeDaemon) List(ctx context.Context, q client.Filter) (client.Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var p client.Page
	for _, id := range f.order {
		d := f.items[id]
		if len(q.Status) == 0 || slices.Contains(q.Status, d.Status) {
			p.Approvals = append(p.Approvals, f.fresh(*d).Approval)
		}
	}
	if !q.Oldest {
		slices.Reverse(p.Approvals)
	}
	if q.Limit > 0 && len(p.Approvals) > q.Limit {
		p.Approvals = p.Approvals[:q.Limit]
	}
	return p, f.err(ctx)
}

func (f *fakeDaemon) GetBrief(ctx context.Context, ref string) (client.Detail, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.err(ctx); err != nil {
		return client.Detail{}, err
	}
	for _, id := range f.order {
		if id == ref || strings.HasSuffix(id, ref) {
			return f.fresh(*f.items[id]), nil
		}
	}
	return client.Detail{}, &client.Problem{Status: 404, Code: client.CodeNotFound, Detail: "there is no such approval"}
}

func (f *fakeDaemon) Decide(ctx context.Context, id string, w client.DecisionRequest) (client.Detail, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.words = append(f.words, said{id, w})
	if err := f.err(ctx); err != nil {
		return client.Detail{}, err
	}
	d := f.items[id]
	switch {
	case d == nil:
		return client.Detail{}, &client.Problem{Status: 404, Code: client.CodeNotFound, Detail: "there is no such approval"}
	case d.Status != client.Pending:
		p := &client.Problem{Status: 409, Code: client.CodeEnded, Detail: "it is " + d.Status, State: d.Status, ReplacedBy: d.ReplacedBy}
		if next := f.items[d.ReplacedBy]; next != nil {
			full := f.fresh(*next)
			p.Approval = &full
		}
		return client.Detail{}, p
	case d.Digest != w.Digest:
		full := f.fresh(*d)
		return client.Detail{}, &client.Problem{Status: 409, Code: client.CodeDigest, Detail: "the digest differs", Approval: &full}
	}
	out := *d
	out.Status = client.Approved
	if w.Decision == client.Deny {
		out.Status, out.Why = client.Denied, "denied by the reviewer"
	}
	out.Decisions = []client.Decision{{Decision: w.Decision, Reason: w.Reason, Digest: w.Digest, User: "1000", Name: "mira", At: f.now}}
	return f.store(out), nil
}

func (f *fakeDaemon) Watch(ctx context.Context) iter.Seq2[client.Event, error] {
	return func(yield func(client.Event, error) bool) {
		if !yield(client.Event{Kind: client.EventResync}, nil) {
			return
		}
		for {
			select {
			case e := <-f.feed:
				if !yield(e, nil) {
					return
				}
			case <-ctx.Done():
				yield(client.Event{}, context.Cause(ctx))
				return
			}
		}
	}
}

func (f *fakeDaemon) Switches(ctx context.Context) ([]client.Switch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.switches), f.err(ctx)
}

func (f *fakeDaemon) SetSwitch(ctx context.Context, scope, reason string) ([]client.Switch, error) {
	f.mu.Lock()
	f.switches = append(f.switches, client.Switch{Scope: scope, Reason: reason, By: "mira", At: f.now})
	f.mu.Unlock()
	return f.Switches(ctx)
}

func (f *fakeDaemon) ClearSwitch(ctx context.Context, scope string) ([]client.Switch, error) {
	f.mu.Lock()
	f.switches = slices.DeleteFunc(f.switches, func(s client.Switch) bool { return s.Scope == scope })
	f.mu.Unlock()
	return f.Switches(ctx)
}

func (f *fakeDaemon) Status(ctx context.Context) (client.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status, f.err(ctx)
}

func (f *fakeDaemon) Sessions(ctx context.Context) ([]client.Session, error) {
	return f.sessions, f.err(ctx)
}

func (f *fakeDaemon) Servers(ctx context.Context) ([]client.Server, error) {
	return f.servers, f.err(ctx)
}

func (f *fakeDaemon) Stats(ctx context.Context, _ time.Time) (client.Stats, error) {
	return f.stats, f.err(ctx)
}

func (f *fakeDaemon) Audit(ctx context.Context, q client.AuditFilter) (client.Records, error) {
	out := client.Records{Next: -1, Records: slices.Clone(f.records)}
	if !q.Oldest {
		slices.Reverse(out.Records)
	}
	return out, f.err(ctx)
}

func (f *fakeDaemon) Alerts(ctx context.Context, _ bool) ([]client.Alert, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.alerts), f.err(ctx)
}

// Undo takes back what was executed, as the daemon does: by an approval that
// waits.
func (f *fakeDaemon) Undo(ctx context.Context, id string) (client.Detail, error) {
	f.mu.Lock()
	old := f.items[id]
	f.mu.Unlock()
	if old == nil || f.undoErr != nil {
		return client.Detail{}, f.undoErr
	}
	d := sample(900, t1, old.Tool, old.Target)
	d.Undoes = id
	f.put(d)
	return d, f.err(ctx)
}

func (f *fakeDaemon) Commands(ctx context.Context) ([]client.RunningCommand, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := slices.Clone(f.running)
	for i, c := range list {
		list[i].Seconds = int(f.now.Sub(c.StartedAt) / time.Second)
	}
	return list, f.err(ctx)
}

func (f *fakeDaemon) StopCommand(ctx context.Context, id string) ([]client.RunningCommand, error) {
	f.mu.Lock()
	n := len(f.running)
	f.running = slices.DeleteFunc(f.running, func(c client.RunningCommand) bool { return c.ID == id })
	gone := len(f.running) == n
	f.mu.Unlock()
	if gone {
		return nil, &client.Problem{Status: 404, Code: client.CodeNotFound, Detail: "it does not run"}
	}
	return f.Commands(ctx)
}

func (f *fakeDaemon) Acknowledge(ctx context.Context, id string) (client.Alert, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alerts = slices.DeleteFunc(f.alerts, func(a client.Alert) bool { return a.ID == id })
	return client.Alert{ID: id}, f.err(ctx)
}

// desk drives a console without a terminal and without real time: commands run
// at once, except timers, which are dropped.
type desk struct {
	t    testing.TB
	m    *Model
	f    *fakeDaemon
	now  time.Time
	last tea.View
	quit bool
	// hold keeps answers back until release is called.
	set  time.Duration // how far the wall clock was set
	hold bool
	held []tea.Msg
	raw  []string // written past the frame
}

type deskOption func(*Config)

func newDesk(t testing.TB, f *fakeDaemon, options ...deskOption) *desk {
	t.Helper()
	d := &desk{t: t, f: f, now: start}
	cfg := Config{API: f, Now: func() time.Time { return d.now }, Profile: colorprofile.ASCII, Zone: time.UTC}
	for _, o := range options {
		o(&cfg)
	}
	d.m = New(t.Context(), cfg)
	d.m.call.later = func(time.Duration, tea.Msg) tea.Cmd { return nil }
	d.m.call.follow = func(context.Context, int) <-chan eventsMsg {
		none := make(chan eventsMsg)
		close(none)
		return none
	}
	d.m.clocks = func() (time.Time, time.Duration) { return d.now.Add(d.set), d.now.Sub(start) }
	d.m.link.wall, d.m.link.mono = d.m.clocks()
	d.m.startStream()
	d.size(80, 24)
	// The stream is handed in by events; this is its first word.
	d.events(client.Event{Kind: client.EventResync})
	return d
}

func (d *desk) size(w, h int) { d.send(tea.WindowSizeMsg{Width: w, Height: h}) }

// send hands a message in, follows what comes of it, and paints.
func (d *desk) send(msg tea.Msg) {
	d.t.Helper()
	_, cmd := d.m.Update(msg)
	d.last = d.m.View()
	d.run(cmd)
}

func (d *desk) run(cmd tea.Cmd) {
	d.t.Helper()
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			d.run(c)
		}
	case tea.QuitMsg:
		d.quit = true
	case tea.RawMsg:
		d.raw = append(d.raw, fmt.Sprint(msg.Msg))
	case pingMsg, statusMsg, alertsMsg, switchesMsg, serversMsg, historyMsg, auditMsg, storyMsg, statsMsg, runningMsg, syncedMsg, detailMsg, betweenMsg, decidedMsg, branchMsg, acknowledgedMsg, undoMsg, savedMsg, reasonsMsg:
		if d.hold {
			d.held = append(d.held, msg)
			return
		}
		d.send(msg)
	}
}

func (d *desk) release() {
	held := d.held
	d.held, d.hold = nil, false
	for _, m := range held {
		d.send(m)
	}
}

func (d *desk) events(list ...client.Event) {
	d.t.Helper()
	cmd := d.m.onEvents(eventsMsg{gen: d.m.link.gen, events: list})
	d.last = d.m.View()
	d.run(cmd)
	d.last = d.m.View()
}

// changed tells the console of the present state of an approval.
func (d *desk) changed(id string) {
	d.f.mu.Lock()
	a := d.f.fresh(*d.f.items[id]).Approval
	d.f.mu.Unlock()
	d.events(client.Event{Kind: client.EventApproval, ApprovalID: id, Status: a.Status, Approval: &a})
}

// wait lets time pass, for the daemon too, with a tick at the end.
func (d *desk) wait(t time.Duration) {
	d.t.Helper()
	d.now = d.now.Add(t)
	d.f.mu.Lock()
	d.f.now = d.f.now.Add(t)
	d.f.mu.Unlock()
	d.m.arm.wait = false
	d.send(tickMsg{})
}

// press presses keys as a person does, with time between them.
func (d *desk) press(keys ...string) {
	d.t.Helper()
	for _, k := range keys {
		d.wait(1200 * time.Millisecond)
		d.key(k)
	}
}

func (d *desk) key(k string) {
	d.t.Helper()
	d.send(keyOf(k))
}

// write types text quickly, as into a line.
func (d *desk) write(text string) {
	d.t.Helper()
	for _, r := range text {
		d.wait(60 * time.Millisecond)
		d.send(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
}

var codes = map[string]tea.KeyPressMsg{
	"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown},
	"tab": {Code: tea.KeyTab}, "pgdown": {Code: tea.KeyPgDown}, "pgup": {Code: tea.KeyPgUp}, "space": {Code: tea.KeySpace, Text: " "},
	"backspace": {Code: tea.KeyBackspace}, "ctrl+c": {Code: 'c', Mod: tea.ModCtrl}, "left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight},
	"ctrl+l": {Code: 'l', Mod: tea.ModCtrl}, "ctrl+d": {Code: 'd', Mod: tea.ModCtrl}, "ctrl+u": {Code: 'u', Mod: tea.ModCtrl},
}

func keyOf(k string) tea.KeyPressMsg {
	if m, ok := codes[k]; ok {
		return m
	}
	r := []rune(k)
	return tea.KeyPressMsg{Code: r[0], Text: k}
}

// screen is the last frame without its styles.
func (d *desk) screen() string { return ansi.Strip(d.last.Content) }

func (d *desk) sees(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if !strings.Contains(d.screen(), p) {
			d.t.Fatalf("the screen does not show %q:\n%s", p, d.screen())
		}
	}
}

func (d *desk) seesNot(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if strings.Contains(d.screen(), p) {
			d.t.Fatalf("the screen shows %q:\n%s", p, d.screen())
		}
	}
}

// sampleDiff is a small change of a program.
const sampleDiff = `--- a/src/tax.go
+++ b/src/tax.go
@@ -10,7 +10,8 @@ package shop
 // Tax returns the tax of a price.
 func Tax(price Money, country string) Money {
-	rate := rates[country]
+	rate, ok := rates[country]
+	if !ok { panic("no rate for " + country) }
 	return price.Mul(rate)
 }
 
@@ -40,3 +41,3 @@ func Total(items []Item) Money {
 	for _, it := range items {
-		sum = sum.Add(it.Price)
+		sum = sum.Add(it.Price.Mul(it.Count))
 	}
`

// sample returns a pending approval.
func sample(n int, tier, tool, target string) client.Detail {
	d := client.Detail{}
	d.ID = fmt.Sprintf("appr_01jq%022d", n)
	d.ApprovalID, d.Status, d.Tier, d.Bucket, d.Risk = d.ID, client.Pending, tier, "write", "high"
	d.Server, d.Tool, d.Tenant, d.TenantID, d.Environment, d.Workflow = "files", tool, "acme", "acme", "dev", "local"
	d.RunID, d.SessionID, d.CallID = "run_01jq0000000000000000004x7k", "sess_01jq000000000000000000", "call_01jq000000000000000000"
	d.Summary, d.Target = tool+" "+target, target
	d.SideEffects, d.Hazards = []string{}, []client.Hazard{}
	d.RequestedBy = client.Requester{Actor: "agent", User: "1000", Client: "claude-code", Version: "2.1.4", PID: 4711, Executable: "/usr/bin/node", Folder: "/home/mira/src/shop"}
	d.RequestedAt = start.Add(time.Duration(n) * time.Second)
	d.ExpiresAt = d.RequestedAt.Add(15 * time.Minute)
	d.Digest = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}))
	d.Rule = "tier_default"
	d.Diff = client.NewDiff("unified", strings.ReplaceAll(sampleDiff, "src/tax.go", target))
	d.Added, d.Removed = 3, 2
	d.Diff.Added, d.Diff.Removed = 3, 2
	d.Arguments = json.RawMessage(`{"path":"` + target + `"}`)
	d.Effects = []client.Effect{{Kind: "file.edit", Path: target, Key: "/home/mira/src/shop/" + target,
		Before: client.State{Exists: true, Kind: "file", Size: 1234, Mode: "0644", Computed: true},
		After:  client.State{Exists: true, Kind: "file", Size: 1301, Mode: "0644", Computed: true}}}
	return d
}

const (
	t1 = "T1_REVERSIBLE_WRITE"
	t2 = "T2_IRREVERSIBLE_WRITE"
	t3 = "T3_EXECUTE"
	t4 = "T4_IDENTITY_MONEY_OUTBOUND"
)

func clientHazard() client.Hazard {
	return client.Hazard{Kind: "bidi_control", Text: "2 characters that reorder text, first in line 7"}
}
