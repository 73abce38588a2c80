package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// copyFiles copies a closed database and the files beside it.
func copyFiles(t *testing.T, from Options) Options {
	t.Helper()
	to := options(t)
	to.CreateNew, to.LockTimeout, to.WriteTimeout = false, 1, 10*time.Second
	for _, suffix := range []string{"", journalSuffix, ".key", ".head", sumsSuffix} {
		copyFile(t, from.Path+suffix, to.Path+suffix)
	}
	return to
}

// contents returns the contents of every bucket of a closed database.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	db := must(bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second}))(t)
	defer db.Close()
	out := map[string]string{}
	err := db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				out[string(name)+"\x00"+string(k)] = string(v)
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// busy returns a closed database with entries in most of its buckets, and with
// nodes that span several pages.
func busy(t *testing.T) Options {
	t.Helper()
	o := filled(t)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	v := session(t, s)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		a := approval(v, call(t, s, v), fmt.Sprint("busy ", i))
		noise := make([]byte, 300+i*500)
		for k := range noise {
			noise[k] = byte(' ' + r.IntN(90))
		}
		a.Args = fmt.Appendf(nil, "%q", noise)
		if err := s.Submit(ctx, a); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			must(s.Decide(ctx, a.ID, no(a)))(t)
		}
	}
	must(s.Prune(ctx, time.Time{}))(t)
	if err := errors.Join(s.SetSwitch(ctx, guard.Switch{Scope: "crm", Reason: "fixture"}), s.Close()); err != nil {
		t.Fatal(err)
	}
	return o
}

// harm damages a file in one of the ways that happen in practice.
func harm(r *rand.Rand, whole []byte) (what string, damaged []byte) {
	const page = 4096
	damaged = bytes.Clone(whole)
	pages := len(whole) / page
	at := r.IntN(len(whole))
	start := at / page * page
	switch r.IntN(6) {
	case 0:
		damaged[at] ^= 1 << r.IntN(8)
		return fmt.Sprintf("bit of byte %d", at), damaged
	case 1:
		n := min(1+r.IntN(64), len(whole)-at)
		for i := range n {
			damaged[at+i] = byte(r.Uint32())
		}
		return fmt.Sprintf("%d bytes from %d on", n, at), damaged
	case 2:
		clear(damaged[start : start+page])
		return fmt.Sprintf("page %d is zero", at/page), damaged
	case 3:
		from := r.IntN(pages) * page
		copy(damaged[start:start+page], whole[from:from+page])
		return fmt.Sprintf("page %d is page %d", at/page, from/page), damaged
	case 4:
		half := start + page/2
		clear(damaged[half : start+page])
		return fmt.Sprintf("half of page %d", at/page), damaged
	default:
		return fmt.Sprintf("cut at %d", at), damaged[:at]
	}
}

// use does everything that a daemon does. Operations may fail because of the
// damage.
func use(s *Store) {
	_, _ = s.Approvals(Filter{Full: true})
	_, _ = s.Events(EventFilter{Limit: 1 << 20})
	_, _ = s.Verify(ctx)
	_, _ = s.Startup(ctx)
	v := guard.Session{ID: guard.NewSessionID(), RunID: guard.NewRunID(), Tenant: tenant, Environment: "dev", Profile: "p", Server: "files"}
	_ = s.OpenSession(ctx, v)
	c := toolCall(v)
	_ = s.OpenCall(ctx, callOf(c))
	a := approval(v, c.ID, "after the damage")
	_ = s.Submit(ctx, a)
	_, _ = s.Decide(ctx, a.ID, yes(a))
	_ = s.Begin(ctx, intentFor(a))
	_, _ = s.Alerts(true)
	_, _ = s.Runs()
	_, _ = s.Prune(ctx, newClock().Now().Wall.Add(time.Hour))
	_ = s.Recover(ctx)
}

// TestDamageOfAClosedFileIsNoticedOrHarmless damages a closed database. Either
// it does not open, or the search finds the damage, or no content has changed.
// The process survives every operation on it.
func TestDamageOfAClosedFileIsNoticedOrHarmless(t *testing.T) {
	whole := busy(t)
	want := contents(t, whole.Path)
	data := must(os.ReadFile(whole.Path))(t)
	seeds := uint64(60)
	if testing.Short() {
		seeds = 20
	}
	refused, found, harmless := 0, 0, 0
	for seed := range seeds {
		what, damaged := harm(rand.New(rand.NewPCG(seed, 1)), data)
		o := copyFiles(t, whole)
		if err := os.WriteFile(o.Path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(o)
		if errors.Is(err, ErrLocked) {
			t.Fatalf("seed %d, %s: the lock stayed behind: %v", seed, what, err)
		}
		if err != nil {
			refused++
			continue
		}
		<-s.check.Load().done
		list := s.check.Load().damaged()
		if len(list) > 0 {
			found++
			if p := s.Damage(); !strings.Contains(p, "page") || !strings.Contains(p, "mcpguardd stop") {
				t.Errorf("seed %d, %s: the damage is %q", seed, what, p)
			}
			if seed%5 == 0 {
				closeAndFindAgain(t, s, o, fmt.Sprintf("seed %d, %s", seed, what))
				continue
			}
		} else {
			harmless++
			sameContents(t, s, want, fmt.Sprintf("seed %d, %s", seed, what))
		}
		use(s)
		_ = s.Close()
	}
	t.Logf("%d were refused, %d found, %d harmless", refused, found, harmless)
	if found == 0 || harmless == 0 || refused == 0 && !testing.Short() {
		t.Error("the damages are all of one kind")
	}
}

// closeAndFindAgain checks that closing the database does not make damage
// permanent: the next start finds it again.
func closeAndFindAgain(t *testing.T, s *Store, o Options, what string) {
	t.Helper()
	_ = s.Record(ctx, note(0)) // with it comes what was queued before
	alerts, err := s.Alerts(false)
	if err == nil && len(alerts) == 0 {
		t.Errorf("%s: there is no alert", what)
	}
	if err := s.Close(); err != nil {
		return
	}
	again, err := Open(o)
	if err != nil {
		return
	}
	defer again.Close()
	<-again.check.Load().done
	if len(again.check.Load().damaged()) == 0 {
		t.Errorf("%s: the next start finds nothing", what)
	}
}

func sameContents(t *testing.T, s *Store, want map[string]string, what string) {
	t.Helper()
	err := s.viewNow(func(tx *bolt.Tx) error {
		for k, v := range want {
			bucket, k, _ := strings.Cut(k, "\x00")
			if bucket == bucketMeta || bucket == bucketCheckpoints {
				continue // a start writes to them
			}
			if got := tx.Bucket([]byte(bucket)).Get([]byte(k)); string(got) != v {
				t.Errorf("%s: nothing was found, but %s %q is %.80q, want %.80q", what, bucket, k, got, v)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: nothing was found, but %v", what, err)
	}
}

// TestTruncatedFileDoesNotEndTheProcess reads beyond the end of a truncated
// file, which is a memory fault and not an error. The process survives and
// nothing runs.
func TestTruncatedFileDoesNotEndTheProcess(t *testing.T) {
	o := filled(t)
	o.WriteTimeout = 10 * time.Second
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	v := session(t, s)
	a := approved(t, s, v, "x")
	if err := os.Truncate(o.Path, 3*4096); err != nil {
		t.Fatal(err)
	}
	use(s)
	if err := s.Begin(ctx, intentFor(a)); err == nil {
		t.Error("a call began on a file that was cut")
	}
	_ = s.Close()
}

// TestDamageStopsWhatItTouches: damage to state that decisions rest on stops
// all execution, damage to an approval stops that approval, damage to history
// stops nothing.
func TestDamageStopsWhatItTouches(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a, b := approved(t, s, v, "a"), approved(t, s, v, "b")
	set := func(list ...Damage) { s.check.Load().found.Store(&list) }

	<-s.check.Load().done
	set(Damage{Page: 7, Bucket: bucketSwitches, Why: "x"})
	if p := s.Problem(); !strings.Contains(p, "page 7") || strings.Contains(p, "\n") {
		t.Errorf("the problem is %q", p)
	}
	if err := s.Begin(ctx, intentFor(a)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "page 7, all of switches") {
		t.Errorf("with damaged switches: %v", err)
	}
	row := key(tenant, string(a.ID))
	set(Damage{Page: 8, Bucket: bucketApprovals, Low: row, High: after(row), Why: "x"})
	if err := s.Begin(ctx, intentFor(a)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "page 8, approvals acme/"+string(a.ID)) {
		t.Errorf("with a damaged approval: %v", err)
	}
	if _, err := s.Approval(a.ID); !errors.Is(err, ErrDamaged) {
		t.Errorf("reading it: %v", err)
	}
	p := pending(t, s, v, "p")
	row = key(tenant, string(p.ID))
	set(Damage{Page: 8, Bucket: bucketApprovals, Low: row, High: after(row), Why: "x"})
	if _, err := s.Decide(ctx, p.ID, yes(p)); !errors.Is(err, ErrDamaged) {
		t.Errorf("allowing it: %v", err)
	}
	if _, err := s.Decide(ctx, p.ID, no(p)); err != nil {
		t.Errorf("denying it: %v", err)
	}
	if err := s.Begin(ctx, intentFor(b)); err != nil || s.Problem() != "" || s.Damage() == "" {
		t.Errorf("another approval: %v, problem %q, damage %q", err, s.Problem(), s.Damage())
	}
	set()
}

// TestDamageWhileOpenIsFoundAtTheNextStart: what is changed in the file while the
// daemon runs does not become what its checksums expect.
func TestDamageWhileOpenIsFoundAtTheNextStart(t *testing.T) {
	whole := busy(t)
	for _, bucket := range []string{bucketApprovals, bucketBlobs, bucketLeaves} {
		o := copyFiles(t, whole)
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		<-s.check.Load().done
		var value []byte
		err = s.viewNow(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(bucket)).ForEach(func(_, v []byte) error {
				if len(v) > len(value) {
					value = bytes.Clone(v)
				}
				return nil
			})
		})
		if err != nil || len(value) < 8 {
			t.Fatalf("%s: %d bytes, %v", bucket, len(value), err)
		}
		data := must(os.ReadFile(o.Path))(t)
		f := must(os.OpenFile(o.Path, os.O_WRONLY, 0))(t)
		for at := 0; ; { // an older page may hold it, too
			n := bytes.Index(data[at:], value)
			if n < 0 {
				break
			}
			if _, err := f.WriteAt([]byte{0x07, 0x07}, int64(at+n+len(value)/2)); err != nil {
				t.Fatal(err)
			}
			at += n + 1
		}
		if err := errors.Join(f.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		again, err := Open(o)
		if err != nil {
			continue // refused at once
		}
		<-again.check.Load().done
		if list := again.check.Load().damaged(); len(list) == 0 || list[0].Bucket != bucket {
			t.Errorf("%s: the next start found %v", bucket, list)
		}
		_ = again.Close()
	}
}
