package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

var updateDocs = flag.Bool("update", false, "write what the commands print into docs/tutorial.md")

// TestTutorial runs the commands of docs/tutorial.md in order, in a home folder
// of its own, and compares what they print with what the page says. With
// -update the page is written from the run.
//
// A block ```console is run line by line, each with the output below it. In
// ```console waits the last command is an agent that waits for an approval; what
// it prints in the end stands in the next ```console answers. $ID and $DIGEST
// are the approval that waits, or did last.
func TestTutorial(t *testing.T) {
	t.Parallel()
	linuxOnly(t)
	node(t, sdk)
	page := filepath.Join(filepath.Dir(folder), "docs", "tutorial.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	got := blocks.ReplaceAllStringFunc(string(text), func(block string) string {
		parts := blocks.FindStringSubmatch(block)
		return "```console" + parts[1] + "\n" + r.block(strings.TrimSpace(parts[1]), parts[2]) + "```\n"
	})
	if *updateDocs {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, is := strings.Split(steady(string(text)), "\n"), strings.Split(steady(got), "\n")
	for i := range max(len(want), len(is)) {
		if i >= len(want) || i >= len(is) || want[i] != is[i] {
			t.Fatalf("docs/tutorial.md:%d differs from a run; after a look at why: go test ./e2e -run TestTutorial -update\n page  %s\n run   %s", i+1,
				strings.Join(want[i:min(i+8, len(want))], "\n       "), strings.Join(is[i:min(i+8, len(is))], "\n       "))
		}
	}
}

var blocks = regexp.MustCompile("(?s)```console([a-z ]*)\n(.*?)```\n")

// volatile is what differs from run to run, and what stands for it in a
// comparison.
var volatile = []struct {
	is *regexp.Regexp
	as string
}{
	{regexp.MustCompile(`(?m)(\tsha256:[0-9a-f]{64}\t)(verified|unverifiable|diverged)?$`), "${1}READBACK"}, // where it is known in time
	{regexp.MustCompile(`(appr|run|call|sess|evt)_[0-9a-z]{26}`), "${1}_ID"},
	{regexp.MustCompile(`sha256:[0-9a-f]{12,64}`), "sha256:HASH"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?`), "TIME"},
	{regexp.MustCompile(`\b\d{1,2}:\d\d left|\t\d{3}\t`), "LEFT"},
	{regexp.MustCompile(`process \d+`), "process N"},
	{regexp.MustCompile(`(ALERT|ack) [0-9a-z]{8}`), "${1} SHORT"},
	{regexp.MustCompile(`verified  \d+ records`), "verified  N records"},
	{regexp.MustCompile(`\t(approved|executing|executed)\t`), "\tALLOWED\t"}, // how far the call is by then
	{regexp.MustCompile(`by \w+ at`), "by USER at"},
}

var (
	wholeID     = regexp.MustCompile(`appr_[0-9a-z]{26}`)
	wholeDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
)

func steady(s string) string {
	for _, id := range wholeID.FindAllString(s, -1) { // what is shortened in the same text
		s = strings.ReplaceAll(s, " "+id[len(id)-8:]+" ", " SHORT ")
	}
	for _, digest := range wholeDigest.FindAllString(s, -1) {
		s = strings.ReplaceAll(s, " "+digest[len("sha256:"):][:12]+" ", " SHORT ")
	}
	for _, v := range volatile {
		s = v.is.ReplaceAllString(s, v.as)
	}
	return s
}

// reader is who follows the page.
type reader struct {
	t        *testing.T
	g        *guard
	home     string
	cwd      string
	id       string // of the approval that waits, or did last
	digest   string
	agent    *exec.Cmd
	answered *bytes.Buffer
}

func newReader(t *testing.T) *reader {
	base, err := os.MkdirTemp("/tmp", "mg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	if base, err = filepath.EvalSymlinks(base); err != nil {
		t.Fatal(err)
	}
	paths := ipc.Paths{Config: filepath.Join(base, ".config", "mcpguard"), State: filepath.Join(base, ".local", "state", "mcpguard")}
	g := &guard{t: t, home: "", work: base, paths: paths, api: client.New(paths.ApproverSocket())}
	r := &reader{t: t, g: g, home: base, cwd: base}
	t.Cleanup(func() {
		if out, code := r.run("mcpguardd stop --force"); code != 0 {
			t.Errorf("stopping the daemon: %s", out)
		}
		g.api.Close()
	})
	return r
}

// command is a line of the page as a shell of the reader runs it. The folder
// that a line changes into stays for the next ones.
func (r *reader) command(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = r.cwd
	cmd.Env = []string{"HOME=" + r.home, "PATH=" + programs + ":" + os.Getenv("PATH"), "CHECKOUT=" + filepath.Dir(folder), "NO_COLOR=1", "LANG=C.UTF-8", "ID=" + r.id, "DIGEST=" + r.digest}
	return cmd
}

// run runs a line to its end and returns all that it printed.
func (r *reader) run(line string) (string, int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := r.command(ctx, line+"\ncode=$?; pwd >&3; exit $code")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	read, write, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	defer read.Close()
	cmd.ExtraFiles = []*os.File{write}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	_ = write.Close()
	err = cmd.Wait()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		r.t.Fatalf("%s: %v", line, err)
	}
	where := make([]byte, 4096)
	if n, _ := read.Read(where); n > 0 { // nothing where the shell ended early
		r.cwd = strings.TrimSpace(string(where[:n]))
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// block runs what stands in a block and returns it with what was printed.
func (r *reader) block(kind, text string) string {
	r.t.Helper()
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "$ ") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	var out strings.Builder
	switch kind {
	case "waits":
		last := len(lines) - 1
		for _, line := range lines[:last] {
			printed, _ := r.run(line[2:])
			out.WriteString(line + "\n" + r.shown(printed))
		}
		out.WriteString(lines[last] + "\n")
		r.start(lines[last][2:])
	case "answers":
		if err := r.agent.Wait(); err != nil {
			r.t.Errorf("the agent: %v", err)
		}
		out.WriteString(r.shown(r.answered.String()))
	default:
		for _, line := range lines {
			printed, _ := r.run(line[2:])
			out.WriteString(line + "\n" + r.shown(printed))
			if strings.Contains(line, "> ~/.config/mcpguard/config.yaml") {
				r.closed()
			}
		}
	}
	return out.String()
}

// closed lets decisions come from where no terminal is, as in this test.
func (r *reader) closed() {
	r.t.Helper()
	f, err := os.OpenFile(r.g.paths.ConfigFile(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := fmt.Fprintln(f, "\napprovers: {unsigned: any}"); err != nil {
		r.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// start starts an agent and waits until its call waits for an approval.
func (r *reader) start(line string) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(cancel)
	r.answered = &bytes.Buffer{}
	r.agent = r.command(ctx, line)
	r.agent.Stdout, r.agent.Stderr = r.answered, r.answered
	if err := r.agent.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if r.t.Failed() {
			cancel()
			_ = r.agent.Wait() // a second time, or after a signal
			r.t.Logf("the last agent printed:\n%s", r.answered)
		}
	})
	a := r.g.one()
	r.id, r.digest = a.ID, a.Digest
}

// shown is printed text with the reader's folders as the page names them.
func (r *reader) shown(s string) string {
	for _, p := range []struct{ is, as string }{{filepath.Dir(folder), "/home/me/mcpguard"}, {programs, "/home/me/go/bin"}, {r.home, "/home/me"}} {
		s = strings.ReplaceAll(s, p.is, p.as)
	}
	return clipped.ReplaceAllString(s, "…me/agency")
}

// clipped is what an abridged text leaves of the reader's home folder.
var clipped = regexp.MustCompile(`…[-0-9a-z]+/agency`)
