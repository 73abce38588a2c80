package redact

import (
	"encoding/base64"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// form is one text with a secret in it, of testdata/forms.txt.
type form struct {
	name, text string
	secrets    []string // parts of text; a key's lines are parts of their own
}

// forms reads the set. The generated secrets are the same in each run.
func forms(t testing.TB) []form {
	t.Helper()
	b, err := os.ReadFile("testdata/forms.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, set, _ := strings.Cut(string(b), "\n== ")
	var out []form
	for i, block := range strings.Split(set, "\n== ") {
		name, template, _ := strings.Cut(block, "\n")
		f := form{name: name}
		text := filledIn(t, strings.TrimSuffix(template, "\n"), uint64(i+1))
		for {
			before, rest, found := strings.Cut(text, "«")
			f.text += before
			if !found {
				break
			}
			secret, after, closed := strings.Cut(rest, "»")
			if !closed {
				t.Fatalf("%s: a secret without an end", name)
			}
			f.text += secret
			for line := range strings.SplitSeq(strings.ReplaceAll(secret, `\n`, "\n"), "\n") {
				if !strings.HasPrefix(line, "-----") {
					f.secrets = append(f.secrets, line)
				}
			}
			text = after
		}
		out = append(out, f)
	}
	return out
}

// filledIn replaces {a20} and the like with characters.
func filledIn(t testing.TB, template string, seed uint64) string {
	t.Helper()
	const low, up, digits = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	sets := map[byte]string{
		'a': low + up + digits, 'h': "abcdef" + digits, 'l': low + digits, 'u': up + digits,
		'w': low + up + digits + "_-", 'b': low + up + digits + "+/", 'd': digits, 'p': low,
	}
	draw := func(set string, n int) string {
		var s strings.Builder
		for range n {
			seed ^= seed << 13
			seed ^= seed >> 7
			seed ^= seed << 17
			s.WriteByte(set[seed%uint64(len(set))])
		}
		return s.String()
	}
	for range 64 { // away from the small numbers
		draw(digits, 1)
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		word, after, _ := strings.Cut(rest, "}")
		n, err := strconv.Atoi(word[min(1, len(word)):])
		switch text, encoded := strings.CutPrefix(word, "B:"); {
		case encoded:
			out.WriteString(base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(text, `\n`, "\n"))))
		case word == "uuid":
			h := draw(sets['h'], 32)
			out.WriteString(h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:])
		case err == nil && sets[word[0]] != "":
			out.WriteString(draw(sets[word[0]], n))
		default: // a brace of the text itself
			out.WriteByte('{')
			template = rest
			continue
		}
		template = after
	}
}

func TestFormsAreASetOf150(t *testing.T) {
	list, seen := forms(t), map[string]bool{}
	if len(list) != 150 {
		t.Errorf("%d forms, want 150", len(list))
	}
	for _, f := range list {
		if f.name == "" || seen[f.name] {
			t.Errorf("the name %q stands twice or is none", f.name)
		}
		seen[f.name] = true
		if len(f.secrets) == 0 || strings.ContainsAny(f.text, "«»") {
			t.Errorf("%s: %d secrets in %q", f.name, len(f.secrets), f.text)
		}
		for _, s := range f.secrets {
			if len(s) < 8 || !strings.Contains(f.text, s) {
				t.Errorf("%s: the secret %q", f.name, s)
			}
		}
	}
}

// survivors returns the secrets of a form that out still contains, even in part.
// Parts that the rest of the form also contains do not count.
func (f form) survivors(out []byte) []string {
	rest := f.text
	for _, s := range f.secrets {
		rest = strings.ReplaceAll(rest, s, "\n")
	}
	var left []string
	for _, s := range f.secrets {
		for i := 0; i+8 <= len(s); i++ {
			if part := s[i : i+8]; strings.Contains(string(out), part) && !strings.Contains(rest, part) {
				left = append(left, s)
				break
			}
		}
	}
	return left
}

// TestFormsAreFound checks the share of the set that must be found: as text, and as
// text within a result.
func TestFormsAreFound(t *testing.T) {
	const least = 95 // per cent
	r, found := New(Config{}), 0
	list := forms(t)
	for _, f := range list {
		text, _ := r.Text([]byte(f.text))
		answer := append(append([]byte(`{"content":[{"type":"text","text":`), jsonrpc.QuoteString(f.text)...), "}]}"...)
		clean, _, err := r.JSON(answer)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		if left := append(f.survivors(text), f.survivors(clean)...); len(left) > 0 {
			t.Logf("not found: %s: %q in %.200q", f.name, left, text)
			continue
		}
		found++
	}
	t.Logf("%d of %d forms are found", found, len(list))
	if found*100 < least*len(list) {
		t.Errorf("%d of %d forms are found, want %d %%", found, len(list), least)
	}
}
