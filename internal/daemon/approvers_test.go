package daemon

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/clock"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/store"
)

// home is a guard folder whose daemon can be restarted.
type home struct {
	t     *testing.T
	paths ipc.Paths
}

func (h home) configure(unsigned string) {
	h.t.Helper()
	text := "version: 1\nroots: [/]\n"
	if unsigned != "" {
		text += "approvers: {unsigned: " + unsigned + "}\n"
	}
	if err := os.WriteFile(h.paths.ConfigFile(), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// start opens the store and reads the policy, as a daemon does.
func (h home) start() (d *daemon, stop func()) {
	h.t.Helper()
	d = &daemon{cfg: Config{Paths: h.paths}, log: slog.New(slog.DiscardHandler), clock: clock.System(), secrets: newSecrets(), sessions: newRegistry(), natives: newClientTools()}
	st, err := d.openStore()
	if err != nil {
		h.t.Fatal(err)
	}
	d.store = st
	if _, err := st.Startup(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	if err := d.loadPolicy(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	return d, func() {
		if err := st.Close(); err != nil {
			h.t.Error(err)
		}
	}
}

// want checks the rule in force, the setting that waits, and whether there is
// an alert for it.
func (d *daemon) want(t *testing.T, when, inForce, waits string, refused, alert bool) {
	t.Helper()
	got, no := d.approversWait()
	if d.unsignedOf() != inForce || got != waits || no != refused {
		t.Errorf("%s: in force %s, waiting %q (refused %v); want %s, %q (%v)", when, d.unsignedOf(), got, no, inForce, waits, refused)
	}
	list, err := d.store.Alerts(false)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, a := range list {
		found = found || a.Kind == store.AlertApproversWait && a.Status == store.AlertRaised
	}
	if found != alert {
		t.Errorf("%s: there is an alert: %v, want %v", when, found, alert)
	}
}

// TestWiderApproversWaitForADecision: whoever edits the configuration cannot
// let himself decide. The rule in force survives restarts, widening needs a
// human decision under it, and narrowing needs none.
func TestWiderApproversWaitForADecision(t *testing.T) {
	dir := t.TempDir()
	h := home{t, ipc.Paths{Config: dir, State: filepath.Join(dir, "s")}}
	if err := h.paths.Prepare(); err != nil {
		t.Fatal(err)
	}
	by := guard.Approver{User: "1", Name: "me"}
	d, stop := h.start()
	d.want(t, "without a configuration", "terminal", "", false, false)
	stop()

	h.configure("any")
	d, stop = h.start()
	d.want(t, "the first configuration", "any", "", false, false)
	h.configure("")
	if err := d.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.want(t, "narrowed", "terminal", "", false, false)

	h.configure("any")
	if err := d.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.want(t, "widened", "terminal", "any", false, true)
	if w := strings.Join(Weaknesses(d.policy.Load().Config(), d.unsignedOf()), "\n"); strings.Contains(w, "approvers.unsigned is any") {
		t.Error("what is not in force is said to be")
	}
	stop()
	d, stop = h.start()
	d.want(t, "started again", "terminal", "any", false, true)

	var problem *client.Problem
	if err := d.decideApprovers(t.Context(), client.ApproversDecision{Decision: client.Allow, Unsigned: "never", Reason: "mine"}, by); !errors.As(err, &problem) || problem.Status != 409 {
		t.Errorf("decided about what does not wait: %v", err)
	}
	if err := d.decideApprovers(t.Context(), client.ApproversDecision{Decision: client.Deny, Unsigned: "any", Reason: "not mine"}, by); err != nil {
		t.Fatal(err)
	}
	d.want(t, "refused", "terminal", "any", true, false)
	stop()
	d, stop = h.start()
	d.want(t, "refused, started again", "terminal", "any", true, false)
	for _, unsigned := range []string{"", "any"} {
		h.configure(unsigned)
		if err := d.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.want(t, "asked for again", "terminal", "any", false, true)
	if err := d.decideApprovers(t.Context(), client.ApproversDecision{Decision: client.Allow, Unsigned: "any", Reason: "a test set-up"}, by); err != nil {
		t.Fatal(err)
	}
	d.want(t, "allowed", "any", "", false, false)
	stop()

	// A configuration that is missing or does not load changes nothing.
	if err := os.WriteFile(h.paths.ConfigFile(), []byte("version: 1\nnonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, stop = h.start()
	d.want(t, "broken", "any", "", false, false)
	stop()
	h.configure("any")
	d, stop = h.start()
	d.want(t, "mended", "any", "", false, false)
	stop()
}

// TestRemovingTheDatabaseWidensNoApprovers: removing the database lets no one
// decide by a new configuration.
func TestRemovingTheDatabaseWidensNoApprovers(t *testing.T) {
	for name, c := range map[string]struct {
		before, takes string
		inForce       string
	}{
		"the database":               {"", "s/guard.db*", "terminal"},
		"of a home that allowed any": {"any", "s/guard.db*", "terminal"},
		"of a home that let nobody":  {"never", "s/guard.db*", "never"},
		"the copy of the policy too": {"", "s/*", "terminal"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			h := home{t, ipc.Paths{Config: dir, State: filepath.Join(dir, "s")}}
			if err := h.paths.Prepare(); err != nil {
				t.Fatal(err)
			}
			h.configure(c.before)
			_, stop := h.start()
			stop()
			if err := os.WriteFile(h.paths.Pin(), nil, 0o600); err != nil { // as approve leaves it
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, c.takes))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				if err := os.RemoveAll(f); err != nil {
					t.Fatal(err)
				}
			}
			h.configure("any")
			d, stop := h.start()
			defer stop()
			d.want(t, "afterwards", c.inForce, "any", false, true)
		})
	}
}

// TestNobodyDecidesBeforeARuleWasRead.
func TestNobodyDecidesBeforeARuleWasRead(t *testing.T) {
	if got := (&daemon{}).unsignedOf(); got != "never" {
		t.Errorf("%q", got)
	}
}
