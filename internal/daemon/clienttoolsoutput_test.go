package daemon

import (
	"reflect"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

func chunks(parts ...string) (out []sandbox.Chunk) { // "!" marks standard error
	for _, p := range parts {
		text, stderr := strings.CutPrefix(p, "!")
		out = append(out, sandbox.Chunk{Stderr: stderr, Data: []byte(text)})
	}
	return out
}

// marked writes pieces as chunks takes them.
func marked(in []clienttools.Piece) (out []string) {
	for _, p := range in {
		if p.Stderr {
			p.Text = "!" + p.Text
		}
		out = append(out, p.Text)
	}
	return out
}

// TestEachStreamKeepsItsOrder joins what belongs together, and cuts no
// character.
func TestEachStreamKeepsItsOrder(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{[]string{"a", "b", "!c", "!d", "e"}, []string{"ab", "!cd", "e"}},
		{[]string{"\xe2\x82", "!x", "\xac!"}, []string{"!x", "€!"}},
		{[]string{"!\xf0\x9f\x98", "a", "!\x80"}, []string{"a", "!😀"}},
		{[]string{"a\xe2\x82"}, []string{"a\ufffd"}},
		{[]string{"\x80\x80\x80\x80", "b"}, []string{"\ufffdb"}},
		{nil, nil},
	} {
		if got := marked(pieces(chunks(c.in...))); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

// TestASecretInSeveralPiecesIsTakenOut, whichever stream it stands in.
func TestASecretInSeveralPiecesIsTakenOut(t *testing.T) {
	s := newSecrets()
	const key = "correct-horse-battery"
	s.learn(map[string]string{"KEY": key})
	for _, c := range []struct{ in, want []string }{
		{[]string{"a", "!b", "c"}, []string{"a", "!b", "c"}},
		{[]string{"it is " + key, "!b", "c"}, []string{"it is ***c", "!b"}},
		{[]string{"correct-horse", "!b", "-battery"}, []string{"***", "!b"}},
		{[]string{"!correct-horse", "b", "!-battery"}, []string{"b", "!***"}},
		{[]string{"correct-horse", "!-battery"}, []string{"***"}},
	} {
		got := marked(withoutSecrets(pieces(chunks(c.in...)), s.text))
		all := strings.Join(got, "|")
		if i, j := strings.Index(all, "["), strings.Index(all, "]"); i >= 0 && j > i {
			all = all[:i] + "***" + all[j+1:]
		}
		if all != strings.Join(c.want, "|") {
			t.Errorf("%q: %q, want %q", c.in, all, c.want)
		}
	}
}

func TestALongOutputIsKeptInPart(t *testing.T) {
	in := clienttools.Outcome{Output: []clienttools.Piece{{Text: "abc"}, {Text: "d€f", Stderr: true}, {Text: "g"}}}
	for limit, want := range map[int]string{7: "abc|!d€", 6: "abc|!d", 5: "abc|!d", 3: "abc|!", 100: "abc|!d€f|g"} {
		got := cut(in, limit)
		if all := strings.Join(marked(got.Output), "|"); all != want || got.Truncated != (limit < 100) {
			t.Errorf("%d: %q, %v", limit, all, got.Truncated)
		}
	}
	if in.Output[1].Text != "d€f" || in.Truncated {
		t.Errorf("the outcome itself was cut: %+v", in)
	}
}
