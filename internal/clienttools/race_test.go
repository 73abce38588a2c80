package clienttools

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// asked is a question whose frame the proxy has received but not handled.
type asked struct {
	*Session
	conn   *Conn
	frame  []byte
	cancel context.CancelFunc
	answer chan Answer
	err    chan error
}

func ask(t *testing.T) *asked {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := New(Config{Tools: func() []string { return nil }})
	a := &asked{Session: s, conn: s.Upstream(), cancel: cancel, answer: make(chan Answer, 1), err: make(chan error, 1)}
	go func() { // ends with the answer
		got, err := s.Ask(ctx, question("x", "u"))
		a.answer <- got
		a.err <- err
	}()
	var err error
	if a.frame, err = jsonrpc.NewReader(s.Client(), jsonrpc.Limits{}).Next(); err != nil {
		t.Fatal(err)
	}
	a.conn.Expect(jsonrpc.IntID(1), guard.Preview{Effects: []guard.Effect{{Resource: guard.Target{Path: "a"}}}})
	synctest.Wait()
	return a
}

func (a *asked) begin(t *testing.T) {
	t.Helper()
	if err := a.conn.Write(a.frame); err != nil {
		t.Error(err)
	}
}

func (a *asked) stop(t *testing.T) {
	t.Helper()
	a.cancel()
	if err := a.conn.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestBegunCallCountsFirst: a client whose call has begun is told so, whatever
// else happens at the same time. Otherwise one action would be asked about
// twice, and the first would never be reported.
func TestBegunCallCountsFirst(t *testing.T) {
	for name, also := range map[string]func(*testing.T, *asked){
		"the session ends":     func(t *testing.T, a *asked) { a.stop(t) },
		"the client gives up":  func(_ *testing.T, a *asked) { a.cancel() },
		"the client is killed": func(_ *testing.T, a *asked) { a.Gone() },
	} {
		t.Run(name, func(t *testing.T) {
			for range 30 { // which event is seen first is random
				synctest.Test(t, func(t *testing.T) {
					a := ask(t)
					defer a.stop(t)
					a.begin(t)
					also(t, a)
					if got, err := <-a.answer, <-a.err; err != nil || got != (Answer{Allow: true, Begun: true}) {
						t.Fatalf("got %+v, %v", got, err)
					}
					a.Gone() // ends what waits for a report
				})
			}
		})
	}
}

// TestNothingStartsForAClientThatIsGone: if the client gave up before it could
// be told to go on, the call ends as cancelled at once, without waiting for a
// report.
func TestNothingStartsForAClientThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ask(t)
		defer a.stop(t)
		a.cancel()
		if got, err := <-a.answer, <-a.err; got.Allow || !errors.Is(err, context.Canceled) {
			t.Fatalf("got %+v, %v", got, err)
		}
		a.begin(t) // the cancel came too late for the proxy
		answer, err := a.conn.Next()
		if err != nil || !strings.Contains(string(answer), `"isError":true`) || !strings.Contains(string(answer), "nothing was run") {
			t.Errorf("got %s, %v", answer, err)
		}
		if a.conn.Unreported(jsonrpc.IntID(1)) {
			t.Error("it counts as begun and never reported")
		}
	})
}

// TestLastWaiterCancels: a tool use that both a hook and a permission prompt
// ask about goes on while either of them waits.
func TestLastWaiterCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ask(t)
		defer a.stop(t)
		other := make(chan Answer, 1)
		go func() { // ends with the answer
			got, _ := a.Ask(t.Context(), question("x", "u"))
			other <- got
		}()
		synctest.Wait()
		a.cancel()
		<-a.answer
		a.begin(t)
		if got := <-other; !got.Begun {
			t.Errorf("got %+v", got)
		}
		a.Gone()
	})
}

// TestSettledWaitsForTheAnswer: a report is settled when the proxy has
// answered.
func TestSettledWaitsForTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ask(t)
		defer a.stop(t)
		a.Settled(t.Context(), "u") // it has not begun: there is nothing to wait for
		a.begin(t)
		<-a.answer
		if !a.Report("u", nil, "", false) {
			t.Fatal("nobody knows the tool use")
		}
		settled := make(chan struct{})
		go func() { // ends with the answer
			a.Settled(t.Context(), "u")
			close(settled)
		}()
		synctest.Wait()
		select {
		case <-settled:
			t.Fatal("settled before the proxy has said so")
		default:
		}
		answer, err := a.conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Client().Write(append(answer, '\n')); err != nil {
			t.Fatal(err)
		}
		<-settled
	})
}
