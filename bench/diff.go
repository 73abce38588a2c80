package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/mcpguard/mcpguard/internal/diff"
)

// diff compares the guard's own diff with GNU diff, and looks for its slowest
// input.
func (b *bench) diff(context.Context) error {
	fmt.Println("A one-line change in 1,000,000 lines")
	before := lines(1_000_000, func(i int) string { return fmt.Sprintf("line %d of a file that is long", i) })
	after := bytes.Replace(before, []byte("line 500000 of"), []byte("line 500000 not of"), 1)
	old, new := filepath.Join(b.base, "before"), filepath.Join(b.base, "after")
	for path, content := range map[string][]byte{old: before, new: after} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	var ours, gnu times
	for range b.scale {
		d, err := clock(func() error {
			x, err := os.ReadFile(old)
			if err != nil {
				return err
			}
			y, err := os.ReadFile(new)
			if err != nil {
				return err
			}
			text, _ := diff.Unified(diff.File{Path: "f", Data: x, Exists: true}, diff.File{Path: "f", Data: y, Exists: true}, diff.Options{})
			if bytes.Count(text, []byte("\n+")) != 2 {
				return fmt.Errorf("the diff is %q", text)
			}
			return nil
		})
		if err != nil {
			return err
		}
		ours = append(ours, d)
		d, _ = clock(exec.Command("diff", "-u", old, new).Run) // exit 1: they differ
		gnu = append(gnu, d)
	}
	row("GNU diff -u", gnu)
	row("guard's, with reading both files", ours)
	verdict("guard's / GNU", ratio(ours.median(), gnu.median()), "", true, 3)
	return b.slowest()
}

// slowest measures inputs of 100,000 lines on which diffs are slow.
func (b *bench) slowest() error {
	fmt.Println("The slowest of some hard inputs of 100,000 lines")
	const n = 100_000
	r := rand.New(rand.NewPCG(1, 2))
	numbered := func(word string) []byte { return lines(n, func(i int) string { return fmt.Sprint(word, i) }) }
	drawn := func(kinds int) []byte {
		return lines(n, func(int) string { return fmt.Sprint("kind ", r.IntN(kinds)) })
	}
	shuffled := func(b []byte) []byte {
		all := bytes.SplitAfter(b, []byte("\n"))
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return bytes.Join(all, nil)
	}
	plain := numbered("line ")
	worst, name := time.Duration(0), ""
	for what, pair := range map[string][2][]byte{
		"unrelated":     {numbered("left "), numbered("right ")},
		"shuffled":      {plain, shuffled(plain)},
		"of two kinds":  {drawn(2), drawn(2)},
		"of 300 kinds":  {drawn(300), drawn(300)},
		"of many kinds": {drawn(n / 3), drawn(n / 3)},
	} {
		var t times
		for range 3 {
			d, _ := clock(func() error {
				diff.Unified(diff.File{Path: "f", Data: pair[0], Exists: true}, diff.File{Path: "f", Data: pair[1], Exists: true}, diff.Options{})
				return nil
			})
			t = append(t, d)
		}
		row(what, t)
		if t.median() > worst {
			worst, name = t.median(), what
		}
	}
	verdict("slowest: "+name, worst.Seconds(), " s", true, 1)
	return nil
}

func lines(n int, line func(int) string) []byte {
	var b bytes.Buffer
	for i := range n {
		b.WriteString(line(i))
		b.WriteByte('\n')
	}
	return b.Bytes()
}
