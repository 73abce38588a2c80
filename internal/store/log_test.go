package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/tlog"
)

const records = 700 // more than one page, and no power of two

// filled writes a log of some length and closes it.
func filled(t *testing.T) Options {
	t.Helper()
	o := options(t)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		s.RecordAsync(note(i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

// edit changes the file as someone with write access could.
func edit(t *testing.T, o Options, fn func(leaves, hashes, points *bolt.Bucket) error) {
	t.Helper()
	db, err := bolt.Open(o.Path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		return fn(tx.Bucket([]byte(bucketLeaves)), tx.Bucket([]byte(bucketHashes)), tx.Bucket([]byte(bucketCheckpoints)))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rehash recomputes the stored hashes from the records, as a careful forger
// would.
func rehash(leaves, hashes *bolt.Bucket) error {
	var all [][]byte
	each(leaves, nil, func(_, v []byte) bool { all = append(all, bytes.Clone(v)); return true })
	var keys [][]byte
	each(hashes, nil, func(k, _ []byte) bool { keys = append(keys, bytes.Clone(k)); return true })
	for _, k := range keys {
		if err := hashes.Delete(k); err != nil {
			return err
		}
	}
	for i, data := range all {
		stored, err := tlog.StoredHashes(int64(i), data, storedHashes{hashes})
		if err != nil {
			return err
		}
		for j, h := range stored {
			if err := hashes.Put(number(tlog.StoredHashIndex(0, int64(i))+int64(j)), bytes.Clone(h[:])); err != nil {
				return err
			}
		}
	}
	return nil
}

func flip(leaves *bolt.Bucket, at int64) error {
	data := bytes.Clone(leaves.Get(number(at)))
	i := bytes.Index(data, []byte(`"reason":"`)) + len(`"reason":"`)
	data[i] ^= 1
	return leaves.Put(number(at), data)
}

// TestPromise5_DamageIsFound edits the file in every way and expects the first
// bad record to be named.
func TestPromise5_DamageIsFound(t *testing.T) {
	const at = 321
	for name, c := range map[string]struct {
		edit        func(leaves, hashes, points *bolt.Bucket) error
		first, last int64 // the range in which the first bad record must be reported
		says        string
	}{
		"flipped": {func(l, _, _ *bolt.Bucket) error { return flip(l, at) }, at, at, "hash is stored"},
		"dropped": {func(l, _, _ *bolt.Bucket) error { return l.Delete(number(at)) }, at, at, "missing"},
		"dropped and moved up": {func(l, _, _ *bolt.Bucket) error {
			for i := int64(at); i < records-1; i++ {
				if err := l.Put(number(i), bytes.Clone(l.Get(number(i+1)))); err != nil {
					return err
				}
			}
			return l.Delete(number(records - 1))
		}, at, at, "hash is stored"},
		"reordered": {func(l, _, _ *bolt.Bucket) error {
			a, b := bytes.Clone(l.Get(number(at))), bytes.Clone(l.Get(number(at+5)))
			return errors.Join(l.Put(number(at), b), l.Put(number(at+5), a))
		}, at, at, "hash is stored"},
		"truncated": {func(l, _, _ *bolt.Bucket) error { return l.Delete(number(records - 1)) }, records - 1, records - 1, "truncated"},
		"first":     {func(l, _, _ *bolt.Bucket) error { return l.Delete(number(0)) }, 0, 0, "missing"},
		"no event":  {func(l, _, _ *bolt.Bucket) error { return l.Put(number(at), []byte("{}")) }, at, at, "no event"},
		"not canonical": {func(l, _, _ *bolt.Bucket) error {
			return l.Put(number(at), append(bytes.Clone(l.Get(number(at))), ' '))
		}, at, at, "no event"},
		"hash of a leaf":  {func(_, h, _ *bolt.Bucket) error { return h.Put(number(tlog.StoredHashIndex(0, at)), make([]byte, 32)) }, at, at, "hash is stored"},
		"hash of a node":  {func(_, h, _ *bolt.Bucket) error { return h.Put(number(tlog.StoredHashIndex(3, 4)), make([]byte, 32)) }, 39, 39, "does not follow"},
		"hash is missing": {func(_, h, _ *bolt.Bucket) error { return h.Delete(number(tlog.StoredHashIndex(0, at))) }, at, at, "hash is stored"},
		"flipped and rehashed": {func(l, h, _ *bolt.Bucket) error {
			return errors.Join(flip(l, at), rehash(l, h))
		}, at, records - 1, "recomputed"},
		"truncated and rehashed": {func(l, h, _ *bolt.Bucket) error {
			return errors.Join(l.Delete(number(records-1)), l.Delete(number(records-2)), rehash(l, h))
		}, records - 2, records - 1, "rolled back"},
		"extended and rehashed": {func(l, h, _ *bolt.Bucket) error {
			return errors.Join(l.Put(number(records), bytes.Clone(l.Get(number(0)))), flip(l, at), rehash(l, h))
		}, at, records - 1, "recomputed"},
		"a forged checkpoint": {func(_, _, p *bolt.Bucket) error {
			k, _ := p.Cursor().Last()
			return p.Put(bytes.Clone(k), []byte("mcpguard/0\n1\nAAAA\n\n— x AAAA\n"))
		}, 0, 0, "signature"},
		"emptied": {func(l, h, p *bolt.Bucket) error {
			for _, b := range []*bolt.Bucket{l, h, p} {
				var keys [][]byte
				each(b, nil, func(k, _ []byte) bool { keys = append(keys, bytes.Clone(k)); return true })
				for _, k := range keys {
					if err := b.Delete(k); err != nil {
						return err
					}
				}
			}
			return nil
		}, 0, records - 1, "rolled back"},
	} {
		t.Run(name, func(t *testing.T) {
			o := filled(t)
			l := must(OpenLog(o))(t)
			if r := must(l.Verify(ctx))(t); !r.OK() || r.Size != records || r.Signed != records || r.Checkpoints < 2 {
				t.Fatalf("before the damage: %+v", r)
			}
			l.Close()
			edit(t, o, c.edit)
			l = must(OpenLog(o))(t)
			r := must(l.Verify(ctx))(t)
			l.Close()
			if r.OK() || r.FirstBad > c.first || r.LastBad < c.first || r.LastBad > c.last || !strings.Contains(r.Problem, c.says) {
				t.Errorf("report: %+v", r)
			}
		})
	}
}

// TestRolledBackDatabaseIsNotTrusted puts an older copy of the database in place.
func TestRolledBackDatabaseIsNotTrusted(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	ready, waiting := approved(t, s, v, "ready"), pending(t, s, v, "waiting")
	shut(t, s)
	old, oldJournal := must(os.ReadFile(o.Path))(t), must(os.ReadFile(o.Path+".journal"))(t)
	s = open(t, o)
	if err := s.Begin(ctx, intentFor(ready)); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	if err := errors.Join(os.WriteFile(o.Path, old, 0o600), os.WriteFile(o.Path+".journal", oldJournal, 0o600)); err != nil {
		t.Fatal(err)
	}
	l := must(OpenLog(o))(t)
	if r := must(l.Verify(ctx))(t); r.OK() || !strings.Contains(r.Problem, "rolled back") {
		t.Errorf("offline: %+v", r)
	}
	l.Close()

	s = open(t, o)
	alerts := must(s.Alerts(false))(t)
	if len(alerts) != 1 || alerts[0].Kind != AlertRolledBack {
		t.Errorf("alerts: %+v", alerts)
	}
	// What the old file lists as approved has already been used.
	for _, a := range []guard.Approval{ready, waiting} {
		if st := status(t, s, a.ID); st != guard.Cancelled {
			t.Errorf("%s is %s", a.ID, st)
		}
	}
	if err := s.Begin(ctx, intentFor(ready)); state(err) != guard.Cancelled {
		t.Errorf("used twice: %v", err)
	}
	if lost, _ := filepath.Glob(o.Path + ".head.lost-*"); len(lost) != 1 {
		t.Errorf("the old head is kept as %v", lost)
	}
	// From here on the log is whole again, and says what happened.
	s = reopen(t, s, o)
	if r := must(s.Verify(ctx))(t); !r.OK() {
		t.Errorf("afterwards: %+v", r)
	}
	if e := events(t, s, audit.AlertRaised); len(e) != 1 || e[0].Rule != AlertRolledBack {
		t.Errorf("events: %+v", e)
	}
}

func TestHeadOrKeyIsMissing(t *testing.T) {
	for suffix, want := range map[string][]string{".head": {AlertHeadMissing}, ".key": {AlertKeyChanged}} {
		o := filled(t)
		if err := os.Remove(o.Path + suffix); err != nil {
			t.Fatal(err)
		}
		s := open(t, o)
		var got []string
		for _, a := range must(s.Alerts(false))(t) {
			got = append(got, a.Kind)
		}
		if !slices.Equal(got, want) {
			t.Errorf("without %s: alerts %v, want %v", suffix, got, want)
		}
		s = reopen(t, s, o)
		if r := must(s.Verify(ctx))(t); !r.OK() {
			t.Errorf("without %s: %+v", suffix, r)
		}
		if got := must(s.Alerts(true))(t); len(got) != len(want) {
			t.Errorf("without %s, the second time: %+v", suffix, got)
		}
	}
}

func TestProofs(t *testing.T) {
	s := open(t, options(t))
	var points []audit.Checkpoint
	for i := range 40 {
		points = append(points, must(audit.OpenCheckpoint(must(s.Checkpoint())(t), s.Verifier()))(t))
		if err := s.Record(ctx, note(i)); err != nil {
			t.Fatal(err)
		}
	}
	now := must(audit.OpenCheckpoint(must(s.Checkpoint())(t), s.Verifier()))(t)
	for _, p := range points {
		proof := must(s.ProveConsistency(now.Size, p.Size))(t)
		if err := audit.CheckConsistency(p, now, proof); err != nil {
			t.Errorf("from %d to %d: %v", p.Size, now.Size, err)
		}
		if p.Size == 0 {
			continue
		}
		forged := p
		forged.Root[0] ^= 1
		if audit.CheckConsistency(forged, now, proof) == nil {
			t.Errorf("from %d: a forged root was taken", p.Size)
		}
		if audit.CheckConsistency(now, p, proof) == nil {
			t.Errorf("from %d back to %d", now.Size, p.Size)
		}
	}
	for _, r := range must(s.Events(EventFilter{}))(t) {
		proof := must(s.ProveRecord(now.Size, r.Index))(t)
		if err := tlog.CheckRecord(proof, now.Size, now.Root, r.Index, tlog.RecordHash(r.Raw)); err != nil {
			t.Errorf("record %d: %v", r.Index, err)
		}
	}
	if _, err := s.ProveRecord(now.Size, now.Size); err == nil {
		t.Error("a record beyond the end was proven")
	}
	if _, err := s.ProveConsistency(now.Size+1, 1); err == nil {
		t.Error("a later log was proven")
	}
}

func TestEventsAndExport(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a := pending(t, s, v, "x")
	for i := range 1200 {
		s.RecordAsync(note(i))
	}
	must(s.Decide(ctx, a.ID, no(a)))(t)
	last := s.Size() - 1
	for name, c := range map[string]struct {
		f    EventFilter
		want []int64
	}{
		"first":        {EventFilter{Limit: 2}, []int64{0, 1}},
		"from":         {EventFilter{From: 600, Limit: 3}, []int64{600, 601, 602}},
		"newest":       {EventFilter{Newest: true, Limit: 2}, []int64{last, last - 1}},
		"newest, from": {EventFilter{Newest: true, From: 700, Limit: 2}, []int64{700, 699}},
		"run":          {EventFilter{Run: v.RunID}, []int64{0, 1, 2, last}},
		"about":        {EventFilter{About: a.ID, Newest: true}, []int64{last, 2}},
		"type":         {EventFilter{Types: []audit.Type{audit.ApprovalDecided}}, []int64{last}},
		"beyond":       {EventFilter{From: 5000}, nil},
		"nobody's":     {EventFilter{Run: guard.NewRunID()}, nil},
	} {
		var got []int64
		for _, r := range must(s.Events(c.f))(t) {
			got = append(got, r.Index)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if n := len(must(s.Events(EventFilter{}))(t)); n != 1000 {
		t.Errorf("without a limit: %d", n)
	}
	var out bytes.Buffer
	if err := s.Export(ctx, &out, 3); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if int64(len(lines)) != s.Size()-3 {
		t.Errorf("%d lines", len(lines))
	}
	for i, l := range lines {
		if _, err := audit.Decode([]byte(l)); err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
	}
}

func TestVerifyWhileItGrows(t *testing.T) {
	s := open(t, options(t))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends when stop is closed; the test waits for it
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.RecordAsync(note(i))
			}
		}
	}()
	for range 20 {
		if r := must(s.Verify(ctx))(t); !r.OK() {
			t.Errorf("%+v", r)
			break
		}
	}
	close(stop)
	<-stopped
}
