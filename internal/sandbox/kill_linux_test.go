package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The parts of this test's program in the tests that kill it.
const (
	runArg  = "run-until-killed"
	landArg = "land-until-killed"
)

// until reads how often a test repeats what it does; name is an environment
// variable for a run at length.
func until(t *testing.T, name string, usual int) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return usual
	}
	return n
}

// killed is what a killed process is told, as a file.
type killed struct {
	Spec     Spec
	ID       string
	Changes  []Change
	Names    map[uint64][]Name
	Contents string
}

func readKilled(file string) (k killed) {
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil {
		panic(err)
	}
	return k
}

// runUntilKilled runs a command again and again.
func runUntilKilled(file string) {
	k := readKilled(file)
	fmt.Println("begins")
	for {
		r, err := Exec(context.Background(), k.Spec)
		if err != nil {
			panic(err)
		}
		r.Close()
	}
}

// landUntilKilled lands once; whoever kills it is told before.
func landUntilKilled(file string) {
	k := readKilled(file)
	contents, err := os.Open(k.Contents)
	if err != nil {
		panic(err)
	}
	fmt.Println("begins")
	l := &Landing{ID: k.ID, Changes: k.Changes, Names: k.Names, Contents: contents}
	if _, err := l.Land(context.Background()); err != nil {
		panic(err)
	}
}

// start starts a part of this program and returns once it has begun.
func (b *box) start(part string, k killed) *exec.Cmd {
	b.Helper()
	data, err := json.Marshal(k)
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(b.ws), "order.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(b.spec.Program, part, file)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		b.Fatal(err)
	}
	return cmd
}

// traces are what runs could leave on the machine: processes that carry a mark in
// their command line or environment, mounts, and files.
func (b *box) traces(mark string) string {
	b.Helper()
	var out strings.Builder
	pids, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range pids {
		env, _ := os.ReadFile(p)
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
		if p != fmt.Sprintf("/proc/%d/environ", os.Getpid()) && (strings.Contains(string(env), mark) || strings.Contains(string(line), mark)) {
			fmt.Fprintf(&out, "process %s %q\n", p, line)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	if strings.Contains(string(mounts), mark) || strings.Contains(string(mounts), b.spec.State) {
		out.WriteString("a mount\n")
	}
	left, err := os.ReadDir(b.spec.State)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range left {
		fmt.Fprintf(&out, "file %s\n", e.Name())
	}
	return out.String()
}

// firstProcesses lists the first processes of sandboxes that this program, or one
// that it started, has started.
func firstProcesses(program string) (out []int) {
	pids, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range pids {
		line, _ := os.ReadFile(p + "/cmdline")
		if string(line) == program+"\x00"+InitArg+"\x00" {
			pid, _ := strconv.Atoi(filepath.Base(p))
			out = append(out, pid)
		}
	}
	return out
}

// gone waits until no process of a run is left: killed ones take a moment.
func (b *box) gone(mark string) {
	b.Helper()
	left := func() bool {
		return len(firstProcesses(b.spec.Program)) > 0 || strings.Contains(b.traces(mark), "process")
	}
	for deadline := time.Now().Add(10 * time.Second); left(); {
		if time.Now().After(deadline) {
			b.Fatalf("still there: %v\n%s", firstProcesses(b.spec.Program), b.traces(mark))
		}
		<-time.After(time.Millisecond)
	}
}

// TestPromise10_NothingStaysBehind runs many commands, good and bad, and counts what
// is left on the machine.
func TestPromise10_NothingStaysBehind(t *testing.T) {
	b := newBox(t)
	b.file("a", "1")
	mark := "MCPGUARD_MARK=" + strconv.FormatUint(rand.Uint64(), 36)
	b.spec.Env = append(b.spec.Env, mark)
	lines := []string{"true", "echo 2 > a", "(sleep 60; echo late > b) & exit 1", "mkdir -p x/y; chmod 000 x", "kill -9 $$", "setsid sleep 60 & true"}
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	b.sh("true").Close()
	before := open()
	n := until(t, "MCPGUARD_RUNS", 150)
	for i := range n {
		// Most end by themselves; what is left behind takes its grace, so it is rarer.
		line := lines[i%2]
		if i%25 == 0 {
			line = lines[i/25%len(lines)]
		}
		s := b.spec
		s.Argv = []string{"sh", "-c", line}
		ctx, cancel := context.WithCancel(context.Background())
		if i%40 == 7 {
			cancel()
		}
		r, err := Exec(ctx, s)
		cancel()
		if err != nil && i%40 != 7 {
			t.Fatalf("%s: %v", line, err)
		}
		if err == nil {
			r.Close()
		}
	}
	b.gone(mark)
	if left := b.traces(mark); left != "" {
		t.Errorf("after %d runs:\n%s", n, left)
	}
	if after := open(); after > before+2 {
		t.Errorf("%d open files, before %d", after, before)
	}
}

// TestPromise10_NothingStaysBehindTheKilled kills, at random moments, the process
// that runs commands, or the first one inside.
func TestPromise10_NothingStaysBehindTheKilled(t *testing.T) {
	b := newBox(t)
	b.file("a", "1")
	mark := "MCPGUARD_MARK=" + strconv.FormatUint(rand.Uint64(), 36)
	s := b.spec
	s.Env = append(s.Env, mark)
	s.Argv = []string{"sh", "-c", "echo 2 > a; mkdir d; (sleep 60) & sleep 0.05"}
	before := treeText(t, b.ws)
	for i := range until(t, "MCPGUARD_KILLS", 20) {
		cmd := b.start(runArg, killed{Spec: s})
		<-time.After(time.Duration(rand.IntN(120)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		b.gone(mark)
		if i%2 == 0 { // the first process, below a parent that lives
			ended := make(chan error, 1)
			go func() { // ends with the run
				r, err := Exec(context.Background(), Spec{Program: s.Program, Argv: []string{"sleep", "5"}, Env: s.Env, Dir: s.Dir, Trees: s.Trees, Visible: s.Visible, State: s.State})
				if err == nil {
					r.Close()
				}
				ended <- err
			}()
			var pids []int
			for len(pids) == 0 {
				pids = firstProcesses(s.Program)
				<-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond)
			}
			for _, pid := range pids {
				if p, err := os.FindProcess(pid); err == nil {
					_ = p.Kill()
				}
			}
			if err := <-ended; err == nil {
				t.Error("a run without an end passes")
			}
		}
		b.gone(mark)
		if err := Clean(b.spec.State); err != nil {
			t.Fatal(err)
		}
		if left := b.traces(mark); left != "" {
			t.Fatalf("kill %d:\n%s", i, left)
		}
	}
	if after := treeText(t, b.ws); after != before {
		t.Errorf("the folder changed:\n%s", after)
	}
}

// TestPromise5_AKilledLandingIsFinishedOrNotBegun kills a process that lands, at
// random moments, and lets another one go on: there is before and after, and
// nothing between, twice or left over.
func TestPromise5_AKilledLandingIsFinishedOrNotBegun(t *testing.T) {
	b := newBox(t)
	b.sample()
	const line = `sed -i s/one/uno/ a.txt; rm -r gone; mkdir -p new/deep; for i in $(seq 30); do echo $i > new/deep/$i; echo $i > f$i; done
rm swap; mkdir swap; echo in > swap/in; chmod 700 dir; ln -s x dir/l; rm -r fold; echo file > fold; echo h > h1; ln h1 h2; chmod +x run.sh; head -c 3000000 /dev/zero | tr "\\0" x > big; printf '\377' > "$(printf 'n\377')"`
	r := b.run(line)
	contents := filepath.Join(filepath.Dir(b.ws), "contents")
	if err := os.WriteFile(contents, readAll(t, r.Contents()), 0o600); err != nil {
		t.Fatal(err)
	}
	before := treeText(t, b.ws)
	after := ""
	counts := map[Progress]int{}
	var whole time.Duration
	n := until(t, "MCPGUARD_KILLS", 60)
	for i := range n {
		ws := filepath.Join(filepath.Dir(b.ws), "ws"+strconv.Itoa(i))
		if out, err := exec.Command("cp", "-a", b.ws, ws).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		moved := make([]Change, len(r.Changes))
		for j, c := range r.Changes {
			c.Tree = ws
			moved[j] = c
		}
		names := map[uint64][]Name{}
		for inode, list := range r.Names {
			for _, name := range list {
				names[inode] = append(names[inode], Name{ws, name.Path})
			}
		}
		k := killed{ID: "k" + strconv.Itoa(i), Changes: moved, Names: names, Contents: contents}
		begun := time.Now()
		cmd := b.start(landArg, k)
		begun2 := time.Now()
		if i > 0 { // the first one tells how long a landing takes
			<-time.After(time.Duration(rand.Int64N(int64(whole) + 1)))
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		if i == 0 {
			whole, after = time.Since(begun2), treeText(t, ws)
			if strings.Contains(after, ".mcpguard-") || after == before {
				t.Fatalf("the first landing, in %v: %s", time.Since(begun), after)
			}
		}
		l := &Landing{ID: k.ID, Changes: moved, Names: names, Contents: r.Contents()}
		p, err := l.Finish()
		counts[p]++
		now := treeText(t, ws)
		switch {
		case err != nil || p != Landed && p != NotBegun:
			t.Fatalf("kill %d: %d, %v\n%.3000s", i, p, err, lessOf(now, before))
		case p == NotBegun && now != before:
			t.Fatalf("kill %d: not begun, but\n%s", i, lessOf(now, before)+"--- missing\n"+lessOf(before, now))
		case p == Landed && now != after:
			t.Fatalf("kill %d: landed, but\n%s", i, lessOf(now, after)+"--- missing\n"+lessOf(after, now))
		}
		if again, err := l.Finish(); err != nil || again != p || treeText(t, ws) != now {
			t.Fatalf("kill %d: finishing twice: %d, %v", i, again, err)
		}
		if err := os.RemoveAll(ws); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("of %d: landed %d, not begun %d; one takes %v", n, counts[Landed], counts[NotBegun], whole)
}

// lessOf is the lines of a that b does not have.
func lessOf(a, b string) string {
	in := map[string]bool{}
	for l := range strings.Lines(b) {
		in[l] = true
	}
	var out strings.Builder
	for l := range strings.Lines(a) {
		if !in[l] {
			out.WriteString(l)
		}
	}
	return out.String()
}
