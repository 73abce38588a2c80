package commands

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// largeTree makes a repository of 50,000 files, with a clean index.
func largeTree(b *testing.B) (*Runner, Command) {
	b.Helper()
	dir, err := filepath.EvalSymlinks(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	ws := filepath.Join(dir, "ws")
	for i := range 50_000 {
		at := filepath.Join(ws, fmt.Sprintf("d%02d/e%02d", i%50, i/50%20))
		if i < 1000 {
			if err := os.MkdirAll(at, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("f%d.txt", i)), []byte("some text\nneedle or not\n"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	directly(b, ws, "git init -q; git add -A; git -c user.name=a -c user.email=a@b commit -qm x; sleep 1; git status")
	secret := func(p string) bool { return strings.HasSuffix(p, "/.env") }
	r, err := New(Config{Program: firstProgram(b), State: filepath.Join(dir, "state"), Secret: secret})
	if err != nil {
		b.Fatal(err)
	}
	return r, (&fixture{ws: ws}).command("true")
}

func directly(b *testing.B, folder, line string) {
	b.Helper()
	cmd := exec.Command("bash", "-ec", line)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// measured is what something took, on the clock and of processors.
type measured struct{ wall, cpu []time.Duration }

func (m *measured) take(do func()) {
	start, used := time.Now(), processorTime()
	do()
	m.wall, m.cpu = append(m.wall, time.Since(start)), append(m.cpu, processorTime()-used)
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return d[len(d)/2].Seconds() * 1000
}

// processorTime is of this process and of all that it has waited for.
func processorTime() time.Duration {
	var sum int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += u.Utime.Nano() + u.Stime.Nano()
		}
	}
	return time.Duration(sum)
}

// BenchmarkAgainstDirect runs commands that change nothing directly and as a
// runner does, in turn. What counts are the medians and, on a machine that others
// use, the times of the processors.
func BenchmarkAgainstDirect(b *testing.B) {
	r, c := largeTree(b)
	for _, line := range []string{"true", "grep -r needle d01 | wc -l", "git status"} {
		b.Run(strings.Fields(line)[0], func(b *testing.B) {
			c.Argv = []string{"bash", "-c", line}
			var direct, inside measured
			for b.Loop() {
				direct.take(func() { directly(b, c.Folder, line) })
				inside.take(func() {
					rec, err := r.Preview(context.Background(), c)
					if err != nil || !rec.Unchanged() {
						b.Fatalf("%v, %+v", err, rec)
					}
				})
				r.Forget(c.Call)
			}
			b.ReportMetric(median(direct.wall), "direct-ms")
			b.ReportMetric(median(inside.wall)-median(direct.wall), "added-ms")
			b.ReportMetric(median(inside.wall)/median(direct.wall), "ratio")
			b.ReportMetric(median(inside.cpu)-median(direct.cpu), "added-cpu-ms")
			b.ReportMetric(median(inside.cpu)/median(direct.cpu), "cpu-ratio")
		})
	}
}

// BenchmarkNewFiles makes 10,000 files in the large tree: how long after the
// command's end they can be shown, and what they take to land against cp -a.
func BenchmarkNewFiles(b *testing.B) {
	r, c := largeTree(b)
	c.Argv = []string{"bash", "-c", "mkdir n; for i in $(seq 10000); do echo text > n/$i; done"}
	var shown, land, copied measured
	for b.Loop() {
		var rec *Record
		shown.take(func() {
			var err error
			if rec, err = r.Preview(context.Background(), c); err != nil || !rec.Whole() || len(rec.Changes) != 10_001 {
				b.Fatalf("%v, %d changes", err, len(rec.Changes))
			}
			if _, err := rec.Preview(""); err != nil {
				b.Fatal(err)
			}
		})
		last := &shown.wall[len(shown.wall)-1]
		*last -= rec.Took
		land.take(func() {
			if _, err := r.Land(context.Background(), rec.ID); err != nil {
				b.Fatal(err)
			}
		})
		// A landing is durable when it is done.
		copied.take(func() { directly(b, c.Folder, "cp -a n ../copy; sync -f ../copy") })
		if p, err := rec.landing().Progress(); err != nil || p != sandbox.Landed {
			b.Fatal(p, err)
		}
		r.Keep(c.Call)
		directly(b, c.Folder, "rm -r n ../copy")
	}
	b.ReportMetric(median(shown.wall), "shown-ms-beside-command")
	b.ReportMetric(median(land.wall), "land-ms")
	b.ReportMetric(median(land.wall)/median(copied.wall), "land/cp")
	b.ReportMetric(median(land.cpu)/median(copied.cpu), "cpu-land/cp")
}
