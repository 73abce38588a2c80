package diff

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// numbered returns n different lines of about width bytes.
func numbered(prefix string, n, width int) []byte {
	var w bytes.Buffer
	for i := range n {
		fmt.Fprintf(&w, "%s %d %s\n", prefix, i, strings.Repeat("x", width))
	}
	return w.Bytes()
}

// drawn returns n lines drawn from a set of kinds, seeded.
func drawn(seed uint64, n, kinds int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var w bytes.Buffer
	for range n {
		fmt.Fprintf(&w, "line of kind %d\n", r.IntN(kinds))
	}
	return w.Bytes()
}

func shuffled(b []byte, seed uint64) []byte {
	lines := splitLines(b)
	rand.New(rand.NewPCG(seed, 2)).Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	return bytes.Join(lines, nil)
}

func reversed(b []byte) []byte {
	lines := splitLines(b)
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return bytes.Join(lines, nil)
}

// everySecond inserts a line after every second one.
func everySecond(b []byte, insert string) []byte {
	var w bytes.Buffer
	for i, l := range splitLines(b) {
		w.Write(l)
		if i%2 == 1 {
			w.WriteString(insert)
		}
	}
	return w.Bytes()
}

// hard are inputs on which diff programs are slow or large.
func hard() map[string][2][]byte {
	const n = 100_000
	plain := numbered("line", n, 30)
	twice := append(bytes.Clone(plain[:len(plain)/2]), plain[:len(plain)/2]...)
	same := bytes.Repeat([]byte("x\n"), n)
	mixed := everySecond(plain, "}\n")
	oneChange := append(bytes.Clone(plain), '!')
	return map[string][2][]byte{
		"unrelated50k":  {numbered("left", 50_000, 40), numbered("right", 50_000, 40)},
		"shuffled":      {plain, shuffled(plain, 1)},
		"reversed":      {plain, reversed(plain)},
		"twiceShuffled": {twice, shuffled(twice, 2)},
		"binaryLines":   {drawn(1, n, 2), drawn(2, n, 2)},
		"tenKinds":      {drawn(3, n, 10), drawn(4, n, 10)},
		"300Kinds":      {drawn(5, n, 300), drawn(6, n, 300)},
		"30kKinds":      {drawn(7, n, 30_000), drawn(8, n, 30_000)},
		"sameAndHalf":   {same, same[:len(same)/2]},
		"sameMarked":    {same, everySecond(same, "y\n")},
		"bracesBetween": {mixed, shuffled(mixed, 3)},
		"interleaved":   {everySecond(plain, "a\n"), everySecond(plain, "b\n")},
		"halfReplaced":  {everySecond(plain, "a\n"), everySecond(numbered("other", n, 30), "a\n")},
		"periodic":      {bytes.Repeat([]byte("a\nb\nc\n"), n/3), bytes.Repeat([]byte("b\na\nc\nb\n"), n/4)},
		"atTheEnd":      {plain, oneChange},
		"endings":       {bytes.ReplaceAll(plain, []byte("\n"), []byte("\r\n")), plain},
		"oneLine10MB":   {bytes.Repeat([]byte("0123456789"), 1<<20), append(bytes.Repeat([]byte("0123456789"), 1<<20), 'x')},
		"blank":         {bytes.Repeat([]byte("\n"), n), bytes.Repeat([]byte("\n\n \n"), n/3)},
	}
}

// BenchmarkHard measures inputs of 100,000 lines; none may take a second.
func BenchmarkHard(b *testing.B) {
	for name, c := range hard() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			coarse := 0.0
			for b.Loop() {
				_, r := Unified(File{Path: "x", Data: c[0], Exists: true}, File{Path: "x", Data: c[1], Exists: true}, Options{})
				if r.Coarse {
					coarse = 1
				}
			}
			b.ReportMetric(coarse, "coarse")
		})
	}
}

// TestHardInputsAreBounded keeps the promise that no input of 100,000 lines
// takes long. The limit leaves room for a loaded machine: the work itself is
// bounded by steps.
func TestHardInputsAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; the full run covers it")
	}
	for name, c := range hard() {
		start := time.Now()
		text, r := Unified(File{Path: "x", Data: c[0], Exists: true}, File{Path: "x", Data: c[1], Exists: true}, Options{})
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		got, err := applyUnified(c[0], text)
		if err != nil || !bytes.Equal(got, c[1]) {
			t.Errorf("%s: the patch does not reproduce after: %v", name, err)
		}
		if err := checkResult(c[0], c[1], r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkMillionLines changes one line among a million, here and with GNU
// diff, both reading the two files; ratio is ours to theirs.
func BenchmarkMillionLines(b *testing.B) {
	gnu := tool(b, "diff")
	dir := b.TempDir()
	before := numbered("line", 1_000_000, 30)
	after := bytes.Replace(before, []byte("line 500000 x"), []byte("line 500000 y"), 1)
	old, changed := filepath.Join(dir, "old"), filepath.Join(dir, "new")
	for path, data := range map[string][]byte{old: before, changed: after} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	var ours, theirs time.Duration
	for b.Loop() {
		start := time.Now()
		a, err := os.ReadFile(old)
		if err != nil {
			b.Fatal(err)
		}
		z, err := os.ReadFile(changed)
		if err != nil {
			b.Fatal(err)
		}
		text, r := Unified(File{Path: "x", Data: a, Exists: true}, File{Path: "x", Data: z, Exists: true}, Options{})
		ours += time.Since(start)
		if r.Added != 1 || r.Removed != 1 || r.Coarse || len(text) == 0 {
			b.Fatalf("%d added, %d removed", r.Added, r.Removed)
		}
		start = time.Now()
		if err := exec.Command(gnu, "-u", old, changed).Run(); err == nil {
			b.Fatal("diff finds no difference")
		}
		theirs += time.Since(start)
	}
	b.ReportMetric(float64(ours)/float64(theirs), "ratio")
	b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ours-ms")
	b.ReportMetric(float64(theirs.Milliseconds())/float64(b.N), "diff-ms")
}
