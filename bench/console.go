package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// crowd is what waits while the console is measured.
type crowd struct {
	name  string
	lines int // of the first change
	items int
	first float64  // target of the first frame, in milliseconds
	keys  []string // pressed in turn; each changes the frame
}

var crowds = []crowd{
	{"10 items", 4, 10, 40, []string{"j", "k"}},
	{"100,000 lines", 100_000, 1, 60, []string{"\x1b[6~"}},
	{"10,000 items", 4, 10_000, 40, []string{"j", "k"}},
}

// console measures `approve` on a pseudo-terminal against a real daemon with
// the items in its store, beside a program that does nothing but write one line
// to a terminal.
func (b *bench) console(ctx context.Context) error {
	for i, c := range crowds {
		if b.crowd != "" && !strings.Contains(c.name, b.crowd) {
			continue
		}
		g, err := newGuardIn(filepath.Join(b.base, "console"+strconv.Itoa(i)), b.bin, "strict", "")
		if err != nil {
			return err
		}
		fmt.Printf("The console, %s\n", c.name)
		err = b.crowded(ctx, g, c)
		if serr := g.stop(); err == nil {
			err = serr
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (b *bench) crowded(ctx context.Context, g *guard, c crowd) error {
	seen, end, err := g.fill(ctx, c)
	if err != nil {
		return err
	}
	defer end()
	if err := b.firstFrame(g, c, seen); err != nil {
		return err
	}
	if err := b.running(g, c, seen); err != nil {
		return err
	}
	return b.listing(ctx, g, c)
}

// perSession is how many calls wait in one session; the daemon bounds it.
const perSession = 1000

// fill makes the calls of a crowd, which then wait, and returns a text that
// stands on the screen once the first change does.
func (g *guard) fill(ctx context.Context, c crowd) (seen string, end func(), err error) {
	var open []*wire
	end = func() {
		for _, w := range open {
			w.close()
		}
	}
	session := func(server string) (*wire, error) {
		w, err := g.session(server)
		if err == nil {
			open = append(open, w)
			go func() { _, _ = io.Copy(io.Discard, w.out) }() // ends with the session
		}
		return w, err
	}
	w, err := session("work")
	if err != nil {
		return "", end, err
	}
	name := "large.txt"
	if err := os.WriteFile(name, numbered("before", c.lines/2), 0o600); err != nil {
		return "", end, err
	}
	args, err := json.Marshal(map[string]string{"path": name, "content": string(numbered("after", c.lines/2))})
	if err != nil {
		return "", end, err
	}
	if _, err := w.send(`"method":"tools/call","params":{"name":"write_file","arguments":` + string(args) + `}`); err != nil {
		return "", end, err
	}
	if _, err := g.pending(ctx, 1); err != nil {
		return "", end, err
	}
	var e *wire
	for i := range c.items - 1 {
		if i%perSession == 0 {
			if e, err = session("echo"); err != nil {
				return "", end, err
			}
		}
		if _, err := e.send(callOf("note", "item "+strconv.Itoa(i))); err != nil {
			return "", end, err
		}
	}
	return ", line 1", end, g.crowded(ctx, c.items)
}

// crowded waits until n approvals wait. It looks now and then: to look at each
// change would cost more than the changes.
func (g *guard) crowded(ctx context.Context, n int) error {
	for {
		count, err := g.api.Count(ctx, client.Filter{Status: []string{client.Pending}})
		if err != nil || count >= n {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func numbered(word string, n int) []byte {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s, line %d\n", word, i)
	}
	return []byte(b.String())
}

// firstFrame measures from the start of the program to the frame with the
// change on it.
func (b *bench) firstFrame(g *guard, c crowd, seen string) error {
	var full, any, trivial times
	for i := range 2*b.scale + 1 {
		t, err := onTerminal(g.env, g.program("approve"))
		if err != nil {
			return err
		}
		err = t.until(0, "mcpguard")
		first := time.Since(t.began)
		if err == nil {
			err = t.until(0, seen)
		}
		whole := time.Since(t.began)
		t.close()
		if err != nil {
			return err
		}
		p, err := onTerminal(g.env, "/bin/echo", "mcpguard")
		if err != nil {
			return err
		}
		err = p.until(0, "mcpguard")
		least := time.Since(p.began)
		p.close()
		if err != nil {
			return err
		}
		if i > 0 { // the first one reads the program from the disk
			full, any, trivial = append(full, whole), append(any, first), append(trivial, least)
		}
	}
	row("start to the first frame", any)
	row("start to the change on the screen", full)
	row("/bin/echo on a terminal", trivial)
	fmt.Printf("  %-34s %10s\n", "the fastest start to the change", short(full.at(0)))
	fmt.Printf("  %-34s %.1f times\n", "ratio to /bin/echo", ratio(full.median(), trivial.median()))
	verdict("start to the change", float64(full.median().Microseconds())/1000, " ms", true, c.first)
	return nil
}

// running measures keys, processor time and memory of one console.
func (b *bench) running(g *guard, c crowd, seen string) error {
	t, err := onTerminal(g.env, g.program("approve"))
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.until(0, seen); err != nil {
		return err
	}
	var keys times
	for i := range 10 * b.scale {
		t.quiet()
		from := t.size()
		took, err := clock(func() error {
			if _, err := t.far.WriteString(c.keys[i%len(c.keys)]); err != nil {
				return err
			}
			return t.grown(from)
		})
		if err != nil {
			return err
		}
		keys = append(keys, took)
	}
	row("key to frame", keys)
	verdict("key to frame, p95", float64(keys.at(0.95).Microseconds())/1000, " ms", true, 30)
	t.quiet()
	pid := t.cmd.Process.Pid
	for _, k := range []string{"G", "g"} { // all of it was looked at
		if _, err := t.far.WriteString(k); err != nil {
			return err
		}
		t.quiet()
	}
	<-time.After(2 * time.Second) // until it is calm, and has given memory back
	before, began := used(pid), time.Now()
	<-time.After(time.Duration(5+b.scale) * time.Second) // processor time is counted in hundredths
	idle := 100 * float64(used(pid)-before) / float64(time.Since(began))
	verdict("processor time while idle", idle, " %", true, 1)
	kib, err := resident(pid)
	if err != nil {
		fmt.Println("  the console's resident memory cannot be read here:", err)
		return nil
	}
	verdict("resident memory", float64(kib)/1024, " MiB", true, 40)
	return nil
}

// listing measures `approve --list` beside the same request alone.
func (b *bench) listing(ctx context.Context, g *guard, c crowd) error {
	var list, nothing, request times
	for range 2 * b.scale {
		for _, m := range []struct {
			t    *times
			args []string
		}{{&list, []string{"--list"}}, {&nothing, []string{"--version"}}} {
			d, err := clock(func() error {
				cmd := exec.Command(g.program("approve"), m.args...)
				cmd.Env = g.env
				return cmd.Run()
			})
			if err != nil {
				return err
			}
			*m.t = append(*m.t, d)
		}
		d, err := clock(func() error {
			_, err := g.api.ListAll(ctx, client.Filter{})
			return err
		})
		if err != nil {
			return err
		}
		request = append(request, d)
	}
	row("approve --list", list)
	row("the request alone", request)
	row("approve --version", nothing)
	verdict("--list beyond the request", float64((list.median()-request.median()).Microseconds())/1000, " ms", true, 15)
	return nil
}
