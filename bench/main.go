// Command bench measures what the guard costs: both sides of each comparison in
// one run, block by block in turn, since machines are noisy; what counts are the
// ratios. It starts the real programs, which bench/run builds, in throw-away
// folders. It will not judge: the targets stand beside the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// bench is one run.
type bench struct {
	bin        string // the programs
	base       string // throw-away folders
	everything string // the script of the everything server
	scale      int    // how much of everything
	crowd      string // of the console: only those with this in their name
	strict     *guard
	relaxed    *guard
}

func main() {
	b := &bench{}
	flag.StringVar(&b.bin, "bin", "", "folder with mcpguardd, approve and echo")
	flag.StringVar(&b.everything, "everything", "", "script of @modelcontextprotocol/server-everything")
	flag.IntVar(&b.scale, "scale", 10, "blocks per measurement")
	only := flag.String("only", "", "measure only this: reads, everything, throughput, decision, pause, pending, held, large, shim, hooks, diff, console")
	flag.StringVar(&b.crowd, "crowd", "", "with -only console: only what waits under this name, such as 100,000")
	flag.Parse()
	if err := b.run(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(only string) (err error) {
	// Where the state really is matters: a folder in memory has no disk.
	if b.base, err = os.MkdirTemp(os.Getenv("BENCH_FOLDER"), "mg-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.base)
	if b.base, err = filepath.EvalSymlinks(b.base); err != nil {
		return err
	}
	work := filepath.Join(b.base, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	// The guard takes the client's folder from the process.
	if err := os.Chdir(work); err != nil {
		return err
	}
	if only == "console" {
		machine()
		return b.console(context.Background())
	}
	if b.strict, err = newGuard(b.bin, b.base, "strict", b.everything); err != nil {
		return err
	}
	if b.relaxed, err = newGuard(b.bin, b.base, "relaxed", b.everything); err != nil {
		return err
	}
	machine()
	ctx, known := context.Background(), only == ""
	for _, m := range []struct {
		name    string
		measure func(context.Context) error
	}{
		{"reads", b.reads}, {"everything", b.readsOfEverything}, {"throughput", b.throughput},
		{"shim", b.shim}, {"hooks", b.hooks}, {"decision", b.decision}, {"pause", b.pause}, {"pending", b.pending}, {"held", b.held}, {"large", b.large}, {"diff", b.diff}, {"console", b.console},
	} {
		if only != "" && only != m.name {
			continue
		}
		known = true
		if err := m.measure(ctx); err != nil {
			return fmt.Errorf("measuring %s: %w", m.name, err)
		}
	}
	for _, g := range []*guard{b.strict, b.relaxed} {
		if serr := g.stop(); serr != nil && err == nil {
			err = serr
		}
	}
	if !known {
		return errors.Join(err, fmt.Errorf("there is no measurement %q; see -help", only))
	}
	return err
}

// machine says what the figures were taken on; how busy it was counts most.
func machine() {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		load = []byte("unknown")
	}
	fmt.Printf("%s/%s, %d processors, %s, load %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), strings.TrimSpace(string(load)))
}

// times is what was measured of one side.
type times []time.Duration

func (t times) at(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	s := slices.Clone(t)
	slices.Sort(s)
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

func (t times) median() time.Duration { return t.at(0.5) }

// clock times one call of f.
func clock(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

// row prints one side.
func row(name string, t times) {
	fmt.Printf("  %-34s median %10s   p95 %10s   n %d\n", name, short(t.median()), short(t.at(0.95)), len(t))
}

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f µs", float64(d.Nanoseconds())/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.2f ms", float64(d.Nanoseconds())/1e6)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// verdict prints a figure beside its target.
func verdict(name string, value float64, unit string, most bool, target float64) {
	word, ok := "at most", value <= target
	if !most {
		word, ok = "at least", value >= target
	}
	mark := "  "
	if !ok {
		mark = "! "
	}
	fmt.Printf("%s%-34s %.2f%s   target %s %.2f%s\n", mark, name, value, unit, word, target, unit)
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }
