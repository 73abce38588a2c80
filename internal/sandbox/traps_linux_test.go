package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFilesOfAnotherGroupAreNeverACommandsOwnFailure changes what belongs to a group
// that the sandbox does not know: the kernel refuses that there, and would not
// outside. The run says so, and is not taken for what the command does.
func TestFilesOfAnotherGroupAreNeverACommandsOwnFailure(t *testing.T) {
	for name, line := range map[string]string{
		"written": "echo more >> shared/f", "mode changed": "chmod 600 shared/f", "removed": "rm shared/f", "new beside it": "echo x > shared/g", "renamed": "mv shared/f shared/h",
		"a folder made in it": "mkdir -p shared/a/b", "a link made in it": "ln -s f shared/l", "one's own file in it written": "echo x >> shared/own",
	} {
		b := newBox(t)
		b.file("shared/f", "x\n")
		b.file("shared/own", "x\n")
		group := otherGroup(t)
		for _, at := range []string{"shared/f", "shared"} {
			if err := os.Chown(filepath.Join(b.ws, at), -1, group); err != nil {
				t.Skip("no file can be given to another group: ", err)
			}
		}
		r := b.sh(line)
		if r.Exit != 0 && r.Whole() {
			t.Errorf("%s: exit %d as if it were the command's own, %q, %s", name, r.Exit, output(r), changes(r))
		}
		b.spec.Copies = []string{b.ws} // nothing of it is in another group there
		if r := b.sh(line); r.Exit != 0 || !r.Whole() || len(r.Changes) == 0 {
			t.Errorf("%s, in a copy: exit %d, %v, %q, %s", name, r.Exit, r.Retry, output(r), changes(r))
		}
	}
}

// otherGroup is a group that is not this process's own first one.
func otherGroup(t *testing.T) int {
	t.Helper()
	if os.Geteuid() == 0 {
		return 54321
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(groups, func(g int) bool { return g != os.Getegid() }); i >= 0 {
		return groups[i]
	}
	t.Skip("this user is in one group alone")
	return 0
}

// TestFolderMadeAnewIsWhatIsInItNow removes folders and makes them again: what was
// in them is deleted, and nothing of how the layers say so lands.
func TestFolderMadeAnewIsWhatIsInItNow(t *testing.T) {
	b := newBox(t)
	for _, f := range []string{"d/a", "d/b", "d/sub/c", "e/x"} {
		b.file(f, f+"\n")
	}
	r := b.sh("rm -r d; mkdir d; echo new > d/n; echo other > d/b; mv e f; mkdir e; ! test -e d/a && ! test -e e/x")
	want := "delete f d/a, modify f d/b, add f d/n, delete f d/sub/c, delete d d/sub, delete f e/x, add d f, add f f/x"
	var got []string
	for _, line := range strings.Split(changes(r), ", ") {
		if !strings.HasPrefix(line, "touch ") {
			got = append(got, line)
		}
	}
	if strings.Join(got, ", ") != want || r.Exit != 0 {
		t.Fatalf("exit %d, got  %s\nwant %s", r.Exit, strings.Join(got, ", "), want)
	}
	for _, c := range r.Changes {
		for _, e := range []*Entry{c.Before, c.After} {
			for name := range entry(e).Xattrs {
				if strings.Contains(name, "overlay") {
					t.Errorf("%s carries %s", c.Path, name)
				}
			}
		}
	}
	l := &Landing{ID: "x1", Changes: r.Changes, Names: r.Names, Contents: r.Contents()}
	if _, err := l.Land(context.Background()); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(b.ws, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		names := make([]byte, 4096)
		n, err := unix.Llistxattr(path, names)
		if strings.Contains(string(names[:max(n, 0)]), "overlay") {
			t.Errorf("%s has landed with %q", path, names[:n])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, there := range map[string]bool{"d/a": false, "d/sub": false, "d/n": true, "e/x": false, "f/x": true} {
		if _, err := os.Lstat(filepath.Join(b.ws, path)); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}
	// The folder of the overlay's own work has no rights at all; it goes all the same.
	if left, err := os.ReadDir(b.spec.State); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func entry(e *Entry) Entry {
	if e == nil {
		return Entry{}
	}
	return *e
}

// TestStreamsOpenByTheirName writes to both streams by the names that programs and
// scripts open them by.
func TestStreamsOpenByTheirName(t *testing.T) {
	b := newBox(t)
	r := b.sh("echo a > /dev/stdout; echo b > /dev/stderr; echo c >> /dev/fd/1; echo d | tee /dev/stderr > /proc/self/fd/1; stat -Lc %F:%u /dev/stdout /dev/stderr")
	streams := map[bool]string{}
	for _, c := range r.Output {
		streams[c.Stderr] += string(c.Data)
	}
	own := "fifo:" + itoa(os.Geteuid()) + "\n"
	if got, want := streams[false], "a\nc\nd\n"+own+own; got != want || r.Exit != 0 {
		t.Errorf("exit %d, standard output %q, want %q", r.Exit, got, want)
	}
	if got, want := streams[true], "b\nd\n"; got != want {
		t.Errorf("standard error %q, want %q", got, want)
	}
	if !r.Unchanged() {
		t.Errorf("%v %s", r.Wanted, changes(r))
	}
}

// TestStreamsStandInTheirOrder writes to both streams a thousand times: in turn that
// comes out as it was written, and otherwise no line is far from its place.
func TestStreamsStandInTheirOrder(t *testing.T) {
	b := newBox(t)
	for name, c := range map[string]struct {
		stream string // of line i
		far    int
	}{
		"in turn":     {"1+i%2", 0},
		"in threes":   {"1+i//3%2", streamWrites},
		"rare errors": {"2 if i%50==49 else 1", streamWrites},
	} {
		r := b.sh("python3 -c 'import os\nfor i in range(1000): os.write(" + c.stream + ", b\"%d\\n\"%i)'")
		at := 0
		for line := range strings.Lines(output(r)) {
			n, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil || max(n-at, at-n) > c.far {
				t.Errorf("%s: line %d is %q", name, at, line)
			}
			at++
		}
		if at != 1000 || r.Exit != 0 {
			t.Errorf("%s: exit %d, %d lines", name, r.Exit, at)
		}
	}
	if r := b.sh("head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2"); len(output(r)) != 3000004 {
		t.Errorf("%d bytes of a long output", len(output(r)))
	}
}

// TestNothingOfAShellsStateOutlivesItsCommand runs two commands: the second has
// neither the first one's folder nor its variables, which no outcome claims.
func TestNothingOfAShellsStateOutlivesItsCommand(t *testing.T) {
	b := newBox(t)
	b.file("sub/x", "x")
	first := b.sh("cd sub && export STATE=1 && umask 027 && pwd && umask")
	if got := output(first); got != filepath.Join(b.ws, "sub")+"\n0027\n" || !first.Unchanged() {
		t.Errorf("%q, %+v", got, first.Wanted)
	}
	second := b.sh("pwd; echo ${STATE-none}; test $(umask) != 0027")
	if got, want := output(second), b.ws+"\nnone\n"; got != want || second.Exit != 0 {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestFoldersOnTheWayAreNotWanted makes a folder by its whole path: mkdir -p asks
// for each folder above it, too, which are there.
func TestFoldersOnTheWayAreNotWanted(t *testing.T) {
	b := newBox(t)
	if r := b.sh("mkdir -p " + b.ws + "/a/b /usr/bin / && test -d a/b"); len(r.Wanted) > 0 || r.Exit != 0 || changes(r) != "add d a, add d a/b" {
		t.Errorf("exit %d, wanted %v, %s, %q", r.Exit, r.Wanted, changes(r), output(r))
	}
	for _, line := range []string{"mkdir -p /usr/bin/none", "mkdir /nowhere", "rmdir /usr/bin", "mkdir " + filepath.Dir(b.ws) + "/beside"} {
		if r := b.sh(line); len(r.Wanted) == 0 {
			t.Errorf("%s: nothing is said", line)
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
