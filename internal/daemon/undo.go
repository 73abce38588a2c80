package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/proxy"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/upstream"
	"github.com/mcpguard/mcpguard/internal/workspace"
)

// undoName is how the developer's own sessions call themselves, and the server
// that they speak with: the built-in one, with a policy of its own.
const (
	undoName   = "undo"
	undoClient = "approve undo"
)

// undoStart is how long an undo may take until its approval waits.
const undoStart = 20 * time.Second

// Undo implements localapi.Live. It proposes the inverse of an executed change:
// as a call of the built-in server in a session of the developer's own, which
// goes the way of every call and waits for an approval of its own. The id is
// that approval's. The error is an *effect.Refusal where the change cannot be
// taken back.
func (l live) Undo(ctx context.Context, id guard.ApprovalID, by guard.Approver) (guard.ApprovalID, error) {
	d := l.daemon
	a, err := d.store.Approval(id)
	if err != nil {
		return "", err
	}
	in, err := effect.InverseOf(ctx, a)
	if err != nil {
		return "", err
	}
	set, err := undoPolicy(ctx, a, in.Roots, d.cfg.Version, d.now())
	if err != nil {
		return "", fmt.Errorf("preparing to undo %s: %w", id, err)
	}
	u := &undo{
		daemon: d, of: a, in: in, set: set,
		session: guard.Session{
			ID: guard.NewSessionID(), RunID: guard.NewRunID(), Tenant: a.Tenant, Environment: a.Environment, Workflow: a.Workflow,
			Profile: undoName, Server: undoName, OpenedAt: d.now(),
			Origin: guard.Origin{Client: undoClient, Version: d.cfg.Version, PID: by.PID, Executable: by.Executable, Folder: in.Roots[0], User: by.User},
		},
		refused: make(chan string, 1),
	}
	changes := d.store.Watch()
	defer changes.Close()
	if err := d.store.OpenSession(ctx, u.session, audit.ForSession(audit.SessionOpened, u.session, d.now())); err != nil {
		return "", fmt.Errorf("recording the session that undoes %s: %w", id, err)
	}
	d.serving.Go(u.run) // ends with the call's answer, or with the daemon
	return u.waits(ctx, changes)
}

// undo is one session of the developer's own, with one call.
type undo struct {
	*daemon
	of      guard.Approval
	in      effect.Inverse
	set     *policy.Set
	session guard.Session
	refused chan string // an answer that came without an approval
}

// undoPolicy is what holds for the built-in server in such a session: its
// preset, for the tenant and environment of the change, and definitions as they
// are in this program.
func undoPolicy(ctx context.Context, a guard.Approval, roots []string, version string, now time.Time) (*policy.Set, error) {
	text, err := json.Marshal(map[string]any{ // JSON is YAML, too
		"version":  1,
		"profiles": map[string]any{undoName: map[string]any{"roots": roots, "tenant": a.Tenant, "environment": a.Environment, "workflow": a.Workflow}},
		"hold":     map[string]any{"clients": map[string]string{undoClient: "wait"}},
		"servers": map[string]any{undoName: map[string]any{
			"builtin": "workspace", "preset": "workspace", "workspaces": roots,
			"tenants": []string{a.Tenant}, "environments": []string{a.Environment},
		}},
	})
	if err != nil {
		return nil, err
	}
	cfg, err := config.Parse("undo.yaml", text)
	if err != nil {
		return nil, err
	}
	conn, err := workspace.Open(workspace.Config{Roots: roots, Version: version})
	if err != nil {
		return nil, err
	}
	listing, err := onboard.Probe(ctx, conn)
	if err = errors.Join(err, conn.Stop(ctx)); err != nil {
		return nil, err
	}
	lock := new(config.Lock)
	if err := onboard.Accept(lock, undoName, listing.Tools, undoName, now); err != nil {
		return nil, err
	}
	return policy.Compile(cfg, lock)
}

// run serves the session until its call is answered or the daemon ends.
func (u *undo) run() {
	ctx, cancel := context.WithCancel(u.base)
	defer cancel()
	toGuard, fromUs := io.Pipe()
	toUs, fromGuard := io.Pipe()
	done := make(chan struct{})
	go func() { // ends with the answer, or when Serve has closed its end
		defer close(done)
		defer cancel()
		defer fromUs.Close()
		u.speak(fromUs, toUs)
	}()
	err := proxy.Serve(ctx, proxy.Config{
		Session: u.session,
		Client:  pipeEnds{toGuard, fromGuard},
		Upstream: func(context.Context) (upstream.Conn, error) {
			return workspace.Open(workspace.Config{Roots: u.in.Roots, Version: u.cfg.Version})
		},
		Policy: func() *policy.Set { return u.set },
		Store:  u.store, Desk: u.desk, Locks: u.locks, Meter: u.meter, Redactor: u.secrets, Clock: u.clock,
		Roots: u.in.Roots, Undoes: u.of.ID,
		Log: u.log.With("session", u.session.ID, "server", undoName),
	})
	_ = toUs.Close()
	<-done
	if err != nil && u.base.Err() == nil {
		u.log.Warn("an undo ended", "undoes", u.of.ID, "error", err)
	}
	end, cancelEnd := context.WithTimeout(context.WithoutCancel(u.base), 10*time.Second)
	defer cancelEnd()
	if err := u.store.CloseSession(end, u.session.ID, u.now(), audit.ForSession(audit.SessionClosed, u.session, u.now())); err != nil {
		u.log.Error("recording the end of an undo", "session", u.session.ID, "error", err)
	}
}

// pipeEnds is the guard's side of the session.
type pipeEnds struct {
	*io.PipeReader
	w *io.PipeWriter
}

func (p pipeEnds) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipeEnds) Close() error                { return errors.Join(p.PipeReader.Close(), p.w.Close()) }

// speak is the client's side: it introduces itself, makes the call and reads to
// its answer.
func (u *undo) speak(w io.Writer, r io.Reader) {
	lines := bufio.NewReader(r)
	answer := func(id int) ([]byte, bool) {
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return nil, false
			}
			var head struct {
				ID     int    `json:"id"`
				Method string `json:"method"`
			}
			if json.Unmarshal(line, &head) == nil && head.ID == id && head.Method == "" {
				return line, true
			}
		}
	}
	hello := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"` + undoClient + `","version":"1"}}}` + "\n"
	if _, err := io.WriteString(w, hello); err != nil {
		return
	}
	if _, ok := answer(1); !ok {
		return
	}
	call := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n"+
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":%q,"arguments":%s}}`+"\n", u.in.Tool, u.in.Args)
	if _, err := io.WriteString(w, call); err != nil {
		return
	}
	line, ok := answer(2)
	if !ok {
		return
	}
	u.refused <- sentenceOf(line)
}

// sentenceOf is why a call was refused, as its answer says.
func sentenceOf(line []byte) string {
	var frame struct {
		Error  struct{ Message string }
		Result struct {
			Content []struct{ Text string }
		}
	}
	if err := json.Unmarshal(line, &frame); err != nil {
		return ""
	}
	if frame.Error.Message != "" || len(frame.Result.Content) == 0 {
		return frame.Error.Message
	}
	var word struct{ Reason string }
	text := frame.Result.Content[0].Text
	if json.Unmarshal([]byte(text), &word) == nil && word.Reason != "" {
		return word.Reason
	}
	return text
}

// waits returns the approval that the call waits for.
func (u *undo) waits(ctx context.Context, changes *store.Watcher) (guard.ApprovalID, error) {
	ctx, cancel := context.WithTimeout(ctx, undoStart)
	defer cancel()
	found := make(chan guard.ApprovalID, 1)
	go func() { // ends with ctx, or when the approval is there
		for {
			list, err := u.store.Approvals(store.Filter{Run: u.session.RunID})
			if err == nil && len(list) > 0 {
				found <- list[0].ID
				return
			}
			if _, err := changes.Next(ctx); err != nil {
				return
			}
		}
	}()
	select {
	case id := <-found:
		return id, nil
	case why := <-u.refused:
		select {
		case id := <-found: // it was decided that soon
			return id, nil
		default:
		}
		return "", &effect.Refusal{Rule: guard.RulePreviewFailed, Reason: "the way back is refused: " + why, Repair: "take it back by hand"}
	case <-ctx.Done():
		return "", fmt.Errorf("undoing %s: no approval came to wait: %w", u.of.ID, ctx.Err())
	}
}
