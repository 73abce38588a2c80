package clienttools

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// stoppable is a pipe whose reader a deadline stops.
type stoppable struct {
	pipe
	stop func()
}

func (p stoppable) SetReadDeadline(time.Time) error { p.stop(); return nil }

// TestPermissionSessionIsLeftWhole: a session that its daemon leaves has the ids of
// the prompts without an answer and the bytes of an incomplete frame for the next
// daemon, which goes on with them. A prompt that the client has cancelled is not
// among them.
func TestPermissionSessionIsLeftWhole(t *testing.T) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	leave := make(chan struct{})
	asked := make(chan string, 8)
	p := Permission{Version: "1", Leave: leave, Ask: func(ctx context.Context, q Question) Answer {
		asked <- q.Tool
		<-ctx.Done()
		return Answer{Allow: true} // too late
	}}
	type outcome struct {
		rest *PermissionRest
		err  error
	}
	served := make(chan outcome, 1)
	go func() { // ends when the session is left
		rest, err := p.Serve(context.Background(), stoppable{pipe{inR, outW, inR}, func() { inW.CloseWithError(os.ErrDeadlineExceeded) }})
		served <- outcome{rest, err}
	}()
	said := make(chan []string, 1)
	go func() { // ends when the session is left
		var got []string
		r := jsonrpc.NewReader(outR, jsonrpc.Limits{})
		for {
			frame, err := r.Next()
			if err != nil {
				said <- got
				return
			}
			got = append(got, string(frame))
		}
	}()
	prompt := func(id, tool string) string {
		return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"approve","arguments":{"tool_name":"` + tool + `","input":{}}}}` + "\n"
	}
	const cut = `{"jsonrpc":"2.0","id":9,"met`
	for _, text := range []string{
		`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}` + "\n", prompt("1", "Bash"), prompt(`"two"`, "Edit"), prompt("3", "Write"),
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}` + "\n", cut,
	} {
		if _, err := io.WriteString(inW, text); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "tools/call") {
			<-asked
		}
	}
	close(leave)
	got := <-served
	if got.err != nil || got.rest == nil {
		t.Fatalf("left %v, %v", got.rest, got.err)
	}
	var open []string
	for _, id := range got.rest.InFlight {
		open = append(open, string(id))
	}
	slices.Sort(open)
	if !slices.Equal(open, []string{`"two"`, "1"}) || string(got.rest.Unread) != cut {
		t.Errorf("left %q and %q", open, got.rest.Unread)
	}
	if said := <-said; len(said) != 1 || !strings.Contains(said[0], "serverInfo") {
		t.Errorf("the client got %q", said)
	}

	// The next daemon.
	inR, inW = io.Pipe()
	outR, outW = io.Pipe()
	next := Permission{Version: "1", Unread: got.rest.Unread}
	go func() { // ends with the client's stream
		rest, err := next.Serve(context.Background(), pipe{inR, outW, inR})
		served <- outcome{rest, err}
	}()
	if _, err := io.WriteString(inW, `hod":"ping"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	frame, err := jsonrpc.NewReader(outR, jsonrpc.Limits{}).Next()
	if err != nil || !strings.Contains(string(frame), `"id":9,"result"`) {
		t.Errorf("got %s, %v", frame, err)
	}
	inW.Close()
	if got := <-served; got.err != nil || got.rest != nil {
		t.Errorf("an ended session left %v, %v", got.rest, got.err)
	}
}
