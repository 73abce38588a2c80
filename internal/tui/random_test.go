package tui

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/mcpguard/mcpguard/internal/client"
)

// The oracle of the randomised run reads the frames alone. Every line of a
// change carries a token that belongs to one identifier and one digest, and a
// batch lists digests. A decision is right only if its token stood in every
// frame of the moment before it.

// world is a daemon whose approvals come, move and go at random.
type world struct {
	*desk
	t      *testing.T
	r      *rand.Rand
	n      int
	frames []shownFrame
	right  int
	// members says that the decision was one of several in a list.
	members bool
}

// shownFrame is a frame as it went to the terminal, and when.
type shownFrame struct {
	at      time.Time
	painted string
	text    string // of it, once somebody has asked
}

// read takes the text out of what was painted.
func (f *shownFrame) read() string {
	if f.text == "" {
		f.text = ansi.Strip(f.painted)
	}
	return f.text
}

func token(id, digest string) string { return "Q" + digest[len(digest)-8:] + id[len(id)-4:] }

// content gives an approval a new digest and a text that carries its token.
func (w *world) content(d *client.Detail) {
	w.n++
	d.Digest = fmt.Sprintf("sha256:%012x%052x", w.r.Uint64()>>16, w.n)
	tok := token(d.ID, d.Digest)
	lines := 2 + w.r.IntN(12)
	if w.r.IntN(8) == 0 {
		lines = 60
	}
	text := fmt.Sprintf("--- a/%s\n+++ b/%s\n@@ -0,0 +1,%d @@ %s\n", tok, tok, lines, tok)
	for range lines {
		text += "+" + tok + "\n"
	}
	d.Diff = client.NewDiff("unified", text)
	d.Added, d.Removed = lines, 0
}

func (w *world) arrive() {
	live := 0
	for _, d := range w.f.items {
		if d.Status == client.Pending {
			live++
		}
	}
	if live > 12 {
		return
	}
	w.n++
	tier := []string{t1, t1, t1, t2, t2, t3, t4}[w.r.IntN(7)]
	d := sample(w.n, tier, []string{"edit_file", "write_file"}[w.r.IntN(2)], fmt.Sprintf("f%d.go", w.r.IntN(5)))
	d.RunID = fmt.Sprintf("run_01jq000000000000000000%04d", w.r.IntN(3))
	d.RequestedAt = w.now
	d.ExpiresAt = w.now.Add(time.Duration(5+w.r.IntN(300)) * time.Second)
	if w.r.IntN(6) == 0 {
		d.Hazards = append(d.Hazards, clientHazard())
	}
	w.content(&d)
	w.f.put(d)
	w.tell(d.ID)
}

// tell sends the event, or forgets to, or sends it late.
func (w *world) tell(id string) {
	if w.r.IntN(10) > 0 {
		w.changed(id)
	}
}

func (w *world) any() *client.Detail {
	if len(w.f.order) == 0 {
		return nil
	}
	// The newest ones are what the screen shows.
	i := len(w.f.order) - 1 - w.r.IntN(min(len(w.f.order), 10))
	d := *w.f.items[w.f.order[i]]
	return &d
}

// trouble changes the world behind the reviewer's back.
func (w *world) trouble() {
	d := w.any()
	if w.m.item != nil && w.r.IntN(2) == 0 && w.f.items[w.m.item.id] != nil {
		c := *w.f.items[w.m.item.id]
		d = &c
	}
	if d == nil || d.Status != client.Pending {
		w.arrive()
		return
	}
	switch w.r.IntN(4) {
	case 0: // another content under the same name
		w.content(d)
		w.f.put(*d)
	case 1: // it moved, and another takes its place
		w.n++
		next := *d
		next.ID = sample(w.n, d.Tier, "", "").ID
		next.Replaces = d.ID
		w.content(&next)
		d.Status, d.ReplacedBy = client.Stale, next.ID
		w.f.put(*d)
		w.f.put(next)
		w.tell(next.ID)
	case 2:
		d.Status = client.Cancelled
		w.f.put(*d)
	case 3: // another reviewer
		d.Status = client.Denied
		w.f.put(*d)
	}
	w.tell(d.ID)
}

// look keeps the frame that is on the screen for the oracle.
func (w *world) look() {
	w.frames = append(w.frames, shownFrame{at: w.now, painted: w.last.Content})
	if len(w.frames) > 64 {
		w.frames = append(w.frames[:0], w.frames[32:]...)
	}
}

// judge holds every new decision against the frames before it.
func (w *world) judge(from int) {
	w.f.mu.Lock()
	words := w.f.words[from:]
	w.f.mu.Unlock()
	for _, s := range words {
		tier := w.f.items[s.id].Tier
		need := armAfter
		if short(tier) == "T3" || short(tier) == "T4" {
			need = armAfterHigh
		}
		tok, digest := token(s.id, s.Digest), digits(s.Digest)
		asked := false // the frames of the open question are behind us
		for i := len(w.frames) - 1; i >= 0; i-- {
			f := &w.frames[i]
			text := f.read()
			batch := strings.Contains(text, "each decided by its own digest")
			asked = asked || !strings.Contains(text, "─ APPROVE ") && !strings.Contains(text, "─ DENY ")
			if batch && asked {
				break
			}
			if !strings.Contains(text, tok) && !(batch && strings.Contains(text, digest)) {
				if w.members && asked {
					break
				}
				w.t.Fatalf("decided %s %s %v, which was not on the screen for %v and ever since the question was asked; the frame at %v:\n%s", s.id, s.Digest, s.Decision, need, f.at, text)
			}
			w.members = batch
			if asked && w.now.Sub(f.at) >= need {
				break
			}
		}
		w.members = false
		w.right++
	}
	if len(w.f.words) > 1000 {
		w.f.mu.Lock()
		w.f.words = nil
		w.f.mu.Unlock()
	}
}

// do runs one action and judges what it brought about.
func (w *world) do(action func()) {
	w.f.mu.Lock()
	from := len(w.f.words)
	w.f.mu.Unlock()
	action()
	w.judge(from)
	w.look()
}

func (w *world) pause() time.Duration {
	return []time.Duration{5, 20, 60, 200, 450, 900, 1100, 1500}[w.r.IntN(8)] * time.Millisecond
}

var randomKeys = []string{
	"a", "a", "a", "a", "d", "d", "enter", "enter", "enter", "enter", "enter", "esc", "j", "k", "j", ".", "m", "x", "x", "A", "D",
	"space", "b", "g", "G", "]", "[", "z", "i", "f", "w", "s", "r", "o", "c", "tab", "2", "1", "3", "1", "?", "esc", "up", "down", "R", "/",
}

// step does one thing that can happen.
func (w *world) step() {
	switch p := w.r.IntN(100); {
	case p < 10:
		w.do(w.arrive)
	case p < 16:
		w.do(w.trouble)
	case p < 18:
		w.do(func() {
			w.size([]int{50, 60, 80, 100, 145}[w.r.IntN(5)], []int{12, 16, 20, 24}[w.r.IntN(4)])
		})
	case p < 20:
		w.do(func() { w.send([]tea.Msg{tea.FocusMsg{}, tea.BlurMsg{}, tea.ResumeMsg{}}[w.r.IntN(3)]) })
	case p < 22:
		w.do(func() { w.send(tea.PasteMsg{Content: "a\nok then\n\n"}) })
	case p < 23:
		w.do(func() { w.hold = true })
	case p < 28:
		w.do(w.release)
	case p < 29:
		w.do(func() { w.events(client.Event{Kind: client.EventLost, Error: "gone"}) })
		w.do(func() { w.events(client.Event{Kind: client.EventResync}) })
	case p < 30:
		w.do(func() { w.events(client.Event{Kind: client.EventResync}) })
	case p < 60 && w.m.dialog != nil:
		w.do(w.fill)
	case p < 70 && w.m.dialog == nil:
		w.attempt()
	default:
		w.do(func() { w.wait(w.pause()) })
		w.do(func() { w.key(randomKeys[w.r.IntN(len(randomKeys))]) })
	}
}

// attempt goes about a decision as a person does, while the world goes on.
func (w *world) attempt() {
	act := func(k string) {
		if w.r.IntN(12) == 0 {
			w.do(w.trouble)
		}
		w.do(func() { w.wait(w.pause()) })
		w.do(func() { w.wait(w.pause()) })
		w.do(func() { w.key(k) })
	}
	if w.m.screen != nil || w.m.story != nil || w.m.helping || w.m.pane.search != nil {
		act("esc")
		act("1")
	}
	if w.m.pane.info {
		act("i")
	}
	act([]string{".", "m", "j", "k"}[w.r.IntN(4)])
	if w.r.IntN(8) == 0 {
		act("x")
		act("x")
		act("A")
	} else {
		act([]string{"a", "a", "d"}[w.r.IntN(3)])
	}
	for range 4 {
		if w.m.dialog == nil || w.m.dialog.sent {
			return
		}
		if w.r.IntN(12) == 0 {
			w.do(w.trouble)
		}
		w.do(w.fill)
	}
}

// fill types what the open dialog asks for, mostly.
func (w *world) fill() {
	d := w.m.dialog
	text := "looks right"
	switch {
	case w.r.IntN(10) == 0:
	case d.step == stepUnread:
		text = "unread"
	case d.step == stepCount:
		text = strconv.Itoa(len(d.batch))
	case d.step == stepTarget:
		text = d.wanted()
	}
	if d.input.value() != text {
		w.send(keyOf("ctrl+u"))
		for _, r := range text {
			w.now = w.now.Add(50 * time.Millisecond)
			w.send(tea.KeyPressMsg{Code: r, Text: string(r)})
		}
	}
	w.wait(w.pause())
	w.look()
	w.f.mu.Lock()
	from := len(w.f.words)
	w.f.mu.Unlock()
	w.key("enter")
	w.judge(from)
}

// TestPromise2_DecidesOnlyWhatWasPainted runs arrivals, expiries, edits, lost
// answers and key presses at random. MCPGUARD_TUI_DECISIONS sets how many
// decisions it goes on for.
func TestPromise2_DecidesOnlyWhatWasPainted(t *testing.T) {
	want := 150
	if s := os.Getenv("MCPGUARD_TUI_DECISIONS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		want = n
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // frames are all that it makes
	const each = 100                                  // decisions of one console's life
	words := map[string]int{}
	steps := 0
	for seed := uint64(1); want > 0; seed++ {
		w := &world{t: t, r: rand.New(rand.NewPCG(seed, 7))}
		w.desk = newDesk(t, newFake())
		w.size(80, 20)
		for w.right < min(each, want) {
			w.step()
			steps++
			if len(w.f.order) > 400 { // ended ones are history
				w.forget()
			}
		}
		want -= w.right
		if done := seed * each; done%100_000 == 0 {
			t.Logf("%d decisions so far", done)
		}
		for _, s := range w.f.words {
			words[s.Decision]++
		}
	}
	t.Logf("%d steps, %v", steps, words)
}

// forget drops what ended long ago, as retention does.
func (w *world) forget() {
	keep := w.f.order[len(w.f.order)-100:]
	for _, id := range w.f.order[:len(w.f.order)-100] {
		if w.f.items[id].Status == client.Pending {
			keep = append([]string{id}, keep...)
			continue
		}
		delete(w.f.items, id)
	}
	w.f.order = append([]string{}, keep...)
}
