package sandbox

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRulesGrowWithTheKernel holds what a ruleset asks of each version: a right
// that a kernel does not know would make it refuse the whole.
func TestRulesGrowWithTheKernel(t *testing.T) {
	var before uint64
	for abi := firstABI; abi <= 9; abi++ {
		attr, write := rulesetFor(abi)
		if attr.Handled_access_fs&before != before || attr.Handled_access_fs&write != write {
			t.Errorf("version %d handles %x, writes %x, before %x", abi, attr.Handled_access_fs, write, before)
		}
		for right, first := range map[uint64]int{
			unix.LANDLOCK_ACCESS_FS_REFER: 2, unix.LANDLOCK_ACCESS_FS_TRUNCATE: 3, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV: 5,
		} {
			if (write&right != 0) != (abi >= first) {
				t.Errorf("version %d: right %x is %v", abi, right, write&right != 0)
			}
		}
		if (attr.Scoped != 0) != (abi >= 6) || attr.Handled_access_net != 0 || write&accessDevices != 0 {
			t.Errorf("version %d: %+v", abi, attr)
		}
		before = attr.Handled_access_fs
	}
}

func TestWallLeavesClosedPathsUnasked(t *testing.T) {
	w := wallOf(Spec{Trees: []string{"/w", "/x/w"}, Visible: []string{"/usr", "/x/prog"}, Closed: []string{"/x"}, Scratch: []Scratch{{Path: "/home/c"}}})
	if got := strings.Join(w.Write, " ") + " | " + strings.Join(w.Run, " "); got != "/w /x/w /dev /run /home/c | /usr /x/prog" {
		t.Error(got)
	}
	w = wallOf(Spec{Trees: []string{"/w"}, Visible: []string{"/usr", "/w/keys/prog"}, Closed: []string{"/w/keys", "/w/keys/prog"}})
	if got := strings.Join(w.Run, " "); got != "/usr" {
		t.Error(got)
	}
}

// TestPromise10_WallHoldsWithoutMounts puts a thread behind the wall alone, with
// the whole machine mounted as it is: it must not matter what mounts let through.
func TestPromise10_WallHoldsWithoutMounts(t *testing.T) {
	abi := LandlockABI()
	if abi == 0 {
		t.Skip("the kernel offers no Landlock")
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for _, d := range []string{"root/a", "root/b/deep", "root/shown"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"outside", "root/shown/prog", "root/kept", "root/a/f", "root/a/prog"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("text"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	name := "@mcpguard-wall-" + strconv.Itoa(os.Getpid())
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	steps := map[string]struct {
		do   func() error
		want error
	}{
		"read inside":                   {func() error { _, err := os.ReadFile(root + "/kept"); return err }, nil},
		"list inside":                   {func() error { _, err := os.ReadDir(root); return err }, nil},
		"read outside":                  {func() error { _, err := os.ReadFile(dir + "/outside"); return err }, unix.EACCES},
		"list outside":                  {func() error { _, err := os.ReadDir(dir); return err }, unix.EACCES},
		"write outside":                 {func() error { return os.WriteFile(dir+"/outside", nil, 0o644) }, unix.EACCES},
		"write what is only shown":      {func() error { return os.WriteFile(root+"/kept", nil, 0o644) }, unix.EACCES},
		"truncate what is only shown":   {func() error { return os.Truncate(root+"/kept", 0) }, unix.EACCES},
		"remove what is only shown":     {func() error { return os.Remove(root + "/kept") }, unix.EACCES},
		"make beside what is shown":     {func() error { return os.Mkdir(root+"/shown/d", 0o755) }, unix.EACCES},
		"move away what is shown":       {func() error { return os.Rename(root+"/kept", root+"/a/kept") }, unix.EACCES},
		"move out":                      {func() error { return os.Rename(root+"/a/prog", dir+"/prog") }, unix.EACCES},
		"run what is only shown":        {func() error { return unix.Exec(root+"/kept", []string{"x"}, nil) }, unix.EACCES},
		"run a program that is shown":   {func() error { return unix.Exec(root+"/shown/prog", []string{"x"}, nil) }, unix.ENOEXEC},
		"run a program of one's own":    {func() error { return unix.Exec(root+"/a/prog", []string{"x"}, nil) }, unix.ENOEXEC},
		"make, cut, move, link, remove": {func() error { return legitimate(root) }, nil},
		"a device":                      {func() error { return unix.Mknod(root+"/a/dev", unix.S_IFCHR, 0) }, unix.EACCES},
		"a program of one's own ended":  {func() error { return unix.Kill(os.Getpid(), 0) }, nil},
	}
	if abi >= 6 {
		steps["a signal to another's process"] = struct {
			do   func() error
			want error
		}{func() error { return unix.Kill(os.Getppid(), 0) }, unix.EPERM}
		steps["another's abstract socket"] = struct {
			do   func() error
			want error
		}{func() error { return connectAbstract(name[1:]) }, unix.EPERM}
	}
	done := make(chan struct{})
	go func() { // ends with the steps; its thread, which stays behind the wall, ends with it
		defer close(done)
		runtime.LockOSThread()
		set, err := wall{Write: []string{"/a", "/b"}, Run: []string{"/shown", "/not-there"}}.ruleset(root, abi)
		if err != nil {
			t.Error(err)
			return
		}
		if err := errors.Join(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), enclose(set)); err != nil {
			t.Error(err)
			return
		}
		for step, s := range steps {
			if err := s.do(); !errors.Is(err, s.want) {
				t.Errorf("%s: %v, want %v", step, err, s.want)
			}
		}
	}()
	<-done
	if text, err := os.ReadFile(dir + "/outside"); err != nil || string(text) != "text" {
		t.Errorf("the wall reached beyond its thread, or let something through: %q, %v", text, err)
	}
}

// legitimate does what commands do in the folders where they may write.
func legitimate(root string) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: root + "/a/sock"})
	if err != nil {
		return err
	}
	l.Close()
	return errors.Join(
		os.WriteFile(root+"/a/new", []byte("long"), 0o644), os.Truncate(root+"/a/new", 1), os.WriteFile(root+"/a/f", nil, fs.ModePerm),
		os.Link(root+"/a/new", root+"/b/deep/linked"), os.Rename(root+"/a/new", root+"/b/moved"), os.Symlink("moved", root+"/b/link"),
		os.Mkdir(root+"/a/d", 0o755), os.Rename(root+"/a/d", root+"/b/d"), unix.Mkfifo(root+"/b/d/pipe", 0o644), os.RemoveAll(root+"/b/d"),
	)
}

func connectAbstract(name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: "@" + name})
}

// TestCommandIsBehindTheWall tells the wall of a run by what it alone forbids, and
// that it is in the way of nothing else.
func TestCommandIsBehindTheWall(t *testing.T) {
	if LandlockABI() == 0 {
		t.Skip("the kernel offers no Landlock")
	}
	b := newBox(t)
	r := b.sh(`python3 - <<'P'
import os, signal, socket, stat
try: os.mknod("/dev/shm/w", stat.S_IFCHR); print("made a device")
except PermissionError: print("no device")
os.makedirs("a"); os.makedirs("b/c"); open("a/f", "w").write("long")
os.truncate("a/f", 1); os.rename("a/f", "b/c/f"); os.link("b/c/f", "a/g"); os.rename("b/c", "a/c"); os.remove("a/g")
open("/dev/null", "w").write("x"); open("/dev/shm/s", "w").write("x"); os.rename("/dev/shm/s", "/dev/shm/t")
m, s = os.openpty(); print(os.isatty(s), open(os.ttyname(s), "w").isatty())
pid = os.fork()
if pid == 0: signal.pause()
os.kill(pid, signal.SIGTERM); print(os.waitpid(pid, 0)[1])
u = socket.socket(socket.AF_UNIX); u.bind("\0own"); u.listen(); v = socket.socket(socket.AF_UNIX); v.connect("\0own"); print("abstract")
P
cat /dev/stdin <<< in; echo out > /dev/stdout; exec 5<>/dev/shm/t; kill -0 $$ && echo alive; kill -TERM -1 2>/dev/null; echo still`)
	if got, want := output(r), "no device\nTrue True\n15\nabstract\nin\nout\nalive\nstill\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := changes(r); got != "add d a, add d a/c, add f a/c/f, add d b" || !r.Whole() {
		t.Errorf("%s; %s", got, saidOf(r))
	}
}
