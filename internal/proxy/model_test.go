package proxy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/store"
	"pgregory.net/rapid"
)

// TestPromise4_RandomLives runs two sessions with random writes, decisions,
// cancels, foreign changes, slow, failing and dying servers, and ends of
// sessions. Whenever a write reaches a server there must be an intent for
// exactly these arguments, and the target must be as its preview shows. In the
// end each call is completed once, each approval was used at most once, and
// nothing is locked.
func TestPromise4_RandomLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Hide Deadline: a bubble has none.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) { randomLives(t, rt) })
	})
}

// world is the state of one run of the model.
type world struct {
	*rig
	rt    *rapid.T
	peers [2]*peer

	mu      sync.Mutex
	late    []func() // answers that servers delay
	dice    *rand.Rand
	used    map[string]int // intents that servers have seen, by call
	problem string
}

func randomLives(t *testing.T, rt *rapid.T) {
	root, err := os.MkdirTemp("", "proxy")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	r := &rig{TB: tempIn{t, root}}
	r.setup()
	defer r.stop()
	w := &world{rig: r, rt: rt, used: map[string]int{}}
	w.dice = rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "what servers do"), 1))
	for i := range w.peers {
		w.open(i)
	}
	r.put("a", "0")
	r.put("b", "0")
	which := rapid.IntRange(0, 1)
	name := rapid.SampledFrom([]string{"a", "b"})
	rt.Repeat(map[string]func(*rapid.T){
		"write": func(rt *rapid.T) {
			tool := rapid.SampledFrom([]string{"write", "write", "scratch"}).Draw(rt, "tool")
			w.peers[which.Draw(rt, "session")].write(tool, name.Draw(rt, "file"), fmt.Sprint(rapid.IntRange(0, 3).Draw(rt, "content")))
		},
		"decide": func(rt *rapid.T) {
			list := r.approvals(guard.Pending)
			if len(list) == 0 {
				rt.Skip("nothing is pending")
			}
			r.decide(list[rapid.IntRange(0, len(list)-1).Draw(rt, "which")], rapid.IntRange(0, 3).Draw(rt, "yes") > 0)
		},
		"cancel": func(rt *rapid.T) {
			p := w.peers[which.Draw(rt, "session")]
			if p.next == 0 {
				rt.Skip("no call yet")
			}
			p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, rapid.IntRange(max(1, p.next-3), p.next).Draw(rt, "id"))
		},
		"touch": func(rt *rapid.T) { r.put(name.Draw(rt, "file"), fmt.Sprint(rapid.IntRange(0, 3).Draw(rt, "content"))) },
		"late": func(*rapid.T) {
			w.mu.Lock()
			late := w.late
			w.late = nil
			w.mu.Unlock()
			for _, f := range late {
				f()
			}
		},
		"wait": func(rt *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 100).Draw(rt, "seconds")) * time.Second)
		},
		"end": func(rt *rapid.T) {
			i := which.Draw(rt, "session")
			if rapid.Bool().Draw(rt, "the server dies") {
				w.peers[i].server.die()
			}
			w.peers[i].end()
			w.open(i)
		},
		"": func(rt *rapid.T) { w.settle(rt) },
	})
	for _, p := range w.peers {
		p.end()
	}
	w.ended()
}

// tempIn creates temporary folders where one run of the model cleans up.
type tempIn struct {
	testing.TB
	root string
}

func (t tempIn) TempDir() string {
	dir, err := os.MkdirTemp(t.root, "")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// open serves a session whose server answers, fails, or delays its answer.
func (w *world) open(i int) {
	p := w.session("patient")
	w.peers[i] = p
	p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
		if m.Method != "tools/call" {
			return false
		}
		w.arrived(m)
		answer := func(result string) { f.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), result) }
		w.mu.Lock()
		mood := w.dice.IntN(6)
		w.mu.Unlock()
		switch mood {
		case 0:
			answer(errorResult("no"))
		case 1: // executed, answered late
			result := doTool(m)
			w.hold(func() { answer(result) })
		case 2: // never executed, answered late
			w.hold(func() { answer(errorResult("no")) })
		default:
			answer(doTool(m))
		}
		return true
	})
}

func (w *world) hold(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = append(w.late, f)
}

// arrived checks a write when a server gets it.
func (w *world) arrived(m jsonrpc.Message) {
	args, _ := m.Param("arguments")
	raw := digest.Sum(args.Of(m.Raw))
	intents, err := w.store.OpenIntents()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.problem = err.Error()
		return
	}
	for _, in := range intents {
		if in.ArgsRaw != raw || in.Unknown || w.used[string(in.CallID)] > 0 {
			continue
		}
		w.used[string(in.CallID)]++
		content, err := os.ReadFile(in.Effects[0].Resource.Key)
		if err != nil || digest.Sum(content) != in.Effects[0].Before.SHA256 {
			w.problem = fmt.Sprintf("a write ran on other ground than its preview's: %q (%v)", content, err)
		}
		return
	}
	w.problem = "a write reached a server without an intent of its own"
}

// settle waits until nothing runs and reads what the clients got.
func (w *world) settle(rt *rapid.T) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.problem != "" {
		rt.Fatal(w.problem)
	}
	for _, p := range w.peers {
		for len(p.frames) > 0 {
			<-p.frames
		}
	}
}

// ended checks the records after every session has ended.
func (w *world) ended() {
	requested, completed := map[guard.CallID]int{}, map[guard.CallID]int{}
	for _, e := range w.events(audit.ToolCallRequested, audit.ToolCallCompleted) {
		if e.Event == audit.ToolCallRequested {
			requested[e.CallID]++
		} else {
			completed[e.CallID]++
		}
	}
	for id, n := range requested {
		if n != 1 || completed[id] != 1 {
			w.rt.Fatalf("%s was requested %d times and completed %d times", id, n, completed[id])
		}
	}
	if len(completed) != len(requested) {
		w.rt.Fatalf("%d calls were requested, %d completed", len(requested), len(completed))
	}
	all, err := w.store.Approvals(store.Filter{})
	if err != nil {
		w.rt.Fatal(err)
	}
	calls := map[guard.CallID]guard.ApprovalID{}
	for _, a := range all {
		switch a.Status {
		case guard.Executing, guard.Pending:
			w.rt.Fatalf("%s is %s after every session has ended", a.ID, a.Status)
		case guard.Executed, guard.Failed, guard.Unknown:
			if other := calls[a.Receipt.CallID]; other != "" || w.used[string(a.Receipt.CallID)] != 1 {
				w.rt.Fatalf("%s: its call ran %d times, also for %q", a.ID, w.used[string(a.Receipt.CallID)], other)
			}
			calls[a.Receipt.CallID] = a.ID
		}
	}
	if n := len(w.locks.claims); n != 0 {
		w.rt.Fatalf("%d locks are left", n)
	}
}
