package jsonrpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestLinesTellWhoseMessageItIs: a message or batch over several lines is put
// together, and each message in it is known by its id and kind.
func TestLinesTellWhoseMessageItIs(t *testing.T) {
	for text, want := range map[string]string{
		"{\n \"jsonrpc\": \"2.0\",\n \"id\": 7,\n \"result\": {\n  \"content\": []\n }\n}":                                        "7 response",
		"{\"jsonrpc\":\"2.0\",\r\n\"id\":\"a\",\r\n\"error\":{\"code\":1,\"message\":\"} ] \\\" {\"}\r\n}":                        `"a" response`,
		"[\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}},\n{\"jsonrpc\":\"2.0\",\"id\":2,\n\"method\":\"ping\"},\n7, {\"x\": 1}]": "1 response, 2 request",
		"[{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"\n}]":                                                                "0 notification",
		"{\n\"id\": 1, \"ID\": 2,\n\"result\": {}\n}":                                                                             "0 response",
		"{\n\"a\": 1\n}":                      "",
		"[\n{\"id\": 1, \"result\": {}\n},,]": "", // no JSON: nothing in it is taken for anything
	} {
		var l Lines
		var whole []byte
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			got, ok := l.Add([]byte(line), 1000)
			if !ok || (got != nil) != (i == len(lines)-1) || l.Open() != (got == nil) {
				t.Fatalf("%q: line %d: %q, %v", text, i, got, ok)
			}
			whole = got
		}
		var told []string
		for _, r := range Refused(whole, SeveralLines) {
			id := "0"
			if !r.ID.IsZero() {
				id = r.ID.String()
			}
			told = append(told, id+" "+map[MessageKind]string{Request: "request", Response: "response", Notification: "notification"}[r.Kind])
			if r.Reason != SeveralLines {
				t.Errorf("%q: refused as %s", text, r.Reason)
			}
		}
		if got := strings.Join(told, ", "); got != want {
			t.Errorf("%q: told %q, want %q", text, got, want)
		}
	}
}

// TestOtherTextIsNotCollected: what a server prints besides messages does not
// begin one, and ends one that had begun.
func TestOtherTextIsNotCollected(t *testing.T) {
	for _, line := range []string{"", "listening", "[INFO] up {", "{level: info", "{'a': [", "{}", `{"a":1}`, "]", `{"a": "open`, "{ }}", "[1,"} {
		var l Lines
		if whole, ok := l.Add([]byte(line), 1000); ok || whole != nil || l.Open() {
			t.Errorf("%q began a message", line)
		}
	}
	for _, line := range []string{`"open`, "}}", "} x", "}]", strings.Repeat("1", 90)} {
		var l Lines
		if _, ok := l.Add([]byte("{"), 90); !ok {
			t.Fatal("{ did not begin a message")
		}
		if whole, ok := l.Add([]byte(line), 90); ok || whole != nil || l.Open() || l.Len() != 0 {
			t.Errorf("%q went on with a message", line)
		}
	}
}

// TestIndentedMessagesAreWhole: any message that is indented is put together
// byte for byte, and its id is told.
func TestIndentedMessagesAreWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.IntRange(0, 1<<40).Draw(t, "id")
		value := rapid.MapOf(rapid.String(), rapid.SliceOfN(rapid.String(), 0, 3)).Draw(t, "value")
		b, err := json.MarshalIndent(map[string]any{"jsonrpc": "2.0", "id": id, "result": value}, "", strings.Repeat(" ", rapid.IntRange(0, 3).Draw(t, "indent")))
		if err != nil {
			t.Fatal(err)
		}
		var l Lines
		var whole []byte
		for line := range bytes.SplitSeq(b, []byte("\n")) {
			var ok bool
			if whole, ok = l.Add(line, 1<<20); !ok {
				t.Fatalf("%q of %q", line, b)
			}
		}
		if !bytes.Equal(bytes.TrimSuffix(whole, []byte("\n")), b) {
			t.Fatalf("got %q, want %q", whole, b)
		}
		r := Refused(whole, SeveralLines)
		if len(r) != 1 || r[0].ID.String() != fmt.Sprint(id) || r[0].Kind != Response {
			t.Fatalf("%q: told %+v", whole, r)
		}
	})
}
