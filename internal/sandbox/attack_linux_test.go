package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// secretWord stands in every file that no command may read.
const secretWord = "S3CRET"

// world is a workspace among things that a command must not reach.
type world struct {
	*box
	dir, before string
	program     string
	host        *exec.Cmd
	reached     atomic.Int32 // connections to sockets of the machine
	kernel      string
}

func newWorld(t *testing.T) *world {
	w := &world{box: newBox(t)}
	w.dir, w.program = filepath.Dir(w.ws), w.spec.Program
	for _, d := range []string{"outside", "visible/private", "ws/sub", "ws/vault", "ws/bin"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"outside/secret": secretWord, "visible/pub": "public", "visible/private/key": secretWord, "state/kept": secretWord,
		"ws/a.txt": "one\n", "ws/.env": secretWord, "ws/sub/id_rsa": secretWord, "ws/vault/key": secretWord, "ws/two": "2",
	} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"ws/out": "../outside/secret", "ws/sock": "../visible/host.sock", "ws/magic": "/proc/self/root" + w.dir + "/outside/secret"} {
		if err := os.Symlink(to, filepath.Join(w.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	name := "@mcpguard-attack-" + strconv.Itoa(os.Getpid())
	port := w.listen("tcp", "127.0.0.1:0")
	for _, at := range []string{filepath.Join(w.dir, "outside/host.sock"), filepath.Join(w.dir, "visible/host.sock"), filepath.Join(w.ws, "host.sock"), name} {
		w.listen("unix", at)
	}
	w.host = exec.Command("sleep", "300")
	w.host.Env = []string{"WORD=" + secretWord}
	if err := w.host.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.host.Process.Kill(); w.host.Wait() })
	visible := filepath.Join(w.dir, "visible")
	w.spec.Visible = append(w.spec.Visible, w.program, visible)
	cache := Scratch{Path: filepath.Join(w.dir, "cache"), Store: filepath.Join(w.dir, "store")}
	if err := os.Mkdir(cache.Store, 0o700); err != nil {
		t.Fatal(err)
	}
	w.spec.Scratch = []Scratch{cache}
	w.spec.Closed = []string{filepath.Join(w.ws, ".env"), filepath.Join(w.ws, "sub/id_rsa"), filepath.Join(w.ws, "vault"), filepath.Join(visible, "private"), "/etc/shadow"}
	w.spec.Env = append(w.spec.Env, "WS="+w.ws, "OUTSIDE="+filepath.Join(w.dir, "outside"), "VISIBLE="+visible, "MASK="+filepath.Join(w.ws, ".env"),
		"HOSTPID="+strconv.Itoa(w.host.Process.Pid), "HOSTPORT="+port, "ABSTRACT="+name, "STATE="+w.spec.State, "CACHE="+cache.Path, "me="+w.program+" "+attackArg)
	w.spec.Limits = Limits{Time: 20 * time.Second, Written: 64 << 20, Output: 1 << 20, Processes: 60, Memory: 300 << 20}
	w.before, w.kernel = w.tree(), kernelState()
	return w
}

// listen opens a socket of the machine and counts who comes.
func (w *world) listen(network, at string) (port string) {
	w.Helper()
	l, err := net.Listen(network, at)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { l.Close() })
	go func() { // ends when the listener is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.reached.Add(1)
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func (w *world) tree() string {
	return treeText(w, w.ws) + treeText(w, filepath.Join(w.dir, "outside")) + treeText(w, filepath.Join(w.dir, "visible")) + treeText(w, w.spec.State)
}

// kernelState is what a command could change of the whole machine.
func kernelState() string {
	var out strings.Builder
	for _, p := range []string{"/proc/sys/vm/swappiness", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname"} {
		data, _ := os.ReadFile(p)
		out.Write(data)
	}
	for _, p := range []string{"/dev/null", "/dev/full", "/etc"} {
		var st unix.Stat_t
		_ = unix.Stat(p, &st)
		fmt.Fprintln(&out, p, st.Mode, st.Mtim)
	}
	return out.String()
}

// unharmed fails the test where a run reached what it must not.
func (w *world) unharmed(name string, r *Run) {
	w.Helper()
	text := output(r)
	if strings.Contains(text, escaped) || strings.Contains(text, secretWord) {
		w.Errorf("%s: it got\n%s", name, text)
	}
	if _, err := r.Contents().Seek(0, io.SeekStart); err != nil {
		w.Fatal(err)
	}
	if kept, err := io.ReadAll(r.Contents()); err != nil || bytes.Contains(kept, []byte(secretWord)) {
		w.Errorf("%s: what it left holds a secret (%v)", name, err)
	}
	if after := w.tree(); after != w.before {
		w.Fatalf("%s: it changed\n%s--- before\n%s", name, after, w.before)
	}
	if after := kernelState(); after != w.kernel {
		w.Fatalf("%s: it changed the machine\n%s--- before\n%s", name, after, w.kernel)
	}
	if n := w.reached.Load(); n > 0 {
		w.Fatalf("%s: it reached a socket of the machine", name)
	}
	if err := w.host.Process.Signal(syscall.Signal(0)); err != nil {
		w.Fatalf("%s: it ended a process of the machine", name)
	}
}

// attack is a line of shell and what has to come of it: a want, a limit or a word
// in what is said of the run; "" where it may pass for what it is, which got
// nothing. "not whole" is any of them, and "deep" may be refused as a whole.
type attack struct{ name, line, want string }

// attacks must reach nothing and, where it says so, not pass as unchanged.
var attacks = []attack{
	{"clone3", "$me clone3", ""},
	{"ptrace of the first process", "$me ptrace-init; $me ptrace-attach", ""},
	{"memory of the first process", "$me read-init-memory; $me write-init-memory; $me init-mem-file", ""},
	{"root of the first process", "$me init-root; $me init-cwd; cat /proc/1/root/$OUTSIDE/secret; ls /proc/1/root/; cd /proc/1/cwd", ""},
	{"descriptors of the first process", "$me init-fds; $me init-environment; $me init-maps; ls -l /proc/1/fd", ""},
	{"memory of the kernel", "$me kernel-memory", ""},
	{"input of the terminal", "$me terminal-input; echo | script -qc true /dev/null", ""},
	{"signals by the kernel", "$me signal-by-owner", ""},
	{"every signal to the first process", "for s in $(seq 64); do kill -$s 1 2>/dev/null; done; echo alive", "signal process 1"},
	{"every process", "kill -TERM -1; kill -KILL -1; echo alive", ""},
	{"descriptors and forged reports", "$me descriptors", ""},
	{"more rights", "$me gain-rights", ""},
	{"device nodes", "$me device-node; mknod d c 1 8 && cat d | head -c 4", ""},
	{"set-id programs", "cp /usr/bin/id mine && chmod u+s mine && ./mine -u > n; test $(./mine -u) = $(id -u) || echo ESCAPED; su -c id </dev/null; sudo -n id", "change"},
	{"forged layers", "$me forged-layer", "change"},
	{"a connection exchanged while it is looked at", "$me connect-race", ""},
	{"a path exchanged while it is looked at", "$me path-race", ""},
	{"a socket of the machine in the workspace", connectTo("host.sock"), "socket"},
	{"a socket of the machine outside", connectTo("$OUTSIDE/host.sock"), "socket"},
	{"a socket of the machine in a visible folder", connectTo("$VISIBLE/host.sock"), "socket"},
	{"a socket by a link", connectTo("sock"), "socket"},
	{"a socket by its working folder", "cd $VISIBLE; " + connectTo("host.sock"), "socket"},
	{"a socket by the root of itself", connectTo("/proc/self/root$VISIBLE/host.sock"), "socket"},
	{"a socket by a descriptor", "$me socket-by-fd", "socket"},
	{"a socket linked into the workspace", "ln $VISIBLE/host.sock here; ln host.sock here2; " + connectTo("here2"), "retry"},
	{"a socket moved in the workspace", "mv host.sock moved; " + connectTo("moved"), ""},
	{"an abstract socket of the machine", "python3 -c 'import os,socket; socket.socket(socket.AF_UNIX).connect(\"\\0\"+os.environ[\"ABSTRACT\"][1:]); print(\"ESCAPED\")'", ""},
	{"a port of the machine", "exec 3<>/dev/tcp/127.0.0.1/$HOSTPORT && echo ESCAPED", "network"},
	{"a port of the machine by another name", "exec 3<>/dev/tcp/0.0.0.0/$HOSTPORT && echo ESCAPED", "network"},
	{"a port of the machine without waiting", "python3 -c 'import os,socket; s=socket.socket(); s.setblocking(False); s.connect_ex((\"127.0.0.1\",int(os.environ[\"HOSTPORT\"])))'", "network"},
	{"datagrams to the machine", "echo x > /dev/udp/127.0.0.1/8125; true", "network 127.0.0.1:8125"},
	{"datagrams by a message", "python3 -c 'import socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.sendmsg([b\"x\"],[],0,(\"127.0.0.1\",8126))'", "network 127.0.0.1:8126"},
	{"a fast open", "python3 -c 'import os,socket; socket.socket().sendto(b\"x\",0x20000000,(\"127.0.0.1\",int(os.environ[\"HOSTPORT\"])))'", ""},
	{"ping", "ping -c1 -W1 192.0.2.1 || python3 -c 'import socket; socket.socket(socket.AF_INET,socket.SOCK_RAW,1)'; true", "network"},
	{"a closed file", "cat .env", "path"},
	{"a closed file by a link", "ln -s .env l; cat l", "path"},
	{"a closed file by another name", "ln .env hard; cp -l sub/id_rsa hard2; cat hard hard2", "write"},
	{"a closed file moved away", "mv .env x; cat x; mv sub sub2; cat sub2/id_rsa; cat sub/id_rsa", "path"},
	{"a closed file's folder removed", "rm -rf sub vault; mkdir -p sub vault; cat sub/id_rsa vault/key", ""},
	{"a closed folder", "ls vault; cat vault/key; find . -type f -exec cat {} +", "path"},
	{"a closed folder in a visible one", "cat $VISIBLE/private/key; tar cf - $VISIBLE", "path"},
	{"a closed file by the root of itself", "cat /proc/self/root$OUTSIDE/secret /proc/self/cwd/.env", "path"},
	{"outside by a link", "cat out", "path"},
	{"outside by a magic link", "cat magic", "path"},
	{"outside by going up", "cat ../outside/secret ws/../../outside/secret", "path"},
	{"outside by a descriptor", "exec 5<.; cat /proc/self/fd/5/../outside/secret /dev/fd/5/../outside/secret", "path"},
	{"outside by a stale folder", "$me stale-folder", ""},
	{"hard links from outside", "ln $OUTSIDE/secret mine; cat mine", "path"},
	{"hard links to outside", "ln a.txt $OUTSIDE/mine; ln a.txt $VISIBLE/mine", "write"},
	{"a file of the visible folder", "echo x >> $VISIBLE/pub; rm -f $VISIBLE/pub; mv $VISIBLE/pub x; touch $VISIBLE/new", "write"},
	{"passwords", "cat /etc/shadow", "path"},
	{"the guard's state", "ls $STATE; cat $STATE/kept; rm -rf $STATE; touch $STATE/x", "path"},
	{"the environment of others", "cat /proc/$HOSTPID/environ; cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep WORD", "process"},
	{"the process list", "ps aux; pgrep sleep; true", "process"},
	{"a late writer", "setsid nohup $me late-writer >/dev/null 2>&1 & disown; exit 0", "left"},
	{"a late writer, forked twice", "( ( $me late-writer & ) & ); exit 0", "left"},
	{"a late writer that hides its name", "(exec -a '' $me late-writer) & (exec -a ') Z' $me late-writer) & exit 0", "left"},
	{"writing after the end", "(while :; do echo x >> late; done) & sleep 0.02; echo done", "left"},
	{"a fork bomb", ":(){ :|:& };:", "not whole"},
	{"processes", "for i in $(seq 200); do sleep 9 & done; wait", "stopped"},
	{"output", "yes | head -c 200M", "cut"},
	{"a full layer", "head -c 100M /dev/zero > big; head -c 100M /dev/zero > big2; true", "stopped"},
	{"holes", "for i in 1 2 3; do truncate -s 60M hole$i; done", "stopped"},
	{"memory", "python3 -c 'x=bytearray(500<<20)\nimport time; time.sleep(9)'", "stopped"},
	{"memory in files without a name", hoard(`f = os.memfd_create("x"); kept.append(f)
    for j in range(50): os.write(f, b"x" * (1 << 20))`), "memory"},
	{"memory in files that are sent and not taken", hoard(`f = os.memfd_create("x"); a, b = socket.socketpair(); kept.append((a, b))
    for j in range(50): os.write(f, b"x" * (1 << 20))
    socket.send_fds(a, [b"x"], [f]); os.close(f)`), "memory"},
	{"memory that is hardly mapped", hoard(`p = libc.mmap(None, 100 << 20, 3, 0x21, -1, 0); ctypes.memset(p, 1, 100 << 20)
    libc.munmap(ctypes.c_void_p(p + 4096), ctypes.c_size_t((100 << 20) - 4096))`), "memory"},
	{"memory of no process", hoard(`n = libc.shmget(0, ctypes.c_size_t(100 << 20), 0o1600); p = libc.shmat(n, None, 0); ctypes.memset(p, 1, 100 << 20); libc.shmdt(ctypes.c_void_p(p))`), "memory"},
	{"memory in /dev/shm", hoard(`open("/dev/shm/f%d" % i, "wb").write(b"x" * (60 << 20))`), "memory"},
	{"a full cache", "for i in 1 2 3; do head -c 40M /dev/zero > $CACHE/f$i; done; true", "written"},
	{"many names", "for i in $(seq 3000); do : > f$i; done", "change"},
	{"a deep path", "for i in $(seq 60); do mkdir " + strings.Repeat("d", 100) + "; cd " + strings.Repeat("d", 100) + "; done 2>/dev/null; echo x > f; cd /; true", "deep"},
	{"names of the sandbox", "mkdir .closed; echo x > .closed/0; cat /.closed/0/key /.closed/1/key /.closed/2/key; ls /.closed", ""},
	{"a program of another name", "exec -a 'mcpguard sandbox-init' sleep 0; $me clone3; mcpguard sandbox-init; " + "exec -a mcpguard ${me% *} sandbox-init < /dev/null", ""},
	{"the part of the first process", "${me% *} sandbox-init 3</dev/null 4>forged 5>forged; ${me% *} sandbox-exec 3</dev/null 4>forged 5</dev/null; cat forged", ""},
}

// hoard runs a piece of Python eight times, which takes 50 to 100 MB each time.
func hoard(piece string) string {
	return `python3 - <<'P'
import ctypes, os, socket, time
libc = ctypes.CDLL(None); libc.mmap.restype = libc.shmat.restype = ctypes.c_void_p; kept = []
for i in range(8):
    ` + piece + `
time.sleep(9)
P`
}

func connectTo(path string) string {
	return `python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print("ESCAPED")' ` + path
}

// TestPromise10_NoCommandGetsOut runs every attack, as root, where the test is, and
// as an ordinary user. None may succeed.
func TestPromise10_NoCommandGetsOut(t *testing.T) {
	w := newWorld(t)
	count := 0
	for _, name := range slices.Sorted(maps.Keys(forbidden)) {
		count++
		r := w.sh("$me " + name + "; true")
		w.unharmed(name, r)
		if len(r.Wanted) == 0 || r.Unchanged() {
			t.Errorf("%s passes: %s", name, output(r))
		}
	}
	for _, a := range attacks {
		count++
		s := w.spec
		s.Argv = []string{"bash", "-c", a.line}
		r, err := Exec(context.Background(), s)
		if err != nil {
			if a.want != "deep" {
				t.Errorf("%s: %v", a.name, err)
			}
			continue
		}
		w.unharmed(a.name, r)
		if said := saidOf(r); a.want != "" && a.want != "deep" && (r.Unchanged() || a.want != "not whole" && !strings.Contains(said, a.want)) {
			t.Errorf("%s: %s; want %s\n%.500s", a.name, said, a.want, output(r))
		}
		if strings.Contains(a.line, "echo alive") && r.Exit != 0 && r.Signal == 0 {
			t.Errorf("%s: exit %d, signal %d, %s", a.name, r.Exit, r.Signal, output(r))
		}
		r.Close()
	}
	if count < 60 {
		t.Errorf("only %d attacks", count)
	}
	t.Logf("%d attacks as user %d", count, os.Getuid())
	asOrdinaryUser(t)
}

// saidOf is all that is said of a run beside its output.
func saidOf(r *Run) string {
	out := wants(r)
	if len(r.Left) > 0 {
		out += fmt.Sprintf(", left %q", r.Left)
	}
	if r.Stopped != "" || r.Truncated {
		out += ", stopped cut " + r.Stopped
	}
	if len(r.Retry) > 0 {
		out += fmt.Sprintf(", retry %q", r.Retry)
	}
	if n := len(r.Changes); n > 0 {
		out += ", change " + changes(&Run{Changes: r.Changes[:min(n, 10)]})
	}
	return out
}

// asOrdinaryUser runs the test again as nobody, where it runs as root.
func asOrdinaryUser(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("/tmp", "mcpguard-user-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "test")
	if err := copyFile("/proc/self/exe", program); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{dir, program} {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(p, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "HOME=" + dir, "CI=" + os.Getenv("CI")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
	t.Logf("as an ordinary user:\n%s", out)
}
