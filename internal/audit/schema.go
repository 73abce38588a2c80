package audit

import (
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Version is the version of the records that this program writes. Those of
// every earlier one are read for ever: a new member is one row below, with the
// version that brought it, and no row is ever changed or taken away. Records of
// version 1 do not carry their version.
const Version = 2

// member is one member of a JSON object: its name, the version of the records
// that it came with, and where its value stands in an event.
type member struct {
	name  string
	since int
	value value
}

// value writes and reads the value of one member.
type value struct {
	write func(w *writer, e *Event)
	read  func(r *scanner, e *Event)
}

// members are those of a record, in the order of their names, as RFC 8785 has
// it. Decode finds them by name.
var members = [...]member{
	{"actor", 1, object(
		member{"user_id", 1, text(func(e *Event) *string { return &e.Actor.UserID })},
		member{"workspace_id", 1, text(func(e *Event) *string { return &e.Actor.WorkspaceID })},
	)},
	{"args_sha256", 1, sha256Of(func(e *Event) *digest.Digest { return &e.ArgsSHA256 })},
	{"call_id", 1, text(func(e *Event) *guard.CallID { return &e.CallID })},
	{"correlation_id", 1, text(func(e *Event) *string { return &e.CorrelationID })},
	{"diff_sha256", 1, sha256Of(func(e *Event) *digest.Digest { return &e.DiffSHA256 })},
	{"duration_ms", 1, integer(func(e *Event) *int64 { return &e.DurationMS })},
	{"environment", 1, text(func(e *Event) *string { return &e.Environment })},
	{"event", 1, text(func(e *Event) *Type { return &e.Event })},
	{"event_id", 1, text(func(e *Event) *guard.EventID { return &e.EventID })},
	{"gates", 1, object(
		member{"approval_id", 1, text(func(e *Event) *guard.ApprovalID { return &e.Gates.ApprovalID })},
		member{"requires_approval", 1, boolean(func(e *Event) *bool { return &e.Gates.RequiresApproval })},
	)},
	{"input", 1, object(
		member{"redacted", 1, text(func(e *Event) *string { return &e.Input.Redacted })},
		member{"sha256", 1, sha256Of(func(e *Event) *digest.Digest { return &e.Input.SHA256 })},
	)},
	{"origin", 1, object(
		member{"client", 1, text(func(e *Event) *string { return &e.Origin.Client })},
		member{"executable", 1, text(func(e *Event) *string { return &e.Origin.Executable })},
		member{"folder", 1, text(func(e *Event) *string { return &e.Origin.Folder })},
		member{"pid", 1, integer(func(e *Event) *int { return &e.Origin.PID })},
		member{"version", 1, text(func(e *Event) *string { return &e.Origin.Version })},
	)},
	{"output", 1, object(
		member{"redacted", 1, text(func(e *Event) *string { return &e.Output.Redacted })},
		member{"sha256", 1, sha256Of(func(e *Event) *digest.Digest { return &e.Output.SHA256 })},
	)},
	{"prompt_sha256", 1, sha256Of(func(e *Event) *digest.Digest { return &e.PromptSHA256 })},
	{"reason", 1, text(func(e *Event) *string { return &e.Reason })},
	{"receipts", 1, value{(*writer).receipts, (*scanner).receipts}},
	{"risk", 1, text(func(e *Event) *string { return &e.Risk })},
	{"rule", 1, text(func(e *Event) *guard.Rule { return &e.Rule })},
	{"run_id", 1, text(func(e *Event) *guard.RunID { return &e.RunID })},
	{"session_id", 1, text(func(e *Event) *guard.SessionID { return &e.SessionID })},
	{"status", 1, text(func(e *Event) *Status { return &e.Status })},
	{"tenant_id", 1, text(func(e *Event) *string { return &e.TenantID })},
	{"timestamp", 1, value{(*writer).timestamp, (*scanner).timestamp}},
	{"tool", 1, object(
		member{"definition_sha256", 1, sha256Of(func(e *Event) *digest.Digest { return &e.Tool.DefinitionSHA256 })},
		member{"name", 1, text(func(e *Event) *string { return &e.Tool.Name })},
		member{"server", 1, text(func(e *Event) *string { return &e.Tool.Server })},
		member{"version", 1, text(func(e *Event) *string { return &e.Tool.Version })},
	)},
	{"verdict", 1, text(func(e *Event) *string { return &e.Verdict })},
	{"version", 2, integer(func(e *Event) *int { return &e.Version })},
	{"workflow", 1, text(func(e *Event) *string { return &e.Workflow })},
}

func object(list ...member) value {
	return value{
		write: func(w *writer, e *Event) { w.object(list, e) },
		read:  func(r *scanner, e *Event) { r.object(list, e) },
	}
}

func text[T ~string](at func(*Event) *T) value {
	return value{
		write: func(w *writer, e *Event) { w.str(string(*at(e))) },
		read:  func(r *scanner, e *Event) { *at(e) = T(r.str()) },
	}
}

func integer[T int | int64](at func(*Event) *T) value {
	return value{
		write: func(w *writer, e *Event) { w.num(int64(*at(e))) },
		read:  func(r *scanner, e *Event) { *at(e) = T(r.num()) },
	}
}

func boolean(at func(*Event) *bool) value {
	return value{
		write: func(w *writer, e *Event) { w.boolean(*at(e)) },
		read:  func(r *scanner, e *Event) { *at(e) = r.boolean() },
	}
}

func sha256Of(at func(*Event) *digest.Digest) value {
	return value{
		write: func(w *writer, e *Event) { w.digest(*at(e)) },
		read:  func(r *scanner, e *Event) { *at(e) = r.digest() },
	}
}
