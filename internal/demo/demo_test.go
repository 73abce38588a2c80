package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestPlaysThrough runs the whole demo with nobody at a terminal.
func TestPlaysThrough(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := Run(ctx, Config{Out: &out, Version: "test"}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text := out.String()
	for _, want := range []string{
		"+    if not 0 <= percent <= 100:",    // the diff of the edit
		"verified by reading the target back", // a receipt
		"denied: those codes are still in use",
		"is expired",
		"the approval is stale",
		`"path":"/payment/retries"`, // the JSON change as a patch
		"The audit log verifies",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// live runs the demo with a person as the reviewer, who gets each approval that
// waits, and returns what it printed and the guard's folder. meddled is closed
// once somebody else has changed a file.
func live(ctx context.Context, t *testing.T, review func(api *client.Client, a client.Approval, meddled <-chan struct{})) (text, home string) {
	t.Helper()
	in, out := io.Pipe()
	ended := make(chan error, 1)
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() { // ends with the demo
		err := Run(ctx, Config{Out: out, Version: "test", Interactive: true, Approve: "approve"})
		out.Close()
		ended <- err
	}()
	var said strings.Builder
	reviewed, meddled := make(chan struct{}), make(chan struct{})
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		var found bool
		if _, home, found = strings.Cut(lines.Text(), "MCPGUARD_HOME="); found {
			home, _, _ = strings.Cut(home, " ")
			break
		}
	}
	go func() { // ends with watching
		defer close(reviewed)
		api := client.New(filepath.Join(home, "approver.sock"))
		for range api.Watch(watching) {
			page, err := api.List(ctx, client.Filter{Status: []string{client.Pending}})
			if err != nil {
				continue // the demo has ended
			}
			for _, a := range page.Approvals {
				review(api, a, meddled)
			}
		}
	}()
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "changes README.md meanwhile") {
			close(meddled)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("the demo: %v", err)
	}
	stop()
	<-reviewed
	return said.String(), home
}

// TestLive lets a person decide on everything, the file that changes meanwhile
// included.
func TestLive(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	text, _ := live(ctx, t, func(api *client.Client, a client.Approval, meddled <-chan struct{}) {
		if a.Tool == "edit_file" && strings.Contains(a.Summary, "README.md") {
			select { // a person takes longer to read
			case <-meddled:
			case <-ctx.Done():
			}
		}
		word := client.DecisionRequest{Decision: client.Allow, Digest: a.Digest, Reason: "as agreed"}
		if strings.HasPrefix(a.Summary, "delete") {
			word.Decision, word.Reason = client.Deny, "still in use"
		}
		_, _ = api.Decide(ctx, a.ID, word) // a file that changed under it refuses the word, and a fresh approval follows
	})
	for _, want := range []string{
		"approve --no-autostart", // so that nothing starts a daemon once the demo has ended
		"Say no and why",
		"denied: still in use",
		"changes README.md meanwhile",
		"The audit log verifies",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if got := strings.Count(text, "is executed, verified"); got != len(steps)-1 {
		t.Errorf("%d changes were executed, want all but the denied one of %d", got, len(steps))
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestInterrupted ends the demo while a proposal waits: that is no error, and
// nothing of it stays.
func TestInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	text, home := live(ctx, t, func(*client.Client, client.Approval, <-chan struct{}) { interrupt() })
	if !strings.Contains(text, "ended; nothing is left") {
		t.Errorf("the demo does not say that it ended:\n%s", text)
	}
	if _, err := os.Stat(filepath.Dir(home)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the demo left %s: %v", filepath.Dir(home), err)
	}
}
