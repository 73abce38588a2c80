package audit

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.FixedZone("x", 3600))

func full() Event {
	return Event{
		Event: ToolCallCompleted, EventID: "evt_1", Timestamp: noon, CorrelationID: "toolu_1", CallID: "call_1", RunID: "run_1", SessionID: "sess_1",
		TenantID: "acme", Environment: "dev", Workflow: "audit", Actor: Actor{UserID: "1000", WorkspaceID: "w"},
		Origin: Origin{Client: "claude-code", Version: "2.0", PID: 42, Executable: "/usr/bin/node", Folder: "/home/me"},
		Tool:   Tool{Server: "files", Name: "write_file", Version: "1.0", DefinitionSHA256: digest.Sum([]byte("d"))}, ArgsSHA256: digest.Sum([]byte("a")),
		Input: Payload{SHA256: digest.Sum([]byte("i")), Redacted: "{\"path\":\"a\"}"}, Output: Payload{SHA256: digest.Sum([]byte("o")), Redacted: "ok \u2028 <&> \U0001F600 \x00\x1f\x7f"},
		Gates: Gates{RequiresApproval: true, ApprovalID: "appr_1"}, Verdict: "allow", Rule: "reviewer", Risk: "high", Reason: "line\nline\t\"quoted\" \\",
		DiffSHA256: digest.Sum([]byte("x")), Status: StatusOK, DurationMS: 17, Receipts: []Receipt{{Kind: "file", ID: "/a"}, {Kind: "record", ID: "7"}},
		PromptSHA256: digest.Sum([]byte("p")),
	}
}

// TestKeys holds the schema to its keys: all of them are in every event.
func TestKeys(t *testing.T) {
	for _, e := range []Event{full(), New(DaemonStarted, noon)} {
		data, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		keys := func(v json.RawMessage) (out []string) {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(v, &m); err != nil {
				t.Fatal(err)
			}
			for k := range m {
				out = append(out, k)
			}
			slices.Sort(out)
			return out
		}
		for part, want := range map[string]string{
			"": "actor args_sha256 call_id correlation_id diff_sha256 duration_ms environment event event_id gates input origin output " +
				"prompt_sha256 reason receipts risk rule run_id session_id status tenant_id timestamp tool verdict version workflow",
			"actor": "user_id workspace_id", "origin": "client executable folder pid version", "gates": "approval_id requires_approval",
			"tool": "definition_sha256 name server version", "input": "redacted sha256", "output": "redacted sha256",
		} {
			v := json.RawMessage(data)
			if part != "" {
				v = m[part]
			}
			if got := strings.Join(keys(v), " "); got != want {
				t.Errorf("%s %q has the keys %s, want %s", e.Event, part, got, want)
			}
		}
		if e.Event == DaemonStarted && (string(m["prompt_sha256"]) != "null" || string(m["receipts"]) != "[]") {
			t.Errorf("what is not known: %s %s", m["prompt_sha256"], m["receipts"])
		}
		if e.Event == ToolCallCompleted && string(m["timestamp"]) != `"2026-03-01T11:00:00.123Z"` {
			t.Errorf("timestamp %s", m["timestamp"])
		}
	}
}

// TestEncodeIsCanonical compares with the general canonical form.
func TestEncodeIsCanonical(t *testing.T) {
	for _, e := range []Event{full(), New(SessionOpened, noon)} {
		data, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		want, err := jsonvalue.Canonical(data)
		if err != nil || !bytes.Equal(data, want) {
			t.Errorf("%s\nwant\n%s\n%v", data, want, err)
		}
		back, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e.Normalize(), back); d != "" {
			t.Error(d)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Event){
		"type":     func(e *Event) { e.Event = "tool_call" },
		"no type":  func(e *Event) { e.Event = "" },
		"status":   func(e *Event) { e.Status = "fine" },
		"no end":   func(e *Event) { e.Status = "" },
		"id":       func(e *Event) { e.EventID = "" },
		"time":     func(e *Event) { e.Timestamp = time.Time{} },
		"year":     func(e *Event) { e.Timestamp = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) },
		"verdict":  func(e *Event) { e.Verdict = "maybe" },
		"duration": func(e *Event) { e.DurationMS = 1 << 60 },
	} {
		e := full()
		change(&e)
		if data, err := e.Encode(); err == nil {
			t.Errorf("%s: %s", name, data)
		}
	}
}

func TestLongAndHostileText(t *testing.T) {
	e := full()
	e.Reason = strings.Repeat("é", maxText)
	e.Tool.Name = "\xff" + strings.Repeat("n", 5000)
	e.Receipts = make([]Receipt, 5000)
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Reason) > maxText || !strings.HasSuffix(back.Reason, "…[131072 bytes]") || len(back.Tool.Name) > maxName || len(back.Receipts) != maxReceipts {
		t.Errorf("%d bytes of reason ending in %q, %d of name, %d receipts", len(back.Reason), back.Reason[len(back.Reason)-20:], len(back.Tool.Name), len(back.Receipts))
	}
	again, err := back.Encode()
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("the second encoding differs: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	data, err := full().Encode()
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, bad := range map[string]string{
		"empty":       "",
		"null":        "null",
		"blank":       text + " ",
		"inner":       strings.Replace(text, ":", ": ", 1),
		"unknown":     strings.Replace(text, `"call_id"`, `"call_ids"`, 1),
		"extra":       strings.Replace(text, `,"call_id"`, `,"bonus":1,"call_id"`, 1),
		"missing":     strings.Replace(text, `"call_id":"call_1",`, ``, 1),
		"doubled":     strings.Replace(text, `,"call_id":"call_1"`, `,"call_id":"call_1","call_id":"call_1"`, 1),
		"case":        strings.Replace(text, `"call_id"`, `"Call_id"`, 1),
		"escape":      strings.Replace(text, `"call_1"`, `"call\u005f1"`, 1),
		"solidus":     strings.Replace(text, `"/home/me"`, `"\/home\/me"`, 1),
		"number":      strings.Replace(text, `"duration_ms":17`, `"duration_ms":17.0`, 1),
		"zeros":       strings.Replace(text, `"duration_ms":17`, `"duration_ms":017`, 1),
		"exponent":    strings.Replace(text, `"duration_ms":17`, `"duration_ms":1e1`, 1),
		"minus zero":  strings.Replace(text, `"duration_ms":17`, `"duration_ms":-0`, 1),
		"digest":      strings.Replace(text, `sha256:`, `SHA256:`, 1),
		"timestamp":   strings.Replace(text, `11:00:00.123Z`, `12:00:00.123+01:00`, 1),
		"micros":      strings.Replace(text, `00.123Z`, `00.123000Z`, 1),
		"status":      strings.Replace(text, `"status":"ok"`, `"status":"fine"`, 1),
		"UTF-8":       strings.Replace(text, `acme`, "acm\xff", 1),
		"cut":         text[:len(text)-1],
		"order":       strings.Replace(strings.Replace(text, `"call_id":"call_1",`, ``, 1), `"correlation_id":"toolu_1",`, `"correlation_id":"toolu_1","call_id":"call_1",`, 1),
		"inner order": strings.Replace(text, `"user_id":"1000","workspace_id":"w"`, `"workspace_id":"w","user_id":"1000"`, 1),
		"version 0":   strings.Replace(text, `"version":2,`, `"version":0,`, 1),
		"version 1":   strings.Replace(text, `"version":2,`, `"version":1,`, 1),
		"version 3":   strings.Replace(text, `"version":2,`, `"version":3,`, 1),
		"receipts":    strings.Replace(text, `"receipts":[{`, `"receipts":[],"receipts":[{`, 1),
	} {
		if bad == text {
			t.Fatalf("%s changes nothing", name)
		}
		if e, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%s was taken as %+v", name, e)
		}
	}
}

// TestRecordOfALaterVersionSaysSo: such a record is refused, and not called
// damaged.
func TestRecordOfALaterVersionSaysSo(t *testing.T) {
	data, err := full().Encode()
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(string(data), `"version":2,`, `"version":3,`, 1)
	for _, text := range []string{later, strings.Replace(later, `,"call_id"`, `,"bonus":1,"call_id"`, 1)} {
		if _, err := Decode([]byte(text)); !errors.Is(err, ErrLaterVersion) || !strings.Contains(err.Error(), "version 3") {
			t.Errorf("%v", err)
		}
	}
	if _, err := Decode([]byte(strings.Replace(string(data), `,"call_id"`, `,"bonus":1,"call_id"`, 1))); err == nil || errors.Is(err, ErrLaterVersion) {
		t.Errorf("an unknown member of this version: %v", err)
	}
}

// TestMembersAreInOrder holds the tables to the order that the canonical form
// has, and to versions that exist.
func TestMembersAreInOrder(t *testing.T) {
	for i, m := range members {
		if i > 0 && members[i-1].name >= m.name {
			t.Errorf("%s stands before %s", members[i-1].name, m.name)
		}
		if m.since < 1 || m.since > Version {
			t.Errorf("%s came with version %d", m.name, m.since)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range []Event{full(), New(AlertRaised, noon)} {
		data, err := e.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Decode(data)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("decoded %q, encoded %q, %v", data, again, err)
		}
		canonical, err := jsonvalue.Canonical(data)
		if err != nil || !bytes.Equal(canonical, data) {
			t.Fatalf("%q is not canonical: %q, %v", data, canonical, err)
		}
	})
}

// FuzzEncode puts arbitrary text into every field: what is encoded decodes to
// what was normalised.
func FuzzEncode(f *testing.F) {
	f.Add("a", int64(1), []byte("x"))
	f.Add("\xff\u2028\x00\"\\", int64(-1), []byte{})
	f.Fuzz(func(t *testing.T, s string, n int64, b []byte) {
		e := full()
		v := reflect.ValueOf(&e).Elem()
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.String {
				switch v.Type().Field(i).Name {
				case "Event", "Status", "Verdict":
				default:
					f.SetString(s)
				}
			}
		}
		e.Tool.Name, e.Origin.Folder, e.Input.Redacted, e.Actor.UserID, e.Gates.ApprovalID = s, s, s, s, guard.ApprovalID(s)
		e.DurationMS, e.ArgsSHA256 = n, digest.Sum(b)
		e.Receipts = []Receipt{{s, s}}
		e.Timestamp = e.Timestamp.Add(time.Duration(n))
		data, err := e.Encode()
		if err != nil {
			return
		}
		back, err := Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if d := cmp.Diff(e.Normalize(), back); d != "" {
			t.Fatal(d)
		}
		canonical, err := jsonvalue.Canonical(data)
		if err != nil || !bytes.Equal(canonical, data) {
			t.Fatalf("%q is not canonical: %q, %v", data, canonical, err)
		}
	})
}

func TestKeyAndCheckpoint(t *testing.T) {
	k, err := NewKey(rand.Reader, "mcpguard")
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(k.Secret() + "\n")
	if err != nil || again.Verifier() != k.Verifier() || again.Origin() != k.Origin() {
		t.Fatalf("%v %v", again, err)
	}
	if strings.Contains(k.String(), "PRIVATE") || strings.Contains(k.Verifier(), "PRIVATE") {
		t.Error("the secret shows")
	}
	other, err := NewKey(rand.Reader, "mcpguard")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := k.Sign(7, [32]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCheckpoint(signed, k.Verifier())
	if err != nil || c.Size != 7 || c.Root != [32]byte{1, 2, 3} || c.Origin != k.Origin() {
		t.Errorf("%+v %v", c, err)
	}
	text := string(signed)
	for name, bad := range map[string]string{
		"another size": strings.Replace(text, "\n7\n", "\n8\n", 1),
		"another root": strings.Replace(text, "AQID", "AQIE", 1),
		"cut":          text[:len(text)-10],
		"empty":        "",
		"huge":         text + strings.Repeat("x", maxCheckpoint),
	} {
		if _, err := OpenCheckpoint([]byte(bad), k.Verifier()); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := OpenCheckpoint(signed, other.Verifier()); err == nil {
		t.Error("another key's checkpoint was taken")
	}
	if _, err := OpenCheckpoint(signed, "nonsense"); err == nil {
		t.Error("a key that is none was taken")
	}
	for _, bad := range []string{"", "PRIVATE+KEY+x", k.Verifier(), strings.Replace(k.Secret(), "mcpguard", "mcpguarx", 1)} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("the key %q was taken", bad)
		}
	}
	for _, bad := range []string{"", "a", "a\nb\nc\n", "a\n07\n" + strings.Repeat("A", 43) + "=\n", "a\n-1\n" + strings.Repeat("A", 43) + "=\n",
		"a\n1\n" + strings.Repeat("A", 43) + "=\nmore\n", "a\n1\nAAAA\n", "\n1\n" + strings.Repeat("A", 43) + "=\n"} {
		if c, err := parseCheckpoint(bad); err == nil {
			t.Errorf("the checkpoint %q was taken as %+v", bad, c)
		}
	}
}

func TestBuilders(t *testing.T) {
	s := guard.Session{ID: "sess_1", RunID: "run_1", Tenant: "acme", Environment: "dev", Workflow: "w", Profile: "p", Server: "files",
		Origin: guard.Origin{Client: "c", Version: "1", PID: 4, Executable: "/x", Folder: "/f", User: "1000"}}
	c := guard.ToolCall{ID: "call_1", Session: s, Tool: "write_file", ArgsCanonical: []byte("{}"), ArgsRaw: digest.Sum([]byte("{ }")),
		Definition: digest.Sum([]byte("d")), RequestedAt: noon}
	a := guard.Approval{ID: "appr_1", Tenant: "acme", RunID: "run_1", SessionID: "sess_1", CallID: "call_1", Server: "files", Tool: "write_file",
		Tier: guard.T2IrreversibleWrite, Args: []byte("{}"), Status: guard.Pending, RequestedBy: s.Origin, ServerVersion: "1.2",
		Preview: guard.Preview{Change: guard.Change{Text: "diff"}, Effects: []guard.Effect{{Resource: guard.Target{Kind: "file", Key: "/w/a", Path: "a"},
			Dest: &guard.Target{Kind: "file", Key: "/w/b", Path: "b"}}, {Resource: guard.Target{Kind: "opaque", Key: "files"}}}}}
	by := guard.Approver{User: "0", PID: 9, Executable: "/bin/approve", Key: "SHA256:k"}
	list := map[string]Event{
		"requested": Requested(c, noon),
		"completed": Completed(c, StatusOK, noon.Add(1500*time.Millisecond)),
		"session":   ForSession(SessionOpened, s, noon),
		"approval":  ForApproval(ApprovalRequested, a, "", noon),
		"by":        ByApprover(ForApproval(ApprovalDecided, a, "p", noon), by),
		"policy":    PolicyRead("sha256:h", "/c.yaml", "+ x", noon),
		"daemon":    Daemon(DaemonStarted, "1.0", 1, "", noon),
		"switch":    Switched(guard.Switch{Scope: "crm/update", By: by}, true, noon),
	}
	for name, e := range list {
		if _, err := e.Encode(); err != nil || e.EventID == "" || e.CorrelationID == "" {
			t.Errorf("%s: %+v %v", name, e, err)
		}
	}
	if e := list["completed"]; e.DurationMS != 1500 || e.CorrelationID != "call_1" || e.Actor.WorkspaceID != "p" {
		t.Errorf("completed: %+v", e)
	}
	if e := list["approval"]; e.DiffSHA256 != digest.Sum([]byte("diff")) || e.Actor.WorkspaceID != "/f" || e.Tool.Version != "1.2" || fmt.Sprint(e.Receipts) != "[{file a} {file b}]" {
		t.Errorf("approval: %+v", e)
	}
	if e := list["by"]; e.Actor.UserID != "0" || e.Actor.WorkspaceID != "p" || e.Origin.PID != 9 || e.Origin.Version != "SHA256:k" {
		t.Errorf("by an approver: %+v", e)
	}
	if e := list["switch"]; e.Tool.Server != "crm" || e.Tool.Name != "update" {
		t.Errorf("switch: %+v", e)
	}
}

func BenchmarkEncode(b *testing.B) {
	e := full()
	for b.Loop() {
		if _, err := e.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data, err := full().Encode()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
