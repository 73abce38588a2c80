package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

func TestOpenRefuses(t *testing.T) {
	write := func(data string) func(*testing.T, Options) Options {
		return func(t *testing.T, o Options) Options {
			if err := os.WriteFile(o.Path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
			return o
		}
	}
	cut := func(keep int64) func(*testing.T, Options) Options {
		return func(t *testing.T, _ Options) Options {
			o := filled(t)
			if err := os.Truncate(o.Path, keep); err != nil {
				t.Fatal(err)
			}
			return o
		}
	}
	for name, c := range map[string]struct {
		make func(*testing.T, Options) Options
		want error
	}{
		"missing":           {func(_ *testing.T, o Options) Options { o.CreateNew = false; return o }, ErrMissing},
		"empty":             {write(""), ErrMissing},
		"text":              {write(strings.Repeat("hello ", 10_000)), ErrMissing},
		"one page":          {cut(4096), ErrMissing},
		"half":              {cut(40_960), ErrMissing},
		"zeros in the meta": {func(t *testing.T, _ Options) Options { o := filled(t); scribble(t, o.Path, 0, 8192); return o }, ErrMissing},
		"gone after it was": {func(t *testing.T, _ Options) Options { o := filled(t); os.Remove(o.Path); return o }, ErrMissing},
		"a folder":          {func(t *testing.T, o Options) Options { os.Mkdir(o.Path, 0o700); return o }, ErrMissing},
		"a link": {func(t *testing.T, o Options) Options {
			old := filled(t)
			os.Symlink(old.Path, o.Path)
			return o
		}, ErrMissing},
		"another program's": {func(t *testing.T, o Options) Options {
			db := must(bolt.Open(o.Path, 0o600, nil))(t)
			db.Close()
			return o
		}, ErrMissing},
		"later version": {func(t *testing.T, _ Options) Options {
			o := filled(t)
			db := must(bolt.Open(o.Path, 0o600, nil))(t)
			defer db.Close()
			err := db.Update(func(tx *bolt.Tx) error {
				return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaSchema), fmt.Append(nil, schemaVersion+1))
			})
			if err != nil {
				t.Fatal(err)
			}
			return o
		}, ErrSchema},
	} {
		t.Run(name, func(t *testing.T) {
			o := c.make(t, options(t))
			if s, err := Open(o); !errors.Is(err, c.want) {
				t.Errorf("opened: %v", err)
				if err == nil {
					s.Close()
				}
			}
		})
	}
}

// scribble overwrites a part of a file with zeros.
func scribble(t *testing.T, path string, from, to int64) {
	t.Helper()
	f := must(os.OpenFile(path, os.O_RDWR, 0))(t)
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, to-from), from); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedPagesDoNotPanic overwrites each page behind the meta pages, in a
// closed database and in one whose daemon was killed. Whatever bbolt does with
// it, nothing panics and no lock stays behind.
func TestDamagedPagesDoNotPanic(t *testing.T) {
	for _, killed := range []bool{false, true} {
		o := filled(t)
		if killed {
			forgetFreelist(t, o.Path)
		}
		o.LockTimeout = 1 // a lock that is held is held for good
		whole := must(os.ReadFile(o.Path))(t)
		opened := 0
		for at := int64(8192); at < int64(len(whole)); at += 4096 {
			if bytes.Count(whole[at:at+4096], []byte{0}) == 4096 {
				continue // never written
			}
			every := int64(7)
			if testing.Short() {
				every = 40
			}
			if n := at / 4096; n > 6 && n%every != 0 && at < used(whole)-6*4096 {
				continue // one of many alike
			}
			for _, junk := range [][]byte{{0xA5, 0x02, 0xFF}, {0}, {0xFF}} {
				damaged := bytes.Clone(whole)
				copy(damaged[at:at+4096], bytes.Repeat(junk, 4096/len(junk)))
				if err := os.WriteFile(o.Path, damaged, 0o600); err != nil {
					t.Fatal(err)
				}
				if s, err := Open(o); err == nil {
					opened++
					_, _ = s.Verify(ctx)
					_, _ = s.Events(EventFilter{})
					_ = s.Record(ctx, note(1))
					_ = s.Close()
				}
				if l, err := OpenLog(o); err == nil {
					_, _ = l.Verify(ctx)
					_ = l.Close()
				} else if errors.Is(err, ErrLocked) {
					t.Fatalf("page %d: the lock stayed behind", at/4096)
				}
			}
		}
		t.Logf("killed %v: %d damaged files opened", killed, opened)
	}
}

// used returns where the last page that was written begins.
func used(file []byte) int64 {
	at := int64(len(file)) - 4096
	for at > 0 && bytes.Count(file[at:at+4096], []byte{0}) == 4096 {
		at -= 4096
	}
	return at
}

// forgetFreelist leaves the file as a killed daemon does: without the list of
// free pages.
func forgetFreelist(t testing.TB, path string) {
	t.Helper()
	db := must(bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true}))(t)
	defer db.Close()
	err := db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put([]byte("touched"), nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	f := must(os.Open(path))(t)
	defer f.Close()
	if m, ok := newestMeta(f); !ok || m.freelist != 0 {
		t.Fatalf("the meta page says %+v", m)
	}
}

func TestOpenRefusesWhileLocked(t *testing.T) {
	o := options(t)
	o.LockTimeout = 1
	s := open(t, o)
	if _, err := Open(o); !errors.Is(err, ErrLocked) {
		t.Errorf("a second daemon: %v", err)
	}
	if _, err := OpenLog(o); !errors.Is(err, ErrLocked) {
		t.Errorf("the log while a daemon runs: %v", err)
	}
	for _, suffix := range []string{"", ".key", ".head"} {
		info, err := os.Stat(o.Path + suffix)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("guard.db%s: %v %v", suffix, info, err)
		}
	}
	shut(t, s)
	if err := os.Chmod(o.Path, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, o)
	if info := must(os.Stat(o.Path))(t); info.Mode().Perm() != 0o600 {
		t.Errorf("the mode stayed %v", info.Mode())
	}
}

// TestFirstStartIsInterrupted recreates the files of a daemon that died while
// it created the database.
func TestFirstStartIsInterrupted(t *testing.T) {
	o := options(t)
	for _, suffix := range []string{".new-123", ".head.tmp-1", ".key.tmp-2", ".journal.tmp-3"} {
		if err := os.WriteFile(o.Path+suffix, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, o)
	if left, _ := filepath.Glob(o.Path + "*-*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := s.Record(ctx, note(1)); err != nil {
		t.Error(err)
	}
}

// FuzzPages damages a database whose daemon was killed. If the page walk finds
// nothing wrong, bbolt must also be able to read it: it walks the pages in a
// goroutine where a panic ends the program.
func FuzzPages(f *testing.F) {
	whole := must(os.ReadFile(fixture(1)))(f)
	for _, at := range []uint32{4096, 8192, 8192 + 10, 8192 + 12, 8192 + 16, 3*4096 + 8, 10 * 4096} {
		f.Add(at, []byte{0xff, 0xff})
		f.Add(at, []byte{0})
	}
	path := filepath.Join(f.TempDir(), "db")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		f.Fatal(err)
	}
	forgetFreelist(f, path)
	whole = must(os.ReadFile(path))(f)
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		damaged := bytes.Clone(whole)
		copy(damaged[int(at)%len(damaged):], patch)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, walked := checkFile(path)
		db, err := openFile(path, false, 1)
		if errors.Is(err, ErrLocked) {
			t.Fatal("the lock stayed behind")
		}
		if walked == nil && err != nil {
			t.Fatalf("the walk found nothing, yet: %v", err)
		}
		if err == nil {
			db.Close()
		}
	})
}
