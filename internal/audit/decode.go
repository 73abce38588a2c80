package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Decode reads what Encode wrote and nothing else: unknown, missing or doubled
// members, other orders, blanks and other spellings of the same value are
// errors. A record that decodes is the only encoding of its event. It follows
// Encode step by step, since a log is verified by reading all of it.
func Decode(data []byte) (Event, error) {
	var e Event
	r := scanner{rest: string(data)}
	r.want(`{"actor":`)
	e.Actor.UserID = r.str("{", "user_id")
	e.Actor.WorkspaceID = r.str(",", "workspace_id")
	r.want("}")
	e.ArgsSHA256 = r.digest(",", "args_sha256")
	e.CallID = guard.CallID(r.str(",", "call_id"))
	e.CorrelationID = r.str(",", "correlation_id")
	e.DiffSHA256 = r.digest(",", "diff_sha256")
	e.DurationMS = r.num(",", "duration_ms")
	e.Environment = r.str(",", "environment")
	e.Event = Type(r.str(",", "event"))
	e.EventID = guard.EventID(r.str(",", "event_id"))
	e.Gates.ApprovalID = guard.ApprovalID(r.str(`,"gates":{`, "approval_id"))
	e.Gates.RequiresApproval = r.bool(",", "requires_approval")
	r.want("}")
	e.Input = r.payload("input")
	e.Origin.Client = r.str(`,"origin":{`, "client")
	e.Origin.Executable = r.str(",", "executable")
	e.Origin.Folder = r.str(",", "folder")
	e.Origin.PID = int(r.num(",", "pid"))
	e.Origin.Version = r.str(",", "version")
	r.want("}")
	e.Output = r.payload("output")
	e.PromptSHA256 = r.digest(",", "prompt_sha256")
	e.Reason = r.str(",", "reason")
	e.Receipts = r.receipts()
	e.Risk = r.str(",", "risk")
	e.Rule = guard.Rule(r.str(",", "rule"))
	e.RunID = guard.RunID(r.str(",", "run_id"))
	e.SessionID = guard.SessionID(r.str(",", "session_id"))
	e.Status = Status(r.str(",", "status"))
	e.TenantID = r.str(",", "tenant_id")
	stamp := r.str(",", "timestamp")
	e.Tool.DefinitionSHA256 = r.digest(`,"tool":{`, "definition_sha256")
	e.Tool.Name = r.str(",", "name")
	e.Tool.Server = r.str(",", "server")
	e.Tool.Version = r.str(",", "version")
	r.want("}")
	e.Verdict = r.str(",", "verdict")
	e.Workflow = r.str(",", "workflow")
	r.want("}")
	if r.err == nil && r.rest != "" {
		r.fail("something follows the event")
	}
	var err error
	if e.Timestamp, err = time.Parse(timestampFormat, stamp); err != nil {
		r.fail("the timestamp has another format")
	}
	if r.err != nil {
		return Event{}, fmt.Errorf("decoding audit event: %w", r.err)
	}
	// What is left, such as bounds and escapes, Encode knows.
	again, err := e.Encode()
	if err != nil {
		return Event{}, fmt.Errorf("decoding audit event: %w", err)
	}
	if !bytes.Equal(again, data) {
		return Event{}, errors.New("decoding audit event: it is not in canonical form")
	}
	return e, nil
}

// scanner consumes canonical JSON from the front. After its first error it
// returns zero values.
type scanner struct {
	rest string
	err  error
}

func (r *scanner) fail(why string) {
	if r.err == nil {
		r.err = errors.New(why)
	}
	r.rest = ""
}

func (r *scanner) want(literal string) {
	rest, ok := strings.CutPrefix(r.rest, literal)
	if !ok {
		r.fail("it does not have " + strconv.Quote(literal) + " where it should")
		return
	}
	r.rest = rest
}

func (r *scanner) name(before, name string) {
	r.want(before)
	r.want(`"`)
	r.want(name)
	r.want(`":`)
}

func (r *scanner) str(before, name string) string {
	r.name(before, name)
	return r.value()
}

// value reads a string. Strings without escapes are the rule.
func (r *scanner) value() string {
	r.want(`"`)
	if r.err != nil {
		return ""
	}
	for i := 0; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == '"':
			s := r.rest[:i]
			r.rest = r.rest[i+1:]
			if !utf8.ValidString(s) {
				r.fail("a string is not valid UTF-8")
			}
			return s
		case c < 0x20:
			r.fail("a string has a control character")
			return ""
		case c == '\\':
			return r.escaped(i)
		}
	}
	r.fail("a string does not end")
	return ""
}

// escaped reads the rest of a string whose first escape is at i.
func (r *scanner) escaped(i int) string {
	for ; i < len(r.rest) && r.rest[i] != '"'; i++ {
		if r.rest[i] == '\\' {
			i++
		}
	}
	if i >= len(r.rest) {
		r.fail("a string does not end")
		return ""
	}
	var s string
	if err := json.Unmarshal([]byte(`"`+r.rest[:i+1]), &s); err != nil {
		r.fail("a string is malformed")
		return ""
	}
	r.rest = r.rest[i+1:]
	return s
}

func (r *scanner) num(before, name string) int64 {
	r.name(before, name)
	i := 0
	for i < len(r.rest) && (r.rest[i] == '-' || r.rest[i] >= '0' && r.rest[i] <= '9') {
		i++
	}
	n, err := strconv.ParseInt(r.rest[:i], 10, 64)
	if err != nil {
		r.fail("a number is malformed")
		return 0
	}
	r.rest = r.rest[i:]
	return n
}

func (r *scanner) bool(before, name string) bool {
	r.name(before, name)
	if rest, ok := strings.CutPrefix(r.rest, "true"); ok {
		r.rest = rest
		return true
	}
	r.want("false")
	return false
}

func (r *scanner) digest(before, name string) diff.Digest {
	r.name(before, name)
	if rest, ok := strings.CutPrefix(r.rest, "null"); ok {
		r.rest = rest
		return diff.Digest{}
	}
	d, err := diff.ParseDigest(r.value())
	if err != nil {
		r.fail("a digest is malformed")
	}
	return d
}

func (r *scanner) payload(name string) (p Payload) {
	r.want(`,"` + name + `":`)
	p.Redacted = r.str("{", "redacted")
	p.SHA256 = r.digest(",", "sha256")
	r.want("}")
	return p
}

func (r *scanner) receipts() (list []Receipt) {
	r.want(`,"receipts":[`)
	for r.err == nil && !strings.HasPrefix(r.rest, "]") {
		if len(list) > 0 {
			r.want(",")
		}
		id := r.str("{", "id")
		list = append(list, Receipt{ID: id, Kind: r.str(",", "kind")})
		r.want("}")
	}
	r.want("]")
	return list
}
