package localapi

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// approvalOf converts an approval to its form in a list.
func approvalOf(a guard.Approval, now guard.Now) client.Approval {
	out := client.Approval{
		ID: string(a.ID), ApprovalID: string(a.ID), Status: string(a.Status),
		Tier: a.Tier.String(), Bucket: a.Tier.Bucket(), Risk: a.Tier.Risk(a.Sensitive),
		Server: a.Server, Tool: a.Tool, Tenant: a.Tenant, TenantID: a.Tenant,
		Environment: a.Environment, Workflow: a.Workflow,
		RunID: string(a.RunID), SessionID: string(a.SessionID), CallID: string(a.CallID), CorrelationID: a.CorrelationID,
		Summary: a.Preview.Summary, Target: a.Target(),
		SideEffects: []string{}, Hazards: []client.Hazard{},
		Added: a.Preview.Change.Added, Removed: a.Preview.Change.Removed,
		RequestedBy: requester(a.RequestedBy), RequestedAt: a.RequestedAt.UTC(),
		ExpiresAt: a.Expires.Wall.UTC(), SecondsLeft: secondsLeft(a, now), Held: a.HeldBy != "" && a.Status.Open(),
		Digest: digestText(a.Digest), Rule: string(a.Rule), Round: a.Round,
		Post: a.Post, Undoes: string(a.Undoes), Replaces: string(a.Replaces), ReplacedBy: string(a.ReplacedBy), Why: a.Why,
		UpdatedAt: a.UpdatedAt.UTC(), EndedAt: utc(a.EndedAt), Version: a.Version,
	}
	if a.Undoes != "" {
		out.RequestedBy.Actor = "developer"
	}
	out.UseBy = utc(a.UseBy.Wall)
	out.Context = client.Context{ClientSession: a.Context.ClientSession, Worktree: a.Context.Worktree, Branch: a.Context.Branch}
	if !a.Context.Prompt.IsZero() {
		out.Context.PromptSHA256 = a.Context.Prompt.String()
	}
	for _, s := range a.Preview.SideEffects {
		out.SideEffects = append(out.SideEffects, s.Text)
	}
	for _, h := range a.Preview.Hazards {
		out.Hazards = append(out.Hazards, client.Hazard{Kind: h.Kind, Text: h.Text})
	}
	return out
}

// secondsLeft returns the time left until the deadline in force, by the clock
// on which less is left.
func secondsLeft(a guard.Approval, now guard.Now) int {
	switch a.Status {
	case guard.Pending:
		return max(0, int(a.Expires.Left(now)/time.Second))
	case guard.Approved:
		return max(0, int(a.UseBy.Left(now)/time.Second))
	}
	return 0
}

// detailOf converts an approval to its full form.
func detailOf(a guard.Approval, now guard.Now) client.Detail {
	change := a.Preview.Change
	d := client.NewDiff(string(change.Type), change.Text)
	d.Patch, d.Preview = rawJSON(change.Patch), rawJSON(change.Preview)
	d.Added, d.Removed, d.Facts = change.Added, change.Removed, change.Facts
	// Arguments are at least "{}"; if there are none, the content was pruned.
	d.Pruned = len(a.Args) == 0
	out := client.Detail{
		Approval: approvalOf(a, now), Arguments: rawJSON(a.Args), Diff: d, Output: a.Preview.Output, Attempt: a.Preview.Attempt,
		Effects: []client.Effect{}, Decisions: []client.Decision{},
		Claim: a.Claim, ServerVersion: a.ServerVersion, Definition: digestText(a.Definition), PolicyHash: a.PolicyHash, Sensitive: a.Sensitive,
	}
	if out.Arguments == nil {
		out.Arguments = json.RawMessage("null")
	}
	for _, e := range a.Preview.Effects {
		out.Effects = append(out.Effects, effectOf(e))
	}
	for _, s := range a.Signoffs {
		out.Decisions = append(out.Decisions, decisionOf(s))
	}
	if r := a.Receipt; r != nil {
		out.Receipt = &client.Receipt{
			Outcome: string(r.Outcome), ReadBack: string(r.ReadBack), Detail: r.Detail, Reconciled: r.Reconciled,
			StartedAt: r.StartedAt.UTC(), EndedAt: r.EndedAt.UTC(),
		}
		out.Receipt.Difference = rawJSON(r.Difference)
		for _, t := range r.Touched {
			out.Receipt.Touched = append(out.Receipt.Touched, client.Touched{Kind: t.Kind, ID: t.ID})
		}
		for _, s := range r.After {
			out.Receipt.After = append(out.Receipt.After, stateOf(s))
		}
	}
	return out
}

func effectOf(e guard.Effect) client.Effect {
	out := client.Effect{
		Kind: e.Kind, Path: e.Resource.Path, Key: e.Resource.Key, Root: e.Resource.Root,
		Before: stateOf(e.Before), After: stateOf(e.After),
	}
	if e.Dest != nil {
		out.Dest = e.Dest.Key
	}
	return out
}

func stateOf(s guard.State) client.State {
	out := client.State{Exists: s.Exists, Kind: s.Kind, SHA256: digestText(s.SHA256), Size: s.Size, Computed: s.Computed}
	if s.Mode != 0 {
		out.Mode = fmt.Sprintf("%04o", s.Mode)
	}
	return out
}

func decisionOf(s guard.Signoff) client.Decision {
	word := client.Deny
	if s.Approve {
		word = client.Allow
	}
	return client.Decision{
		Decision: word, Reason: s.Reason, Digest: digestText(s.Digest),
		User: s.By.User, Name: s.By.Name, PID: s.By.PID, Executable: s.By.Executable, Terminal: s.By.Terminal, Key: s.By.Key,
		At: s.At.UTC(),
	}
}

func requester(o guard.Origin) client.Requester {
	return client.Requester{
		Actor: "agent", User: o.User, Client: o.Client, Version: o.Version,
		PID: o.PID, Executable: o.Executable, Folder: o.Folder,
	}
}

// SessionOf converts a session. Fields that only the daemon knows are left
// empty.
func SessionOf(s guard.Session) client.Session {
	return client.Session{
		ID: string(s.ID), RunID: string(s.RunID), Tenant: s.Tenant, Environment: s.Environment, Workflow: s.Workflow,
		Profile: s.Profile, Server: s.Server, Origin: requester(s.Origin), OpenedAt: s.OpenedAt.UTC(), ClosedAt: utc(s.ClosedAt),
	}
}

func switchesOf(list []guard.Switch) []client.Switch {
	out := make([]client.Switch, 0, len(list))
	for _, s := range list {
		out = append(out, client.Switch{Scope: s.Scope, Reason: s.Reason, By: who(s.By), At: s.At.UTC(), Now: s.Now})
	}
	return out
}

func alertOf(a store.Alert) client.Alert {
	return client.Alert{
		ID: string(a.ID), Kind: a.Kind, Text: a.Text, Detail: a.Detail, Subject: string(a.Subject), Count: a.Count,
		Status: string(a.Status), At: a.At.UTC(), By: who(a.By), EndedAt: utc(a.EndedAt),
	}
}

// who returns the name of an approver for people to read.
func who(by guard.Approver) string {
	if by.Name != "" {
		return by.Name
	}
	return by.User
}

func digestText(d digest.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

// utc converts a time to UTC but keeps the zero time zero, so that it is
// omitted.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// rawJSON passes a stored value on. An invalid one becomes a string, so that
// it cannot damage the answer around it.
func rawJSON(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	if json.Valid(b) {
		return b
	}
	quoted, err := json.Marshal(string(b))
	if err != nil {
		return nil
	}
	return quoted
}
