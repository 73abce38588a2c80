package ipc

import (
	"errors"
	"os"
	"slices"
	"testing"
)

func TestInspectSelf(t *testing.T) {
	p, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	exe, _ := os.Executable()
	cwd, _ := os.Getwd()
	if p.PID != os.Getpid() || p.PPID != os.Getppid() || p.UID != os.Geteuid() || p.StartTime == 0 {
		t.Errorf("got %+v", p)
	}
	if p.Executable != exe || p.Cwd != cwd || !slices.Equal(p.Cmdline, os.Args) {
		t.Errorf("got %q in %q with %q", p.Executable, p.Cwd, p.Cmdline)
	}
	if _, err := Inspect(1 << 30); !errors.Is(err, ErrGone) {
		t.Errorf("no such process: %v", err)
	}
}

func TestAncestryOfSelf(t *testing.T) {
	chain, err := Ancestry(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if chain[0].PID != os.Getpid() || len(chain) < 2 || chain[1].PID != os.Getppid() {
		t.Fatalf("got %+v", chain)
	}
	if last := chain[len(chain)-1]; last.PPID != 0 {
		t.Errorf("ends at %+v", last)
	}
	if i := findProc(chain, ClientRef{os.Getppid(), chain[1].StartTime}); i != 1 {
		t.Errorf("the parent is at %d", i)
	}
	if i := findProc(chain, ClientRef{os.Getppid(), chain[1].StartTime + 1}); i != -1 {
		t.Errorf("another process of that pid is at %d", i)
	}
}

// TestAncestryIsConsistent moves the processes while they are looked at.
func TestAncestryIsConsistent(t *testing.T) {
	type table map[int]Proc
	base := table{9: {PID: 9, PPID: 5, StartTime: 90}, 5: {PID: 5, PPID: 1, StartTime: 50}, 1: {PID: 1, StartTime: 1}}
	with := func(p Proc) table {
		out := table{}
		for k, v := range base {
			out[k] = v
		}
		out[p.PID] = p
		return out
	}
	without := func(pid int) table {
		out := with(Proc{PID: pid})
		delete(out, pid)
		return out
	}
	for name, c := range map[string]struct {
		before, after table // what the second look at each process finds
		want          error
	}{
		"still":                 {base, base, nil},
		"reparented":            {base, with(Proc{PID: 9, PPID: 1, StartTime: 90}), errChanged},
		"parent reparented":     {base, with(Proc{PID: 5, PPID: 9, StartTime: 50}), errChanged},
		"pid reused":            {base, with(Proc{PID: 9, PPID: 5, StartTime: 91}), errChanged},
		"ended":                 {base, without(9), ErrGone},
		"parent ended":          {base, without(5), errChanged},
		"parent younger":        {with(Proc{PID: 5, PPID: 1, StartTime: 91}), with(Proc{PID: 5, PPID: 1, StartTime: 91}), errChanged},
		"parent cannot be seen": {without(1), without(1), ErrGone},
	} {
		look := func(from table) func(int) (Proc, error) {
			return func(pid int) (Proc, error) {
				p, ok := from[pid]
				if !ok {
					return p, ErrGone
				}
				return p, nil
			}
		}
		chain, err := ancestry(9, look(c.before), look(c.after))
		if !errors.Is(err, c.want) || c.want == nil && (err != nil || len(chain) != 3) {
			t.Errorf("%s: %v, %v; want %v", name, chain, err, c.want)
		}
	}
	loop := table{9: {PID: 9, PPID: 8}, 8: {PID: 8, PPID: 9}}
	look := func(pid int) (Proc, error) { return loop[pid], nil }
	if _, err := ancestry(9, look, look); err == nil {
		t.Error("a loop has an end")
	}
}

func TestPeerIsTheOtherProcess(t *testing.T) {
	l, path := listen(t)
	cmd := helper(t, "connect", path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := accept(t, l)
	p, err := PeerOf(c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	proc, err := Inspect(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if p.PID != proc.PID || p.UID != os.Geteuid() || p.StartTime != proc.StartTime || p.Ref() != proc.Ref() {
		t.Errorf("got %+v, want %+v", p, proc)
	}
	if !p.Alive() {
		t.Error("not alive")
	}
	c.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("alive after its end")
	}
}

// TestDeadPeerIsNobody: the process that connected has ended, and its pid may
// mean any other by now.
func TestDeadPeerIsNobody(t *testing.T) {
	l, path := listen(t)
	cmd := helper(t, "connect", path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := accept(t, l)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if p, err := PeerOf(c); err == nil {
		p.Close()
		t.Errorf("got %+v", p)
	}
}

func TestSocketPeer(t *testing.T) {
	client, _ := pair(t)
	err := control(client, func(fd int) error {
		p, err := SocketPeer(fd)
		if err != nil {
			return err
		}
		defer p.Close()
		if p.PID != os.Getpid() {
			t.Errorf("got %+v", p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := pipe(t)
	if err := control(r, func(fd int) error { _, err := SocketPeer(fd); return err }); err == nil {
		t.Error("a pipe has a peer")
	}
}

func TestCapabilitiesAreStated(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Capabilities() {
		if c.Name == "" || c.Note == "" || seen[c.Name] {
			t.Errorf("incomplete or twice: %+v", c)
		}
		seen[c.Name] = true
	}
	if !seen["peer_identity"] || !seen["ancestry"] {
		t.Errorf("got %v", seen)
	}
}

func BenchmarkAncestry(b *testing.B) {
	for b.Loop() {
		if _, err := Ancestry(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}
