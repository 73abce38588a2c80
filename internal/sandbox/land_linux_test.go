package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// treeText writes everything that counts of a folder as text: types, modes,
// contents, links and which files are one.
func treeText(t testing.TB, root string) string {
	t.Helper()
	var out strings.Builder
	inodes := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s %o", rel, st.Mode)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %q", data)
			if st.Nlink > 1 {
				if inodes[st.Ino] == "" {
					inodes[st.Ino] = rel
				}
				fmt.Fprintf(&out, " =%s", inodes[st.Ino])
			}
		case unix.S_IFLNK:
			target, _ := os.Readlink(path)
			fmt.Fprintf(&out, " -> %s", target)
		}
		out.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (b *box) sample() {
	b.Helper()
	b.file("a.txt", "one\ntwo\n")
	b.file("dir/x", "x")
	b.file("dir/sub/y", "y")
	b.file("gone/1", "1")
	b.file("gone/deep/2", "2")
	b.file("run.sh", "echo hi\n")
	b.file("swap", "file")
	b.file("fold/k", "k")
	if err := os.Link(filepath.Join(b.ws, "dir/x"), filepath.Join(b.ws, "dir/x2")); err != nil {
		b.Fatal(err)
	}
}

var landed = []string{
	"sed -i s/one/uno/ a.txt",
	"rm -r gone",
	"mkdir -p new/deep; for i in 1 2 3; do echo $i > new/deep/$i; done; chmod 600 new/deep/2; mkdir new/empty",
	"chmod +x run.sh; ln -s ../a.txt dir/link",
	"rm swap; mkdir swap; echo in > swap/in",
	"rm -r fold; echo now a file > fold",
	"chmod 700 dir/sub; touch -d 2020-01-01 a.txt",
	"mv a.txt dir/; printf 'bytes \\377\\000' > b.bin; echo > \"$(printf 'odd \\\\ name \\377')\"",
	"echo n > n1; ln n1 n2; ln n1 dir/n3",
	"mv dir moved",
	"ln dir/x another; echo more >> dir/x2",
	"rm -rf dir fold gone; echo x > dir",
	"tar cf - dir | (mkdir c && cd c && tar xf -); rm a.txt",
	"true",
}

func (b *box) landing(r *Run, id string) *Landing {
	kept, err := os.CreateTemp(b.TempDir(), "kept")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { kept.Close() })
	return &Landing{ID: id, Changes: r.Changes, Names: r.Names, Contents: r.Contents(), Kept: kept}
}

// run runs a line in an overlay, and in a copy where an overlay does not do.
func (b *box) run(line string) *Run {
	b.Helper()
	b.spec.Copies = nil
	// What was written within the tick in which a run begins counts as changed
	// meanwhile, and a busy machine can be late with its ticks.
	for written := time.Now(); !coarseNow().After(written); {
		runtime.Gosched()
	}
	r := b.sh(line)
	if len(r.Retry) > 0 {
		b.spec.Copies = []string{b.ws}
		r = b.sh(line)
	}
	if !r.Whole() {
		b.Fatalf("%s: wanted %v, retry %v, left %v, stopped %q, moved %v", line, r.Wanted, r.Retry, r.Left, r.Stopped, r.Moved)
	}
	return r
}

// TestPromise10_LandingIsWhatRunningDoes compares, for each line, a folder in
// which it ran with one on which its changes were landed, and then takes them
// back.
func TestPromise10_LandingIsWhatRunningDoes(t *testing.T) {
	for i, line := range landed {
		b := newBox(t)
		b.sample()
		before := treeText(t, b.ws)
		r := b.run(line)
		if treeText(t, b.ws) != before {
			t.Fatalf("%s: the run changed the real folder", line)
		}
		l := b.landing(r, fmt.Sprint("t", i))
		kept, err := l.Land(context.Background())
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		direct := newBox(t)
		direct.sample()
		cmd := exec.Command("bash", "-c", line)
		cmd.Dir = direct.ws
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", line, err, out)
		}
		if got, want := treeText(t, b.ws), treeText(t, direct.ws); got != want {
			t.Errorf("%s:\n--- landed\n%s--- direct\n%s", line, got, want)
		}
		if p, err := l.Progress(); p != Landed || err != nil {
			t.Errorf("%s: progress %d, %v", line, p, err)
		}
		back := &Landing{ID: "back", Changes: Reversed(l.Changes, kept), Contents: l.Kept}
		if _, err := back.Land(context.Background()); err != nil {
			t.Errorf("taking %q back: %v", line, err)
		} else if got := withoutLinks(treeText(t, b.ws)); got != withoutLinks(before) {
			t.Errorf("taking %q back:\n--- got\n%s--- want\n%s", line, got, before)
		}
	}
}

// withoutLinks forgets which files are one: to take a change back makes two of
// a file of which both names were replaced.
func withoutLinks(s string) string {
	lines := strings.SplitAfter(s, "\n")
	for i, l := range lines {
		if at := strings.LastIndex(l, " ="); at >= 0 {
			lines[i] = l[:at] + "\n"
		}
	}
	return strings.Join(lines, "")
}

// TestPromise10_WhatMovedMeanwhileIsNotLandedOver changes something after the run
// and before the landing: nothing may change then.
func TestPromise10_WhatMovedMeanwhileIsNotLandedOver(t *testing.T) {
	for _, c := range []struct{ line, meanwhile string }{
		{"sed -i s/one/uno/ a.txt", "echo other >> a.txt"},
		{"sed -i s/one/uno/ a.txt", "chmod 600 a.txt"},
		{"echo x >> run.sh; rm -r gone", "echo new > gone/deep/3"},
		{"echo x >> run.sh; echo n > dir/new", "mkdir dir/new"},
		{"echo x >> run.sh; echo n > dir/new", "mv dir elsewhere; ln -s elsewhere dir"},
		{"echo x >> run.sh; rmdir void", "touch void/x"},
		{"echo x >> run.sh; ln -sf a.txt dir/l", "ln -s run.sh dir/l"},
		{"echo x >> run.sh; rm swap; mkdir swap", "echo changed > swap"},
	} {
		b := newBox(t)
		b.sample()
		os.Mkdir(filepath.Join(b.ws, "void"), 0o755)
		r := b.run(c.line)
		cmd := exec.Command("bash", "-c", c.meanwhile)
		cmd.Dir = b.ws
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", c.meanwhile, err, out)
		}
		before := treeText(t, b.ws)
		var moved *MovedError
		if _, err := b.landing(r, "m").Land(context.Background()); !errors.As(err, &moved) {
			t.Errorf("%s over %s: %v", c.line, c.meanwhile, err)
		}
		if after := treeText(t, b.ws); after != before {
			t.Errorf("%s over %s changed\n%s", c.line, c.meanwhile, after)
		}
	}
}

// TestPromise5_AnInterruptedLandingIsFinishedOrNotBegun stops a landing at each of
// its steps as a crash would, and lets Finish go on.
func TestPromise5_AnInterruptedLandingIsFinishedOrNotBegun(t *testing.T) {
	defer func(h func(string)) { landingHook = h }(landingHook)
	const line = "sed -i s/one/uno/ a.txt; rm -r gone; mkdir -p new/deep; echo 1 > new/deep/1; rm swap; mkdir swap; echo in > swap/in; chmod 700 dir; ln -s x dir/l"
	type crash struct{}
	for stop := 1; ; stop++ {
		b := newBox(t)
		b.sample()
		before := treeText(t, b.ws)
		r := b.run(line)
		l := b.landing(r, "c")
		n := 0
		landingHook = func(string) {
			if n++; n == stop {
				panic(crash{})
			}
		}
		crashed := false
		func() {
			defer func() {
				if p := recover(); p != nil {
					if _, ok := p.(crash); !ok {
						panic(p)
					}
					crashed = true
				}
			}()
			if _, err := l.Land(context.Background()); err != nil {
				t.Fatal(err)
			}
		}()
		landingHook = func(string) {}
		if !crashed {
			if stop < 10 {
				t.Fatalf("only %d steps", stop)
			}
			return
		}
		l2 := &Landing{ID: "c", Changes: r.Changes, Contents: r.Contents()}
		p, err := l2.Finish()
		after := treeText(t, b.ws)
		switch {
		case err != nil || p != Landed && p != NotBegun:
			t.Fatalf("stopped at %d: %d, %v\n%s", stop, p, err, after)
		case p == NotBegun && after != before:
			t.Fatalf("stopped at %d: not begun, but\n%s", stop, after)
		case strings.Contains(after, ".mcpguard-"):
			t.Fatalf("stopped at %d: left behind\n%s", stop, after)
		case p == Landed && !strings.Contains(after, "uno"):
			t.Fatalf("stopped at %d: landed, but\n%s", stop, after)
		}
	}
}

// TestPromise2_ADamagedRecordIsNotLanded changes a byte of what was recorded.
func TestPromise2_ADamagedRecordIsNotLanded(t *testing.T) {
	b := newBox(t)
	b.sample()
	before := treeText(t, b.ws)
	r := b.run("echo x >> run.sh; echo some text > a.txt")
	at := bytes.Index(readAll(t, r.Contents()), []byte("some"))
	if _, err := r.Contents().WriteAt([]byte("S"), int64(at)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.landing(r, "d").Land(context.Background()); err == nil || treeText(t, b.ws) != before {
		t.Errorf("%v\n%s", err, treeText(t, b.ws))
	}
}

func readAll(t *testing.T, f *os.File) []byte {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, st.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
	return data
}
