package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/store"
)

// unsignedOf returns where unsigned decisions may currently come from.
func (d *daemon) unsignedOf() string {
	if v := d.rule.Load(); v != nil {
		return v.Unsigned
	}
	return "never" // fail closed: nothing is known yet
}

// inheritApprovers restores the rule that was in force if the store does not
// know it, because the database of a used home is new or of an earlier
// version. Removing the database must not let anyone decide by a new
// configuration.
func (d *daemon) inheritApprovers(ctx context.Context) error {
	_, known, err := d.store.ApproverRule()
	if err != nil || known {
		return err // fail closed: the rule in force is not known
	}
	if !d.hadConfig() && !(d.first && d.wasUsed()) {
		return nil // a new home, or one that never had a configuration
	}
	rule := store.ApproverRule{Unsigned: unsignedDefault}
	if before := d.policyBefore(); before != nil {
		rule.Unsigned = before.Config().Approvers.Unsigned
	}
	if d.first && policy.WidensApprovers(unsignedDefault, rule.Unsigned) {
		rule.Unsigned = unsignedDefault // fail closed: only the copy says so
	}
	return d.store.SetApproverRule(ctx, rule)
}

// unsignedDefault is approvers.unsigned if no configuration sets it.
const unsignedDefault = "terminal"

// wasUsed reports whether a home contains files left by a guard, other than
// its database.
func (d *daemon) wasUsed() bool {
	for _, path := range []string{d.lastPolicy().Config, d.cfg.Paths.Pin()} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return true // fail closed: treat an unreadable file as present
		}
	}
	return false
}

// adoptApprovers applies the configured rule about who may decide. Narrowing
// takes effect at once. Widening waits for a human decision under the rule in
// force. The first configuration of a home is taken as it is.
func (d *daemon) adoptApprovers(ctx context.Context, set *policy.Set, configured bool) error {
	want := store.ApproverRule{Unsigned: set.Config().Approvers.Unsigned}
	rule, known, err := d.store.ApproverRule()
	switch {
	case err != nil:
		return err // fail closed: the rule in force is not known
	case !configured && known: // a configuration that is missing or does not load changes nothing
		d.rule.Store(&rule)
		return nil
	case !configured:
		d.rule.Store(&want) // the default, until there is a configuration
		return nil
	case !known || !policy.WidensApprovers(rule.Unsigned, want.Unsigned):
		if !known || rule != want {
			if err := d.store.SetApproverRule(ctx, want); err != nil {
				return err
			}
		}
		d.rule.Store(&want)
		return d.approversSettled(ctx, "the configuration does not ask for it any more")
	}
	d.rule.Store(&rule)
	if rule.Refused == want.Unsigned {
		return nil
	}
	d.log.Warn("the configuration lets more decide; it waits for a decision", "in_force", rule.Unsigned, "configured", want.Unsigned)
	return d.store.RaiseAlert(ctx, store.Alert{
		Kind: store.AlertApproversWait, Key: rule.Unsigned + " " + want.Unsigned,
		Text:   fmt.Sprintf("the configuration lets more decide than before (%s), and waits for your decision", approversChange(rule.Unsigned, want.Unsigned)),
		Detail: fmt.Sprintf("%s stays in force until you decide: approve approvers allow, or approve approvers deny\nif you did not change it, an agent may have", rule.Unsigned),
	})
}

func approversChange(from, to string) string {
	return fmt.Sprintf("approvers.unsigned: %s → %s", from, to)
}

// approversWait returns the setting that waits for a decision, "" if none, and
// whether it was already refused.
func (d *daemon) approversWait() (want string, refused bool) {
	want = d.policy.Load().Config().Approvers.Unsigned
	if d.rule.Load() == nil || !policy.WidensApprovers(d.unsignedOf(), want) {
		return "", false
	}
	return want, d.rule.Load().Refused == want
}

// decideApprovers accepts or refuses a wider rule about who may decide.
func (d *daemon) decideApprovers(ctx context.Context, w client.ApproversDecision, by guard.Approver) error {
	d.reloads.Lock()
	defer d.reloads.Unlock()
	now := d.unsignedOf()
	want, _ := d.approversWait()
	if want == "" || want != w.Unsigned {
		return &client.Problem{
			Status: http.StatusConflict, Code: client.CodeDecided, Title: "Nothing waits",
			Detail: fmt.Sprintf("no configuration waits that sets approvers.unsigned to %q", w.Unsigned), Remedy: "`approve approvers` shows what waits",
		}
	}
	allow := w.Decision == client.Allow
	rule, word := store.ApproverRule{Unsigned: now, Refused: want}, "refused"
	if allow {
		rule, word = store.ApproverRule{Unsigned: want}, "allowed"
	}
	e := audit.ByApprover(audit.PolicyRead(d.policy.Load().Hash(), d.cfg.Paths.ConfigFile(), approversChange(now, want)+", "+word+": "+w.Reason, d.now()), by)
	if err := d.store.SetApproverRule(ctx, rule, e); err != nil {
		return err
	}
	d.rule.Store(&rule)
	d.log.Warn("who may decide", "change", approversChange(now, want), "decision", word, "user", by.User, "pid", by.PID)
	return d.approversSettled(ctx, "it was "+word)
}

// approversSettled resolves the alerts about a wider rule.
func (d *daemon) approversSettled(ctx context.Context, why string) error {
	list, err := d.store.Alerts(false)
	if err != nil {
		return err
	}
	for _, a := range list {
		if a.Kind != store.AlertApproversWait || a.Status == store.AlertResolved {
			continue
		}
		if _, err := d.store.ResolveAlert(ctx, a.ID, why); err != nil {
			return err
		}
	}
	return nil
}
