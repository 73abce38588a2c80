package tui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"go.uber.org/goleak"

	"github.com/mcpguard/mcpguard/internal/client"
)

func TestMain(m *testing.M) {
	// The reader of a pseudo-terminal may still be in its last read.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
		// The library's reader waits for ever to hand over a key that came while the console ended.
		goleak.IgnoreTopFunction("github.com/charmbracelet/ultraviolet.(*TerminalReader).sendEvents"))
}

func TestKeysFile(t *testing.T) {
	for _, c := range []struct{ name, file, err string }{
		{"empty", "", ""},
		{"one", "approve: [y]\nup: [k, up, ctrl+p]\n", ""},
		{"comments", "# nothing yet\n", ""},
		{"digits", "queue: [0]\n", ""},
		{"unknown", "up: [k]\naprove: [y]\n", "keys.yaml:2:1: there is no key called aprove"},
		{"taken", "approve: [d]\n", `keys.yaml:1:11: "d" is both deny, by default, and approve; give deny another key too`},
		{"taken by an earlier default", "up: [u]\nnext: [w,\n  y, a]\n", `keys.yaml:3:6: "a" is both approve, by default, and next`},
		{"taken in the file", "deny: [y]\n\napprove:\n  - y\n", `keys.yaml:4:5: "y" is both deny and approve`},
		{"twice", "approve: [y, y]\n", `keys.yaml:1:14: "y" stands twice among the keys of approve`},
		{"name twice", "approve: [y]\napprove: [z]\n", "keys.yaml:2:1: "},
		{"thoughtless", "approve: [enter]\n", `keys.yaml:1:11: approve cannot be "enter", which is pressed without thinking`},
		{"thoughtless batch", "approve_marked: [esc]\n", "pressed without thinking"},
		{"not a list", "up: [k]\napprove: y\n", "keys.yaml:2:10: approve takes a list of keys, such as [y]"},
		{"not a text", "approve: [[y]]\n", "keys.yaml:1:11: a key of approve is a text"},
		{"nothing", "approve: ['']\n", "keys.yaml:1:11: approve has a key without a name"},
		{"blank", "page_down: [' ']\n", "the space bar is called space"},
		{"not a map", "- a\n", "keys.yaml:1:1: "},
		{"no YAML", "approve: [y\n", "keys.yaml:1:"},
		{"no way out", "up: [k]\nquit: []\n", "keys.yaml:2:1: quit needs a key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := parseKeys("keys.yaml", []byte(c.file))
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got %v, want %q", err, c.err)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("a notice is one line: %q", err)
			}
			if c.name == "one" && (!slices.Equal(k.Approve.Keys(), []string{"y"}) || !slices.Equal(k.Deny.Keys(), []string{"d"})) {
				t.Errorf("got %v", k.Approve.Keys())
			}
		})
	}
	if k, err := LoadKeys(filepath.Join(t.TempDir(), "none.yaml")); err != nil || first(k.Approve) != "a" {
		t.Errorf("without a file: %v", err)
	}
}

// TestLongNoticeIsReadable does not cut what is wrong with a file off at the
// edge of a usual screen.
func TestLongNoticeIsReadable(t *testing.T) {
	d := newDesk(t, two(), func(c *Config) {
		c.Notices = []string{`the usual keys are in force: /home/me/.config/mcpguard/keys.yaml:2:11: "d" is both deny, by default, and approve; give deny another key too`}
	})
	d.sees("the usual keys are in force")
	d.sees("give deny another key too")
	d.sees("a approve")
}

func TestRemappedKeyDecidesAndHelpSaysSo(t *testing.T) {
	keys, err := parseKeys("keys.yaml", []byte("approve: [y]\n"))
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, two(), func(c *Config) { c.Keys = keys })
	d.sees("y approve")
	d.press("a")
	d.seesNot("APPROVE")
	d.press("y")
	d.sees("APPROVE")
	d.press("esc", "?")
	d.sees("y              approve, with a reason")
}

func TestAttention(t *testing.T) {
	c := waitingCounts{total: 3, tiers: [6]int{0, 2, 0, 1}}
	for _, k := range []struct {
		environ []string
		want    string
	}{
		{nil, "\a"},
		{[]string{"TERM=xterm-kitty"}, "\x1b]99;i=mcpguard:d=0;mcpguard\x1b\\\x1b]99;i=mcpguard:p=body;3 waiting, 1 T3, 2 T1\x1b\\\a"},
		{[]string{"TERM_PROGRAM=WezTerm"}, "\x1b]9;mcpguard: 3 waiting, 1 T3, 2 T1\a\a"},
		{[]string{"VTE_VERSION=7600"}, "\x1b]777;notify;mcpguard;3 waiting, 1 T3, 2 T1\a\a"},
		{[]string{"WEZTERM_PANE=1", "TMUX=/tmp/x,1,0"}, "\x1bPtmux;\x1b\x1b]9;mcpguard: 3 waiting, 1 T3, 2 T1\a\x1b\\\a"},
	} {
		a := newAttention(k.environ)
		if got := a.sequence(c); got != k.want {
			t.Errorf("%v: got %q, want %q", k.environ, got, k.want)
		}
	}
}

func TestNotifiesOnlyWithoutFocus(t *testing.T) {
	d := newDesk(t, two())
	arrive := func(n int) {
		v := sample(n, t1, "edit_file", "\x1b]0;forged\a")
		d.f.put(v)
		d.changed(v.ID)
	}
	arrive(10)
	if len(d.raw) != 0 {
		t.Fatalf("rang although focused: %q", d.raw)
	}
	d.send(tea.BlurMsg{})
	arrive(11)
	arrive(12)
	if len(d.raw) != 1 || strings.Contains(d.raw[0], "forged") {
		t.Fatalf("got %q, want one", d.raw)
	}
	d.wait(11 * time.Second)
	arrive(13)
	if len(d.raw) != 2 {
		t.Fatalf("got %q, want two", d.raw)
	}
	if got := d.last.WindowTitle; got != "mcpguard: 6 waiting" {
		t.Errorf("the title is %q", got)
	}
	d.key("a") // the first key only says that somebody is here
	d.said(0)
	d.seesNot("APPROVE")
	arrive(14)
	if len(d.raw) != 2 {
		t.Error("rang although somebody presses keys")
	}
}

// scripted is a stream that says what the test wants.
type scripted struct {
	*fakeDaemon
	events []client.Event
	end    error
}

func (s scripted) Watch(ctx context.Context) iter.Seq2[client.Event, error] {
	return func(yield func(client.Event, error) bool) {
		for _, e := range s.events {
			if !yield(e, nil) {
				return
			}
		}
		if s.end == nil {
			<-ctx.Done()
			s.end = context.Cause(ctx)
		}
		yield(client.Event{}, s.end)
	}
}

func TestPumpKeepsOrderAndEnds(t *testing.T) {
	var events []client.Event
	for i := range 1000 {
		events = append(events, client.Event{ID: fmt.Sprint(i), Kind: client.EventSession})
	}
	end := errors.New("another version")
	out := make(chan eventsMsg)
	go pump(t.Context(), scripted{events: events, end: end}, 3, out)
	n := 0
	var last error
	for msg := range out {
		if len(msg.events) > maxBurst || msg.gen != 3 {
			t.Fatalf("a burst of %d", len(msg.events))
		}
		for _, e := range msg.events {
			if e.ID != fmt.Sprint(n) {
				t.Fatalf("got %s, want %d", e.ID, n)
			}
			n++
		}
		last = msg.err
	}
	if n != 1000 || !errors.Is(last, end) {
		t.Errorf("%d events, then %v", n, last)
	}
}

func TestPumpEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan eventsMsg)
	go pump(ctx, scripted{events: []client.Event{{Kind: client.EventResync}}}, 1, out)
	<-out
	cancel()
	for range out {
	}
}

func TestPlainStory(t *testing.T) {
	f := two()
	id1, id2 := tail(sample(1, t1, "", "").ID), tail(sample(2, t2, "", "").ID)
	var out bytes.Buffer
	in := strings.Join([]string{
		"show 1",                              // a place, not an identifier
		"approve " + id1,                      // not shown yet
		"show " + id1, "approve " + id1, "ok", // too short
		"approve " + id1, "fine with me", "yes", // not the identifier
		"approve " + id1, "fine with me", id1,
		"show " + id2, "deny " + id2, "keep that file", id2,
		"list", "quit",
	}, "\n") + "\n"
	if err := RunPlain(t.Context(), Config{API: f, In: strings.NewReader(in), Out: &out, Zone: time.UTC}); err != nil {
		t.Fatal(err)
	}
	if len(f.words) != 2 || f.words[0].Decision != client.Allow || f.words[0].Reason != "fine with me" || f.words[1].Decision != client.Deny {
		t.Fatalf("got %+v\n%s", f.words, out.String())
	}
	for _, want := range []string{"1 is a position in the list", "Show it first", "a reason of at least 3 visible", "that does not match", "Done. It is now approved.", "Side effect: NOT reversible.", "Nothing is waiting for you."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not said:\n%s", want, out.String())
		}
	}
	if strings.ContainsAny(out.String(), "\x1b\r\a\b") {
		t.Error("plain mode writes control characters")
	}
}

// TestPlainSendsWhatWasPrinted moves the target between show and approve.
func TestPlainSendsWhatWasPrinted(t *testing.T) {
	f := two()
	id := sample(1, t1, "", "").ID
	var out bytes.Buffer
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- RunPlain(t.Context(), Config{API: f, In: r, Out: &out, Zone: time.UTC}) }()
	fmt.Fprintf(w, "show %s\n", tail(id))
	fmt.Fprintf(w, "help\n") // has been answered once the next line is taken
	fmt.Fprintf(w, "approve %s\nlooks right\n", tail(id))
	fmt.Fprintf(w, "%s\n", tail(id))
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.Close()
	if len(f.words) != 1 || f.words[0].Digest != sample(1, t1, "", "").Digest {
		t.Fatalf("got %+v", f.words)
	}
}

func TestBranch(t *testing.T) {
	dir := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("shop/.git/HEAD", "ref: refs/heads/main\n")
	write("shop/src/x.go", "")
	write("shop/.git/worktrees/tax/HEAD", "ref: refs/heads/feature/tax\n")
	write("tax/.git", "gitdir: "+filepath.Join(dir, "shop/.git/worktrees/tax")+"\n")
	write("detached/.git/HEAD", strings.Repeat("ab", 20)+"\n")
	if err := os.Symlink(filepath.Join(dir, "shop/.git"), filepath.Join(dir, "link.git")); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{
		"shop": "main", "shop/src": "main", "tax": "feature/tax", "detached": "ababababab",
	} {
		if got := Branch(filepath.Join(dir, folder)); got != want {
			t.Errorf("%s: got %q, want %q", folder, got, want)
		}
	}
	if got := Branch("relative"); got != "" {
		t.Errorf("a relative folder is on %q", got)
	}
}

func TestReasonsAreKeptByTool(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reasons.json")
	d := newDesk(t, two(), func(c *Config) { c.ReasonsFile = path })
	d.press("a")
	d.write("matches the ticket")
	d.press("enter")
	d.said(1)
	next := newDesk(t, two(), func(c *Config) { c.ReasonsFile = path })
	next.run(next.m.call.loadReasons(path))
	next.press("a")
	next.sees("matches the ticket │ reviewed, as intended")
	next.press("down", "enter")
	if w := next.said(1)[0]; w.Reason != "matches the ticket" {
		t.Errorf("got %q", w.Reason)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
}

func TestEditor(t *testing.T) {
	e := editor{max: 12}
	e.insert("one\r\ntwo\x1b[31m\x00")
	if got := e.value(); got != "one two[31m" {
		t.Fatalf("got %q", got)
	}
	e.key(codes["ctrl+u"])
	e.insert("äöü 漢字 end and more")
	if got := e.value(); got != "äöü 漢字 end a" && len([]rune(got)) != 12 {
		t.Fatalf("got %q", got)
	}
	for _, k := range []tea.KeyPressMsg{{Code: tea.KeyHome}, {Code: tea.KeyDelete}, {Code: 'x', Text: "x"}, {Code: tea.KeyEnd}, {Code: tea.KeyBackspace}, {Code: 'w', Mod: tea.ModCtrl}} {
		e.key(k)
	}
	if got := e.value(); got != "xöü 漢字 " {
		t.Fatalf("got %q", got)
	}
	for cols := range 12 {
		l, at := e.show(pen{}, cols+1)
		if l.Width() > cols+1 || at > cols {
			t.Errorf("%d columns: %q, cursor at %d", cols+1, l, at)
		}
	}
}

// TestPaintOnlyThroughSafetext keeps the sources to the one way to the screen.
func TestPaintOnlyThroughSafetext(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"lipgloss", "fmt.Print", "os.Stdout.Write"} {
			if bytes.Contains(b, []byte(word)) {
				t.Errorf("%s uses %s", f, word)
			}
		}
		if n := bytes.Count(b, []byte("\n")); n > 500 {
			t.Errorf("%s has %d lines", f, n)
		}
	}
}
