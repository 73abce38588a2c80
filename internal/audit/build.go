package audit

import (
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// New returns an event with a fresh id. The store fills in id and timestamp
// where a caller left them out.
func New(t Type, at time.Time) Event {
	return Event{Event: t, EventID: guard.NewEventID(), Timestamp: at}
}

// ForSession returns an event about a session.
func ForSession(t Type, s guard.Session, at time.Time) Event {
	e := New(t, at)
	e.CorrelationID = string(s.ID)
	e.RunID, e.SessionID = s.RunID, s.ID
	e.TenantID, e.Environment, e.Workflow = s.Tenant, s.Environment, s.Workflow
	e.Actor = Actor{UserID: s.Origin.User, WorkspaceID: s.Profile}
	e.Origin = originOf(s.Origin)
	e.Tool.Server = s.Server
	return e
}

func originOf(o guard.Origin) Origin {
	return Origin{Client: o.Client, Version: o.Version, PID: o.PID, Executable: o.Executable, Folder: o.Folder}
}

// ForCall returns an event about a tool call of any type; what it does not
// know (decision, payloads, status) the caller adds.
func ForCall(t Type, c guard.ToolCall, at time.Time) Event {
	e := ForSession(t, c.Session, at)
	e.CorrelationID = c.CorrelationID
	if e.CorrelationID == "" {
		e.CorrelationID = string(c.ID)
	}
	e.CallID = c.ID
	e.Tool = Tool{Server: c.Session.Server, Name: c.Tool, DefinitionSHA256: c.Definition}
	if len(c.ArgsCanonical) > 0 {
		e.ArgsSHA256 = digest.Sum(c.ArgsCanonical)
	}
	e.Input.SHA256 = c.ArgsRaw
	return e
}

// Requested returns the event that a call came in.
func Requested(c guard.ToolCall, at time.Time) Event { return ForCall(ToolCallRequested, c, at) }

// Completed returns the event that a call ended. Its duration counts from
// c.RequestedAt.
func Completed(c guard.ToolCall, s Status, at time.Time) Event {
	e := ForCall(ToolCallCompleted, c, at)
	e.Status = s
	if !c.RequestedAt.IsZero() {
		e.DurationMS = max(0, at.Sub(c.RequestedAt).Milliseconds())
	}
	return e
}

// ForApproval returns an event about an approval. Actor and origin are those of
// the client that asked. profile names the workspace where it is known.
func ForApproval(t Type, a guard.Approval, profile string, at time.Time) Event {
	e := New(t, at)
	e.CorrelationID, e.CallID = a.CorrelationID, a.CallID
	if e.CorrelationID == "" {
		e.CorrelationID = string(a.CallID)
	}
	e.RunID, e.SessionID = a.RunID, a.SessionID
	e.TenantID, e.Environment, e.Workflow = a.Tenant, a.Environment, a.Workflow
	if profile == "" {
		profile = a.RequestedBy.Folder
	}
	e.Actor = Actor{UserID: a.RequestedBy.User, WorkspaceID: profile}
	e.Origin = originOf(a.RequestedBy)
	e.Tool = Tool{Server: a.Server, Name: a.Tool, Version: a.ServerVersion, DefinitionSHA256: a.Definition}
	if len(a.Args) > 0 {
		e.ArgsSHA256 = digest.Sum(a.Args)
	}
	e.Input.SHA256 = a.ArgsRaw
	if a.Preview.Change.Text != "" {
		e.DiffSHA256 = digest.Sum([]byte(a.Preview.Change.Text))
	}
	e.Gates = Gates{RequiresApproval: true, ApprovalID: a.ID}
	e.Rule, e.Risk = a.Rule, a.Tier.Risk(a.Sensitive)
	e.Status = Status(a.Status)
	e.Receipts = Touched(a.Preview.Effects)
	return e
}

// Touched names what effects change, as people and rules name it: a file by its
// path in the workspace. It is never nil.
func Touched(effects []guard.Effect) []Receipt {
	out := []Receipt{}
	add := func(t guard.Target) {
		if t.Kind != "" && t.Path != "" {
			out = append(out, Receipt{Kind: t.Kind, ID: t.Path})
		}
	}
	for _, e := range effects {
		add(e.Resource)
		if e.Dest != nil {
			add(*e.Dest)
		}
	}
	return out
}

// ByApprover makes p the actor of e and the process that p used its origin.
func ByApprover(e Event, p guard.Approver) Event {
	e.Actor.UserID = p.User
	e.Origin = Origin{Client: p.Name, PID: p.PID, Executable: p.Executable, Folder: p.Terminal}
	if p.Key != "" {
		e.Origin.Version = p.Key
	}
	return e
}

// PolicyRead returns the event that a configuration came into force: its hash
// and what it changed, as a diff. summary is redacted by the caller.
func PolicyRead(hash, file, summary string, at time.Time) Event {
	e := New(PolicyLoaded, at)
	e.CorrelationID = string(e.EventID)
	e.Rule, e.Reason = guard.Rule(hash), summary
	if file != "" {
		e.Receipts = []Receipt{{Kind: "file", ID: file}}
	}
	if summary != "" {
		e.DiffSHA256 = digest.Sum([]byte(summary))
	}
	return e
}

// Daemon returns daemon_started or daemon_stopped.
func Daemon(t Type, version string, pid int, reason string, at time.Time) Event {
	e := New(t, at)
	e.CorrelationID = string(e.EventID)
	e.Origin = Origin{Client: "mcpguardd", Version: version, PID: pid}
	e.Reason = reason
	return e
}

// Own is the client of the guard's own calls, as Origin names it. No client may
// call itself so.
const Own = "mcpguard"

// Switched returns the event that calls of a scope were stopped, or may go on.
func Switched(s guard.Switch, on bool, at time.Time) Event {
	e := ByApprover(New(SwitchChanged, at), s.By)
	e.CorrelationID = string(e.EventID)
	e.Tool.Server, e.Tool.Name = splitScope(s.Scope)
	e.Rule, e.Reason, e.Verdict, e.Status = guard.RuleSwitch, s.Reason, guard.Deny.String(), "on"
	if !on {
		e.Verdict, e.Status = guard.Allow.String(), "off"
	}
	return e
}

func splitScope(scope string) (server, tool string) {
	for i := range len(scope) {
		if scope[i] == '/' {
			return scope[:i], scope[i+1:]
		}
	}
	return scope, ""
}
