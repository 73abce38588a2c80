package redact

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// fragments are the parts of the random texts.
func fragments() []string {
	out := []string{
		"password", "token", "secret", "api_key", "=", ": ", ":", `"`, "'", `\"`, `\`, `\\`, "\n", `\n`, " ", ",", "/", "://", "@", ".", "-", "_",
		"{", "}", "[", "]", "%", "%25", `\u00`, `\u0067`, "a1", "Z9", "hunter2", "hunter", "bearer ", "basic ", "-----BEGIN PRIVATE " + "KEY-----", "-----END",
		"[REDACTED:", "[REDACTED:jwt]", "]", "eyJ", "ghp_", a36, hexa, "sk-", "AKIA", "QUtJQ", "é", "\x00", "<", "&",
	}
	for _, list := range tokens {
		out = append(out, list[0])
	}
	for _, v := range spell(`quo"te\slash/`) {
		out = append(out, v)
	}
	return out
}

// TestRandomText checks the properties of masking on texts that random bytes would
// not reach.
func TestRandomText(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := fragments()
	secrets := []string{"hunter2", `quo"te\slash/`}
	r := New(Config{Secrets: secrets})
	n := 20_000
	if testing.Short() {
		n = 2_000
	}
	for range n {
		var b strings.Builder
		for range rng.IntN(12) {
			s := parts[rng.IntN(len(parts))]
			if rng.IntN(4) == 0 {
				s = s[rng.IntN(len(s)):]
			}
			b.WriteString(s)
		}
		in := b.String()
		out, f := r.Text([]byte(in))
		if again, f2 := r.Text(out); !bytes.Equal(out, again) || len(f2) > 0 {
			t.Fatalf("%q became %q %v, and then %q %v", in, out, f, again, f2)
		}
		for _, s := range secrets {
			if bytes.Contains(out, []byte(s)) {
				t.Fatalf("%q keeps %q: %q", in, s, out)
			}
		}
		q := append(append([]byte(`{"a":`), jsonrpc.QuoteString(in)...), '}')
		jout, _, err := r.JSON(q)
		if err != nil || jsonrpc.Check(jout, jsonrpc.Limits{}) != nil {
			t.Fatalf("%q became %q, %v", q, jout, err)
		}
		if w, err := r.walk(jout, 0); err != nil || len(w.edits) > 0 {
			t.Fatalf("%q became %q, in which the walk finds %v %v", q, jout, w.counts, err)
		}
	}
}

// TestHostileText runs the inputs of the benchmarks once.
func TestHostileText(t *testing.T) {
	r := benchRedactor()
	for name, in := range hostile {
		in = in[:min(len(in), 50_000)]
		out, _ := r.Text([]byte(in))
		if again, f := r.Text(out); !bytes.Equal(out, again) {
			t.Errorf("%s: not idempotent: %v", name, f)
		}
		q := append(append([]byte(`[`), jsonrpc.QuoteString(in)...), ']')
		jout, _, err := r.JSON(q)
		if err != nil || jsonrpc.Check(jout, jsonrpc.Limits{}) != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
