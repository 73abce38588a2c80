package audit

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/diff"
)

// timestampFormat is RFC 3339 in UTC with milliseconds.
const timestampFormat = "2006-01-02T15:04:05.000Z"

// Encode normalises e and returns its canonical JSON (RFC 8785). Two events
// with one encoding are the same event. The writer is made by hand because it
// runs several times for each tool call; a test holds it to the general
// canonical form.
func (e Event) Encode() ([]byte, error) {
	e = e.Normalize()
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("encoding audit event: %w", err)
	}
	w := writer{make([]byte, 0, 2048)}
	w.open("actor")
	w.str("{", "user_id", e.Actor.UserID)
	w.str(",", "workspace_id", e.Actor.WorkspaceID)
	w.raw("}")
	w.digest(",", "args_sha256", e.ArgsSHA256)
	w.str(",", "call_id", string(e.CallID))
	w.str(",", "correlation_id", e.CorrelationID)
	w.digest(",", "diff_sha256", e.DiffSHA256)
	w.num(",", "duration_ms", e.DurationMS)
	w.str(",", "environment", e.Environment)
	w.str(",", "event", string(e.Event))
	w.str(",", "event_id", string(e.EventID))
	w.str(`,"gates":{`, "approval_id", string(e.Gates.ApprovalID))
	w.raw(`,"requires_approval":` + strconv.FormatBool(e.Gates.RequiresApproval) + `}`)
	w.payload("input", e.Input)
	w.str(`,"origin":{`, "client", e.Origin.Client)
	w.str(",", "executable", e.Origin.Executable)
	w.str(",", "folder", e.Origin.Folder)
	w.num(",", "pid", int64(e.Origin.PID))
	w.str(",", "version", e.Origin.Version)
	w.raw("}")
	w.payload("output", e.Output)
	w.digest(",", "prompt_sha256", e.PromptSHA256)
	w.str(",", "reason", e.Reason)
	w.raw(`,"receipts":[`)
	for i, r := range e.Receipts {
		if i > 0 {
			w.raw(",")
		}
		w.str("{", "id", r.ID)
		w.str(",", "kind", r.Kind)
		w.raw("}")
	}
	w.raw("]")
	w.str(",", "risk", e.Risk)
	w.str(",", "rule", string(e.Rule))
	w.str(",", "run_id", string(e.RunID))
	w.str(",", "session_id", string(e.SessionID))
	w.str(",", "status", string(e.Status))
	w.str(",", "tenant_id", e.TenantID)
	w.name(",", "timestamp")
	w.b = append(e.Timestamp.AppendFormat(append(w.b, '"'), timestampFormat), '"')
	w.digest(`,"tool":{`, "definition_sha256", e.Tool.DefinitionSHA256)
	w.str(",", "name", e.Tool.Name)
	w.str(",", "server", e.Tool.Server)
	w.str(",", "version", e.Tool.Version)
	w.raw("}")
	w.str(",", "verdict", e.Verdict)
	w.str(",", "workflow", e.Workflow)
	w.raw("}")
	return w.b, nil
}

// MarshalJSON returns the canonical form, so that an export shows what was
// recorded and not a second spelling of it.
func (e Event) MarshalJSON() ([]byte, error) { return e.Encode() }

// writer appends canonical JSON. Names are plain ASCII; values are valid UTF-8.
type writer struct{ b []byte }

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

func (w *writer) open(name string) { w.raw(`{"` + name + `":`) }

func (w *writer) name(before, name string) {
	w.b = append(w.b, before...)
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

func (w *writer) str(before, name, value string) {
	w.name(before, name)
	w.b = appendString(w.b, value)
}

func (w *writer) num(before, name string, n int64) {
	w.name(before, name)
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *writer) digest(before, name string, d diff.Digest) {
	w.name(before, name)
	if d.IsZero() {
		w.raw("null")
		return
	}
	w.raw(`"sha256:`) // as diff.Digest spells itself
	w.b = hex.AppendEncode(w.b, d[:])
	w.raw(`"`)
}

func (w *writer) payload(name string, p Payload) {
	w.raw(`,"` + name + `":`)
	w.str("{", "redacted", p.Redacted)
	w.digest(",", "sha256", p.SHA256)
	w.raw("}")
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string as RFC 8785, section 3.2.2.2 has it: only
// the quotation mark, the backslash and the control characters are escaped.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf || c >= utf8.RuneSelf {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\f':
			b = append(b, `\f`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
