package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// side is one way to a server.
type side struct {
	name string
	*wire
	times times
}

// sides opens a session per way: without the guard, through a process that only
// copies, and behind each of both guards.
func (b *bench) sides(server string, direct ...string) ([]*side, func(), error) {
	var out []*side
	end := func() {
		for _, s := range out {
			s.close()
		}
	}
	for _, o := range []struct {
		name string
		open func() (*wire, error)
	}{
		{"direct", func() (*wire, error) { return open(os.Environ(), direct...) }},
		{"through a process that copies", func() (*wire, error) {
			return open(os.Environ(), append([]string{filepath.Join(b.strict.bin, "copy")}, direct...)...)
		}},
		{"guarded, reads: strict", func() (*wire, error) { return b.strict.session(server) }},
		{"guarded, reads: relaxed", func() (*wire, error) { return b.relaxed.session(server) }},
	} {
		w, err := o.open()
		if err != nil {
			end()
			return nil, nil, err
		}
		out = append(out, &side{name: o.name, wire: w})
	}
	return out, end, nil
}

// inTurn makes calls on every side, a block at a time, with between called
// after each block.
func (b *bench) inTurn(sides []*side, tool string, block int, between func() error) error {
	for _, s := range sides { // nobody pays for being first
		for range block / 2 {
			if err := s.call(tool); err != nil {
				return err
			}
		}
	}
	for range b.scale {
		for _, s := range sides {
			for range block {
				d, err := clock(func() error { return s.call(tool) })
				if err != nil {
					return err
				}
				s.times = append(s.times, d)
			}
		}
		if err := between(); err != nil {
			return err
		}
	}
	for _, s := range sides {
		row(s.name, s.times)
	}
	return nil
}

// reads measures an allowed read through the smallest possible upstream, and a
// raw fsync of the disk that the guard records on.
func (b *bench) reads(context.Context) error {
	fmt.Println("An allowed read, through the smallest possible upstream")
	sides, end, err := b.sides("echo", b.strict.program("echo"))
	if err != nil {
		return err
	}
	defer end()
	f, err := os.OpenFile(filepath.Join(b.base, "fsync"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	var syncs times
	err = b.inTurn(sides, "echo", 200, func() error {
		for range 50 {
			d, err := clock(func() error {
				if _, err := f.Write(make([]byte, 4096)); err != nil {
					return err
				}
				return f.Sync()
			})
			if err != nil {
				return err
			}
			syncs = append(syncs, d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	row("write of 4 KiB and fsync", syncs)
	direct, copied, strict, relaxed := sides[0].times.median(), sides[1].times.median(), sides[2].times.median(), sides[3].times.median()
	verdict("relaxed / direct", ratio(relaxed, direct), "", true, 2.5)
	fact("of that, copied / direct", ratio(copied, direct))
	verdict("strict / (direct + fsync)", ratio(strict, direct+syncs.median()), "", true, 1)
	fact("strict / (copied + fsync)", ratio(strict, copied+syncs.median()))
	return nil
}

// readsOfEverything measures the same through a real server.
func (b *bench) readsOfEverything(context.Context) error {
	fmt.Println("An allowed read, through the real everything server")
	sides, end, err := b.sides("everything", "node", b.everything)
	if err != nil {
		return err
	}
	defer end()
	if err := b.inTurn(sides, "echo", 200, func() error { return nil }); err != nil {
		return err
	}
	direct := sides[0].times.median()
	verdict("relaxed / direct", ratio(sides[3].times.median(), direct), "", true, 1.25)
	verdict("strict / direct", ratio(sides[2].times.median(), direct), "", true, 1.25)
	fact("copied / direct", ratio(sides[1].times.median(), direct))
	return nil
}

// inFlight is how many calls are under way at once.
const inFlight = 16

// throughput measures calls per second with many in flight.
func (b *bench) throughput(context.Context) error {
	fmt.Printf("Reads per second, %d in flight, through the smallest possible upstream\n", inFlight)
	if err := b.flooded("echo", 2000, b.strict.program("echo")); err != nil {
		return err
	}
	fmt.Printf("Reads per second, %d in flight, through the real everything server\n", inFlight)
	return b.flooded("everything", 500, "node", b.everything)
}

func (b *bench) flooded(server string, block int, direct ...string) error {
	sides, end, err := b.sides(server, direct...)
	if err != nil {
		return err
	}
	defer end()
	spent := make([]time.Duration, len(sides))
	usage := func() []time.Duration {
		return []time.Duration{used(sides[0].cmd.Process.Pid), used(sides[1].cmd.Process.Pid), b.strict.used(), b.relaxed.used()}
	}
	before := usage()
	for range b.scale {
		for i, s := range sides {
			d, err := clock(func() error { return s.flood("echo", block) })
			if err != nil {
				return err
			}
			spent[i] += d
		}
	}
	rate := func(i int) float64 { return float64(block*b.scale) / spent[i].Seconds() }
	after := usage()
	for i, s := range sides {
		// Of the server itself, the copier or the daemon: this counts the same on a busy machine.
		cpu := (after[i] - before[i]) / time.Duration(block*b.scale)
		fmt.Printf("  %-34s %10.0f calls per second, %s of a processor each\n", s.name, rate(i), short(cpu))
	}
	verdict("relaxed / direct", rate(3)/rate(0), "", false, 0.5)
	verdict("strict / direct", rate(2)/rate(0), "", false, 0.5)
	fact("copied / direct", rate(1)/rate(0))
	return nil
}

// flood makes n calls with many in flight.
func (w *wire) flood(tool string, n int) error {
	for sent, answered := 0, 0; answered < n; {
		for sent < n && sent-answered < inFlight {
			if _, err := w.send(callOf(tool, "hello")); err != nil {
				return err
			}
			sent++
		}
		if _, err := w.answer(); err != nil {
			return err
		}
		answered++
	}
	return nil
}

// fact prints a figure that has no target: what a machine does whatever stands
// between.
func fact(name string, value float64) { fmt.Printf("  %-34s %.2f\n", name, value) }
