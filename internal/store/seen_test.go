package store

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// TestNameIsNewUntilACallThatTouchesItHasRun: this holds for each tenant
// separately, and the name stays known when the file is opened again.
func TestNameIsNewUntilACallThatTouchesItHasRun(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	names := []string{"host a.example", "table users"}
	run := func(n string, outcome guard.Outcome, status audit.Status, touches ...string) guard.CallID {
		a := approved(t, s, v, n)
		in := intentFor(a)
		in.Touches = touches
		if err := s.Begin(ctx, in); err != nil {
			t.Fatal(err)
		}
		must(s.Finish(ctx, receipt(a.CallID, outcome), completed(status)))(t)
		return a.CallID
	}
	expect := func(step string, want int) {
		t.Helper()
		if got := s.Unseen(v.Tenant, names); len(got) != want {
			t.Errorf("%s: unseen %q, want %d", step, got, want)
		}
	}
	expect("at first", 2)
	run("failed", guard.OutcomeError, audit.StatusError, names...)
	expect("after a call that failed", 2)
	lost := run("lost", guard.OutcomeUnknown, audit.StatusUnknown, names[0])
	expect("after a call whose outcome is not known", 2)
	run("done", guard.OutcomeOK, audit.StatusOK, names[1])
	expect("after a call that ran", 1)
	must(s.Reconcile(ctx, lost, guard.Receipt{Outcome: guard.OutcomeOK}))(t)
	expect("after the other was found to have run", 0)
	if got := s.Unseen("another", names); len(got) != 2 {
		t.Errorf("another tenant knows %q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	expect("in a file opened again", 0)
	err := s.view(func(tx *bolt.Tx) error {
		each(tx.Bucket([]byte(bucketSeen)), nil, func(k, _ []byte) bool {
			if bytes.Contains(k, []byte("example")) {
				t.Errorf("the key %q tells what was touched", k)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSeenIsBounded drops the oldest, and never what was touched just now.
func TestSeenIsBounded(t *testing.T) {
	known, fresh := map[string]int64{}, map[string]int64{"a": 1 << 40, "7": 1 << 40}
	for i := range maxSeen - 1 {
		known[fmt.Sprint(i)] = int64(i)
	}
	drop := oldest(known, fresh)
	if len(drop) != maxSeen/8+len(fresh) || drop[0] != "0" {
		t.Fatalf("drops %d, first %q", len(drop), drop[0])
	}
	for _, h := range drop {
		if _, now := fresh[h]; now || known[h] > maxSeen/8+2 {
			t.Errorf("drops %s of %d", h, known[h])
		}
	}
	if got := oldest(map[string]int64{"x": 1}, fresh); got != nil {
		t.Errorf("drops %v although there is room", got)
	}
}

// TestRecentlyRun: recently executed calls are returned, the newest per
// tenant; failed and older ones are not.
func TestRecentlyRun(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	clock := o.Clock.(*fakeClock)
	begin := clock.Now().Wall
	run := func(n string, outcome guard.Outcome) {
		a := approved(t, s, v, n)
		in := intentFor(a)
		in.ArgsSum = digest.Sum([]byte(n))
		if err := s.Begin(ctx, in); err != nil {
			t.Fatal(err)
		}
		must(s.Finish(ctx, receipt(a.CallID, outcome), completed(audit.StatusOK)))(t)
		clock.advance(time.Minute, time.Minute)
	}
	for i := range 5 {
		run(fmt.Sprint(i), guard.OutcomeOK)
	}
	run("failed", guard.OutcomeError)
	run("lost", guard.OutcomeUnknown)
	v.Tenant, v.ID, v.RunID = "beta", guard.NewSessionID(), guard.NewRunID()
	if err := s.OpenSession(ctx, v); err != nil {
		t.Fatal(err)
	}
	run("theirs", guard.OutcomeOK)
	s = reopen(t, s, o)
	for _, c := range []struct {
		since time.Duration
		most  int
		want  string
	}{
		{0, 100, "acme 4, acme 3, acme 2, acme 1, acme 0, beta theirs"},
		{3*time.Minute - time.Second, 100, "acme 4, acme 3, beta theirs"},
		{0, 3, "acme 4, beta theirs"}, // the two after it did not run
		{time.Hour, 100, ""},
	} {
		var got []string
		for _, in := range must(s.RecentlyRun(begin.Add(c.since), c.most))(t) {
			for _, n := range []string{"0", "1", "2", "3", "4", "failed", "lost", "theirs"} {
				if in.ArgsSum == digest.Sum([]byte(n)) {
					got = append(got, in.Tenant+" "+n)
				}
			}
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("since %s, at most %d: %s, want %s", c.since, c.most, text, c.want)
		}
	}
}

// TestChangedInRun lists what the calls of one run were to change, whatever became
// of them, and nothing of another run.
func TestChangedInRun(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	clock := o.Clock.(*fakeClock)
	run := func(n string, outcome guard.Outcome) {
		a := approved(t, s, v, n)
		in := intentFor(a)
		in.Effects = []guard.Effect{
			{Resource: guard.Target{Kind: "file", Key: "/w/" + n, Write: true}, Dest: &guard.Target{Kind: "file", Key: "/w/to-" + n, Write: true}},
			{Resource: guard.Target{Kind: "opaque", Key: "x:" + n, Write: true}},
		}
		if err := s.Begin(ctx, in); err != nil {
			t.Fatal(err)
		}
		if outcome != "" {
			must(s.Finish(ctx, receipt(a.CallID, outcome), completed(audit.StatusOK)))(t)
		}
		clock.advance(time.Minute, time.Minute)
	}
	run("a", guard.OutcomeOK)
	run("b", guard.OutcomeError)
	run("c", "") // it runs now
	mine := v.RunID
	v.ID, v.RunID = guard.NewSessionID(), guard.NewRunID()
	if err := s.OpenSession(ctx, v); err != nil {
		t.Fatal(err)
	}
	run("theirs", guard.OutcomeOK)
	s = reopen(t, s, o)
	for _, c := range []struct {
		run  guard.RunID
		most int
		want string
	}{
		{mine, 100, "/w/c /w/to-c /w/b /w/to-b /w/a /w/to-a"},
		{mine, 2, "/w/c /w/to-c"}, // of the last two calls one is another run's
		{v.RunID, 100, "/w/theirs /w/to-theirs"},
		{guard.NewRunID(), 100, ""},
	} {
		if got := strings.Join(must(s.ChangedInRun(v.Tenant, c.run, c.most))(t), " "); got != c.want {
			t.Errorf("at most %d: %q, want %q", c.most, got, c.want)
		}
	}
	if got := must(s.ChangedInRun("beta", mine, 100))(t); len(got) > 0 {
		t.Errorf("another tenant sees %q", got)
	}
}
