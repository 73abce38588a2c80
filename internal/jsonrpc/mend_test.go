package jsonrpc

import (
	"errors"
	"testing"
	"unicode/utf8"
)

func TestMend(t *testing.T) {
	for _, c := range []struct {
		in, want string
		places   int
	}{
		{`{"a":"plain \u00e9 é 😀 \ud83d\ude00"}`, `{"a":"plain \u00e9 é 😀 \ud83d\ude00"}`, 0},
		{`{"a":"cut \ud83d"}`, `{"a":"cut \ufffd"}`, 1},
		{`{"a":"\ud83d\ud83d\ude00\ude00"}`, `{"a":"\ufffd\ud83d\ude00\ufffd"}`, 2},
		{`{"a":"\\ud83d"}`, `{"a":"\\ud83d"}`, 0},
		{"{\"a\":\"caf\xe9\"}", `{"a":"caf�"}`, 1},
		{"{\"a\":\"\xf0\x9f\"}", "{\"a\":\"��\"}", 2},
		{"{\"a\":\"�\"}", "{\"a\":\"�\"}", 0},
		{`{"a":"\`, `{"a":"\`, 0},
		{`{"a":"\u12`, `{"a":"\u12`, 0},
	} {
		got, n := Mend([]byte(c.in))
		if string(got) != c.want || n != c.places {
			t.Errorf("%q: got %q and %d, want %q and %d", c.in, got, n, c.want, c.places)
		}
	}
}

// FuzzMend: what is mended is UTF-8, mending again changes nothing, and what
// Admit took stays as it was.
func FuzzMend(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":{"a":"\ud83d"}}`))
	f.Add([]byte("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"caf\xe9\"}"))
	f.Add([]byte("\\\xc5"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		got, n := Mend(frame)
		if !utf8.Valid(got) {
			t.Fatalf("%q became %q", frame, got)
		}
		if again, m := Mend(got); m != 0 || string(again) != string(got) {
			t.Fatalf("%q became %q and then %q", frame, got, again)
		}
		if _, err := Admit(frame, Limits{}); err == nil && n != 0 {
			t.Fatalf("%q was admitted and is mended to %q", frame, got)
		}
		var r *Refusal
		if _, err := Admit(got, Limits{}); errors.As(err, &r) && (r.Reason == InvalidUTF8 || r.Reason == LoneSurrogate) {
			t.Fatalf("%q became %q, which is refused: %v", frame, got, err)
		}
	})
}

func TestOddIDsAreGivenBack(t *testing.T) {
	for _, id := range []string{`1.0`, `1e0`, `-0`, `9007199254740993`, `true`, `"\ud800"`} {
		_, err := Admit([]byte(`{"jsonrpc":"2.0","id":`+id+`,"method":"a"}`), Limits{})
		var r *Refusal
		if !errors.As(err, &r) || r.Kind != Request || string(r.ID.Raw()) != id {
			t.Errorf("%s: got %+v", id, err)
			continue
		}
		if got, want := string(ErrorReply(r.ID, -32600, "no", nil)), `{"jsonrpc":"2.0","id":`+id+`,"error":{"code":-32600,"message":"no"}}`; got != want {
			t.Errorf("%s: got %s", id, got)
		}
	}
	for _, id := range []string{`null`, `{}`, `[1]`, `{"a":1}`, "\"\xff\""} {
		_, err := Admit([]byte(`{"jsonrpc":"2.0","id":`+id+`,"method":"a"}`), Limits{})
		var r *Refusal
		if !errors.As(err, &r) || !r.ID.IsZero() {
			t.Errorf("%s: got %+v, want no id", id, r)
		}
	}
}
