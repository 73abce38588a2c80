package daemon

import (
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/proxy"
)

func TestTheRegistryIsBounded(t *testing.T) {
	r := newRegistry()
	for range maxSessions {
		if !r.add(&session{Session: guard.Session{ID: guard.NewSessionID()}}) {
			t.Fatal("refused too early")
		}
	}
	s := &session{Session: guard.Session{ID: guard.NewSessionID()}}
	if r.add(s) {
		t.Error("one more was taken")
	}
	r.remove(r.all()[0])
	if !r.add(s) {
		t.Error("refused although one has ended")
	}
}

func TestWhatWaitsIsShownAsADiff(t *testing.T) {
	s := &session{}
	s.waits([]proxy.Waiting{
		{Tool: "changed", SHA256: diff.Sum([]byte("x")), Definition: []byte(`{"name":"changed","description":"now"}`), Accepted: []byte(`{"name":"changed","description":"once"}`)},
		{Tool: "new", Definition: []byte(`{"name":"new"}`)},
		{Tool: "twice", Accepted: []byte(`{"name":"twice"}`)},
	})
	got := s.state().Waiting
	if len(got) != 3 || got[0].Change != "changed" || got[1].Change != "new" || got[2].Change != "changed" {
		t.Fatalf("got %+v", got)
	}
	if !strings.Contains(got[0].Diff, "-  \"description\": \"once\"\n+  \"description\": \"now\"\n") || got[0].SHA256 != diff.Sum([]byte("x")).String() {
		t.Errorf("got %+v", got[0])
	}
	if !strings.Contains(got[1].Diff, "+  \"name\": \"new\"\n") || !strings.Contains(got[1].Diff, "--- /dev/null") {
		t.Errorf("got %+v", got[1])
	}
}
