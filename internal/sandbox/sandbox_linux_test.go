package sandbox

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if code, handled := Main(os.Args); handled {
		os.Exit(code)
	}
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case attackArg:
			attackers[os.Args[2]]()
			os.Exit(0)
		case runArg:
			runUntilKilled(os.Args[2])
		case landArg:
			landUntilKilled(os.Args[2])
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// box is a workspace and what a run in it needs.
type box struct {
	*testing.T
	ws   string
	spec Spec
}

func newBox(t *testing.T) *box {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &box{T: t, ws: filepath.Join(dir, "ws")}
	for _, d := range []string{b.ws, filepath.Join(dir, "state")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b.spec = Spec{
		Program: program, Dir: b.ws, Trees: []string{b.ws}, State: filepath.Join(dir, "state"),
		Visible: []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/opt"},
		Env:     []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", "LANG=C.UTF-8"},
	}
	return b
}

func (b *box) file(name, text string) {
	b.Helper()
	at := filepath.Join(b.ws, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

// sh runs a line of shell; a machine without what is needed skips the test, but
// not in CI.
func (b *box) sh(line string) *Run {
	b.Helper()
	s := b.spec
	s.Argv = []string{"bash", "-c", line}
	r, err := Exec(context.Background(), s)
	if errors.Is(err, ErrUnavailable) && os.Getenv("CI") == "" {
		b.Skip(err)
	}
	if err != nil {
		b.Fatalf("%s: %v", line, err)
	}
	b.Cleanup(func() { r.Close() })
	return r
}

func output(r *Run) string {
	var out strings.Builder
	for _, c := range r.Output {
		out.Write(c.Data)
	}
	return out.String()
}

// changes writes each change as a line: op, type, path.
func changes(r *Run) string {
	var lines []string
	for _, c := range r.Changes {
		e := c.After
		if e == nil {
			e = c.Before
		}
		lines = append(lines, string(c.Op)+" "+string(e.Type)+" "+c.Path)
	}
	return strings.Join(lines, ", ")
}

func TestReadingCommandChangesAndWantsNothing(t *testing.T) {
	b := newBox(t)
	b.file("a.txt", "one\ntwo\n")
	r := b.sh("cat a.txt; sleep 0.2; echo err >&2; sleep 0.2; wc -l < a.txt")
	if got, want := output(r), "one\ntwo\nerr\n2\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	if !r.Unchanged() || r.Exit != 0 {
		t.Errorf("exit %d, changes %s, wanted %v, %+v", r.Exit, changes(r), r.Wanted, r)
	}
}

func TestChangesAreCapturedAndNothingIsReal(t *testing.T) {
	b := newBox(t)
	b.file("a.txt", "one\n")
	b.file("gone/x", "x")
	b.file("same", "s")
	r := b.sh("sed -i s/one/two/ a.txt; rm -r gone; mkdir -p new/deep; echo hi > new/deep/f; ln -s a.txt l; sed -i s/zzz/y/ same; chmod +x same; exit 3")
	if got, want := changes(r), "modify f a.txt, delete f gone/x, delete d gone, add l l, add d new, add d new/deep, add f new/deep/f, modify f same"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r.Exit != 3 || len(r.Wanted) > 0 {
		t.Errorf("exit %d, wanted %v", r.Exit, r.Wanted)
	}
	data, err := io.ReadAll(r.Content(r.Changes[0]))
	if err != nil || string(data) != "two\n" {
		t.Errorf("content %q, %v", data, err)
	}
	if real, _ := os.ReadFile(filepath.Join(b.ws, "a.txt")); string(real) != "one\n" {
		t.Errorf("the real file is %q", real)
	}
	left, _ := os.ReadDir(b.spec.State)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func wants(r *Run) string {
	var lines []string
	for _, w := range r.Wanted {
		lines = append(lines, string(w.Kind)+" "+w.What)
	}
	return strings.Join(lines, ", ")
}

// TestWhatIsWantedIsRecorded holds commands that end well although they did not
// get what they wanted: none of them may pass for one that changes nothing.
func TestWhatIsWantedIsRecorded(t *testing.T) {
	b := newBox(t)
	outside := filepath.Join(filepath.Dir(b.ws), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(b.ws, "host.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	b.file(".env", "KEY=1\n")
	b.spec.Closed = []string{filepath.Join(b.ws, ".env")}
	b.file("link", "")
	os.Remove(filepath.Join(b.ws, "link"))
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(b.ws, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, want string }{
		{"getent hosts registry.example.com; true", "host registry.example.com"},
		{"exec 3<>/dev/tcp/192.0.2.1/80 || true", "network 192.0.2.1:80"},
		{"exec 3<>/dev/tcp/127.0.0.1/4999 2>/dev/null || true", "network 127.0.0.1:4999"},
		{"echo x > /dev/udp/192.0.2.7/53 || true", "network 192.0.2.7:53"},
		{"kill -9 99999 2>/dev/null; true", "signal process 99999"},
		{"ps aux >/dev/null; true", "process the list of processes"},
		{"ls /proc | head -1 >/dev/null; true", "process the list of processes"},
		{"cat " + outside + "/secret 2>/dev/null; true", "path " + outside + "/secret"},
		{"test -f ../outside/secret && echo yes; true", "path " + outside + "/secret"},
		{"cat link 2>/dev/null; true", "path " + outside + "/secret"},
		{"cat .env 2>/dev/null; true", "path " + b.ws + "/.env"},
		{"echo x > " + outside + "/new 2>/dev/null; true", "write " + outside + "/new"},
		{"touch /etc/x 2>/dev/null; true", "write /etc/x"},
		{"mkdir /opt/x 2>/dev/null; rm -rf /usr/share/doc 2>/dev/null; true", "write /opt/x"},
		{"unshare -r true 2>/dev/null; true", "kernel unshare"},
		{"mount -t tmpfs x /mnt 2>/dev/null; true", "kernel mount"},
		{"python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"host.sock\")' 2>/dev/null; true", "socket " + b.ws + "/host.sock"},
		{"python3 -c 'import socket; socket.socket(40)' 2>/dev/null; true", "socket a socket of family 40"},
	} {
		r := b.sh(c.line)
		if !strings.Contains(", "+wants(r)+",", ", "+c.want+",") || r.Unchanged() {
			t.Errorf("%s\n   got %s\n  want %s\n%s", c.line, wants(r), c.want, output(r))
		}
	}
}

// TestLoopbackInsideIsNoWant: a server of the command's own, and the tries until
// it listens, are its own affair.
func TestLoopbackInsideIsNoWant(t *testing.T) {
	b := newBox(t)
	r := b.sh(`python3 - <<'P'
import socket, threading, time
def serve():
    time.sleep(0.1); s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", 4321)); s.listen(); c, _ = s.accept(); c.sendall(b"hello"); c.close()
threading.Thread(target=serve).start()
for i in range(100):
    try:
        c = socket.create_connection(("127.0.0.1", 4321)); break
    except ConnectionRefusedError: time.sleep(0.02)
print(c.recv(9))
u = socket.socket(socket.AF_UNIX); u.bind("own.sock"); u.listen()
v = socket.socket(socket.AF_UNIX); v.connect("own.sock")
import os; os.unlink("own.sock")
P`)
	if !r.Unchanged() || !strings.Contains(output(r), "hello") {
		t.Errorf("wanted %s, changes %s, %s", wants(r), changes(r), output(r))
	}
}

func TestWhatOutlivesTheCommandIsSaid(t *testing.T) {
	b := newBox(t)
	r := b.sh("(sleep 30; echo late > late) & echo started")
	if len(r.Left) == 0 || r.Unchanged() || len(r.Changes) > 0 {
		t.Errorf("left %v, changes %s", r.Left, changes(r))
	}
	if r := b.sh("sleep 0.05 & true"); len(r.Left) > 0 {
		t.Errorf("left %v", r.Left)
	}
}

func TestLimitsEndARun(t *testing.T) {
	b := newBox(t)
	for name, c := range map[string]struct {
		line   string
		limits Limits
	}{
		"time":    {"sleep 60", Limits{Time: 300 * time.Millisecond}},
		"memory":  {"python3 -c 'x = b\"x\" * (600 << 20); import time; time.sleep(20)'", Limits{Memory: 200 << 20}},
		"cpu":     {"while :; do :; done", Limits{CPU: 500 * time.Millisecond}},
		"written": {"head -c 50M /dev/zero > big; true", Limits{Written: 20 << 20}},
	} {
		b.spec.Limits = c.limits
		if r := b.sh(c.line); r.Stopped != name || r.Unchanged() {
			t.Errorf("%s: stopped %q, exit %d, signal %d, %s", name, r.Stopped, r.Exit, r.Signal, output(r))
		}
	}
	b.spec.Limits = Limits{Output: 100}
	if r := b.sh("head -c 1000 /dev/zero"); !r.Truncated || r.Unchanged() || len(output(r)) != 100 {
		t.Errorf("%d bytes of output, truncated %v", len(output(r)), r.Truncated)
	}
	b.spec.Limits = Limits{Processes: 20}
	if r := b.sh("for i in $(seq 100); do sleep 5 & done; wait"); r.Stopped == "" && r.Exit == 0 && len(r.Left) == 0 {
		t.Errorf("100 processes ran")
	}
}

// TestLimitsLeaveWhatIsAllowed: files without a name within the limit, and a cache
// that earlier runs have filled, end no run.
func TestLimitsLeaveWhatIsAllowed(t *testing.T) {
	b := newBox(t)
	cache := Scratch{Path: filepath.Join(filepath.Dir(b.ws), "cache"), Store: filepath.Join(filepath.Dir(b.ws), "store")}
	if err := os.Mkdir(cache.Store, 0o700); err != nil {
		t.Fatal(err)
	}
	b.spec.Scratch = []Scratch{cache}
	b.spec.Limits = Limits{Memory: 200 << 20, Written: 20 << 20}
	for i := range 3 {
		if r := b.sh("head -c 12M /dev/zero > " + cache.Path + "/f" + strconv.Itoa(i) + "; ls " + cache.Path + " | wc -l"); !r.Unchanged() || output(r) != strconv.Itoa(i+1)+"\n" {
			t.Errorf("stopped %q, %q", r.Stopped, output(r))
		}
	}
	r := b.sh("python3 -c 'import os, time; f = os.memfd_create(\"x\"); [os.write(f, b\"x\" * (1 << 20)) for i in range(15)]; time.sleep(0.2)'")
	if !r.Unchanged() || r.Exit != 0 {
		t.Errorf("stopped %q, exit %d, %s", r.Stopped, r.Exit, output(r))
	}
}

// TestStateFolderMayLieInTheWorkspace: upper layers are then in what they are laid
// over, or in memory. The state is seen in neither, and what a run changes is whole.
func TestStateFolderMayLieInTheWorkspace(t *testing.T) {
	b := newBox(t)
	b.file("a.txt", "one\n")
	b.spec.State = filepath.Join(b.ws, ".guard")
	if err := os.Mkdir(b.spec.State, 0o700); err != nil {
		t.Fatal(err)
	}
	b.spec.Closed = []string{b.spec.State}
	for _, written := range []int64{0, 1 << 50} { // no machine has memory for the second, so its layers are on disk
		b.spec.Limits = Limits{Written: written}
		if r := b.sh("echo two >> a.txt; mkdir d; mv a.txt d; find . -type f; rm -rf .guard"); changes(r) != "delete f a.txt, add d d, add f d/a.txt" || len(r.Wanted) == 0 || r.Stopped != "" ||
			!strings.Contains(output(r), "./d/a.txt\n") || strings.Contains(output(r), "upper") {
			t.Errorf("%s; %s\n%s", changes(r), saidOf(r), output(r))
		}
		b.spec.Copies = []string{b.ws}
		if r := b.sh("mv a.txt b.txt"); changes(r) != "delete f a.txt, add f b.txt" || !r.Whole() {
			t.Errorf("in a copy: %s; %s", changes(r), saidOf(r))
		}
		b.spec.Copies = nil
	}
}

func TestSizesOfLayersInMemory(t *testing.T) {
	for _, c := range []struct {
		free, written int64
		need          bool
		want          int64
	}{
		{8 << 30, 2 << 30, false, 2 << 30}, {8 << 30, 2 << 30, true, 2 << 30}, {3 << 30, 2 << 30, false, 0}, {3 << 30, 2 << 30, true, 3 << 29},
		{20 << 20, 2 << 30, true, 0}, {0, 2 << 30, true, 0},
	} {
		if got := layerSize(c.free, c.written, c.need); got != c.want {
			t.Errorf("%d free, %d to write, needed %v: %d, want %d", c.free, c.written, c.need, got, c.want)
		}
	}
}

// TestWhereAnOverlayDiffersTheRunSaysSo and TestFullCopy hold the same commands.
func TestWhereAnOverlayDiffersTheRunSaysSo(t *testing.T) {
	for name, line := range map[string]string{
		"a folder renamed":            "python3 -c 'import os; os.rename(\"dir\", \"moved\")'",
		"a hard link made":            "ln file other",
		"one of two names changed":    "echo x >> two",
		"one of two names overwriten": "sed -i s/a/a/ two; chmod 600 two",
	} {
		b := newBox(t)
		b.file("dir/f", "x")
		b.file("file", "x")
		b.file("one", "a\n")
		if err := os.Link(filepath.Join(b.ws, "one"), filepath.Join(b.ws, "two")); err != nil {
			t.Fatal(err)
		}
		if r := b.sh(line); len(r.Retry) == 0 || r.Whole() {
			t.Errorf("%s: nothing said; %s", name, changes(r))
		}
		b.spec.Copies = []string{b.ws}
		r := b.sh(line)
		if len(r.Retry) > 0 || r.Exit != 0 || len(r.Changes) == 0 {
			t.Errorf("%s, in a copy: exit %d, %v, %s, %s", name, r.Exit, r.Retry, changes(r), output(r))
		}
		t.Logf("%s: %s", name, changes(r))
	}
}
