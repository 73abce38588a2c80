package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkAgainstDirect runs commands directly and in a sandbox, in turn, and
// reports what the sandbox adds.
func BenchmarkAgainstDirect(b *testing.B) {
	dir := b.TempDir()
	ws, state := filepath.Join(dir, "ws"), filepath.Join(dir, "state")
	os.Mkdir(state, 0o700)
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
	for _, c := range [][]string{{"git", "init", "-q"}, {"git", "add", "-A"}, {"git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"}} {
		cmd := exec.Command(c[0], c[1:]...)
		cmd.Dir = ws
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v %s", err, out)
		}
	}
	program, _ := os.Executable()
	if p := os.Getenv("MCPGUARD_SANDBOX_PROGRAM"); p != "" {
		program = p
	}
	for name, line := range map[string]string{"true": "true", "status": "git status", "grep": "grep -r needle d01 | wc -l", "new1000": "mkdir n; for i in $(seq 1000); do echo x > n/$i; done"} {
		b.Run(name, func(b *testing.B) {
			var direct, inside time.Duration
			for b.Loop() {
				start := time.Now()
				cmd := exec.Command("bash", "-c", line)
				cmd.Dir = ws
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
				direct += time.Since(start)
				os.RemoveAll(filepath.Join(ws, "n"))
				start = time.Now()
				r, err := Exec(context.Background(), Spec{Program: program, Argv: []string{"bash", "-c", line}, Env: []string{"PATH=/usr/bin:/bin"},
					Dir: ws, Trees: []string{ws}, Visible: []string{"/usr", "/bin", "/lib", "/lib64", "/etc"}, State: state})
				if err != nil {
					b.Fatal(err)
				}
				inside += time.Since(start)
				r.Close()
			}
			b.ReportMetric(float64(direct.Microseconds())/float64(b.N)/1000, "direct-ms")
			b.ReportMetric(float64((inside-direct).Microseconds())/float64(b.N)/1000, "added-ms")
			b.ReportMetric(float64(inside)/float64(direct), "ratio")
		})
	}
}
