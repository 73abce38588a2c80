package proxy

import (
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// maxPreview is the size limit, in bytes, of the redacted preview of an input
// or output.
const maxPreview = 2 << 10

// event returns a new record of this session.
func (s *session) event(t audit.Type) audit.Event {
	who := s.requester()
	ses := s.cfg.Session
	return audit.Event{
		Event: t, EventID: guard.NewEventID(), Timestamp: s.cfg.Clock.Now().Wall,
		RunID: ses.RunID, SessionID: ses.ID, TenantID: ses.Tenant, Environment: ses.Environment, Workflow: ses.Workflow,
		Actor:    audit.Actor{UserID: who.User, WorkspaceID: ses.Profile},
		Origin:   audit.Origin{Client: who.Client, Version: who.Version, PID: who.PID, Executable: who.Executable, Folder: who.Folder},
		Receipts: []audit.Receipt{},
	}
}

// callEvent returns a new record about a call, with all that is known of the
// call so far.
func (s *session) callEvent(c *call, t audit.Type) audit.Event {
	e := s.event(t)
	if c.own {
		e.Origin = ownOrigin(e.Origin.Folder)
	}
	e.CorrelationID, e.CallID = c.tc.CorrelationID, c.tc.ID
	e.Tool = audit.Tool{Server: c.tc.Session.Server, Name: c.tc.Tool, Version: s.serverVersion(), DefinitionSHA256: c.tc.Definition}
	if c.argsSum.IsZero() && c.tc.ArgsCanonical != nil {
		c.argsSum = digest.Sum(c.tc.ArgsCanonical)
	}
	e.ArgsSHA256 = c.argsSum
	e.Input.SHA256 = c.tc.ArgsRaw
	if t == audit.ToolCallRequested {
		e.Input.Redacted = s.excerpt(c.tc.Args)
	}
	e.Gates = audit.Gates{RequiresApproval: c.asked, ApprovalID: c.approval}
	if c.decision.Rule != "" {
		e.Verdict, e.Rule, e.Reason = c.decision.Verdict.String(), c.decision.Rule, c.decision.Reason
	}
	if c.tier.Valid() {
		e.Risk = c.tier.Risk(c.sensitive)
	}
	e.DiffSHA256, e.PromptSHA256 = c.diff, c.tc.Context.Prompt
	return e
}

// completed returns the last record of a call.
func (s *session) completed(c *call, status audit.Status) audit.Event {
	e := s.callEvent(c, audit.ToolCallCompleted)
	e.Status = status
	e.DurationMS = e.Timestamp.Sub(c.tc.RequestedAt).Milliseconds()
	return e
}

// output returns what the log keeps of an answer. For a sensitive answer that
// is the digest alone, since the redactor may not know every secret in it.
func (c *call) output(sum digest.Digest, text string) audit.Payload {
	if c.sensitive {
		text = ""
	}
	return audit.Payload{SHA256: sum, Redacted: text}
}

// excerpt returns the redacted beginning of a JSON value, for the log. It is
// empty if the value is too long or cannot be searched; the digest must do.
func (s *session) excerpt(value []byte) string {
	const window = 64 << 10
	if len(value) == 0 || len(value) > window {
		return ""
	}
	clean, _, err := s.cfg.Redactor.JSON(value)
	if err != nil {
		return ""
	}
	return beginning(clean)
}

// beginning returns what the log keeps of a value without secrets.
func beginning(clean []byte) string {
	if len(clean) > maxPreview {
		return strings.ToValidUTF8(string(clean[:maxPreview]), "") + "…"
	}
	return string(clean)
}

func (s *session) now() time.Time { return s.cfg.Clock.Now().Wall }
