package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestALineIsFoundByItsTokenAlone: a line and its outcome survive a restart,
// and nothing that is stored shows the token.
func TestALineIsFoundByItsTokenAlone(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	const token = "QWERTYUIOPASDFGHJKLZXCVBNM"
	l := Line{
		Token: digest.Sum([]byte(token)), Tenant: v.Tenant, Run: v.RunID, Call: guard.NewCallID(), Client: guard.UpstreamRef{PID: 42, StartTime: 7, BootID: "boot"},
		Record: "r1", At: s.clock.Now().Wall, Outcome: []byte("what it printed"),
	}
	if err := s.PutLine(ctx, l); err != nil {
		t.Fatal(err)
	}
	got := must(s.LineOf(l.Token))(t)
	if !bytes.Equal(got.Outcome, l.Outcome) || got.Client != l.Client || got.Call != l.Call || got.Ended || got.Printed {
		t.Errorf("%+v", got)
	}
	if n := len(must(s.UnprintedLines(v.Tenant, v.RunID))(t)); n != 1 {
		t.Errorf("%d lines have not printed", n)
	}
	s.EndLineAsync(l.Token, []byte("another"), "")
	s.LinePrintedAsync(l.Token)
	s = reopen(t, s, o)
	if got = must(s.LineOf(l.Token))(t); string(got.Outcome) != "another" || !got.Ended || !got.Printed || got.Refused != "" {
		t.Errorf("%+v", got)
	}
	if n := len(must(s.UnprintedLines(v.Tenant, v.RunID))(t)); n != 0 {
		t.Errorf("%d lines have not printed", n)
	}
	// A refusal leaves the outcome of the sandbox's run as it is: whether that
	// became real is the receipt's to say.
	s.EndLineAsync(l.Token, nil, "the client has gone")
	s = reopen(t, s, o)
	if got = must(s.LineOf(l.Token))(t); string(got.Outcome) != "another" || got.Refused != "the client has gone" {
		t.Errorf("%+v", got)
	}
	if _, err := s.LineOf(digest.Sum([]byte("x"))); !errors.Is(err, ErrNotFound) {
		t.Errorf("another token: %v", err)
	}
	files := must(filepath.Glob(o.Path + "*"))(t)
	for _, f := range files {
		if data := must(os.ReadFile(f))(t); bytes.Contains(data, []byte(token)) {
			t.Errorf("%s shows the token", f)
		}
	}
}

// TestOldLinesAreDropped keeps what is young and not too much of it.
func TestOldLinesAreDropped(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	now := s.clock.Now().Wall
	put := func(name string, age time.Duration) digest.Digest {
		l := Line{Token: digest.Sum([]byte(name)), Tenant: v.Tenant, Run: v.RunID, Call: guard.NewCallID(), At: now.Add(-age), Outcome: []byte(name)}
		if err := s.PutLine(ctx, l); err != nil {
			t.Fatal(err)
		}
		return l.Token
	}
	young, old := put("young", time.Minute), put("old", 48*time.Hour)
	if n := must(s.PruneLines(ctx, now.Add(-24*time.Hour)))(t); n != 1 {
		t.Errorf("%d were dropped", n)
	}
	must(s.LineOf(young))(t)
	if _, err := s.LineOf(old); !errors.Is(err, ErrNotFound) {
		t.Errorf("the old one: %v", err)
	}
	var rows []lineRow
	for i := range 5 {
		rows = append(rows, lineRow{Line: Line{At: now.Add(time.Duration(i))}})
	}
	if drop := oldLines(rows, now.Add(-time.Hour), 3); len(drop) != 2 || drop[0].At != now.Add(1) || drop[1].At != now {
		t.Errorf("drops %+v", drop)
	}
}
