package store

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

// TestContentsOfWhatWaitsAreNotKeptInMemory submits large contents and checks
// the heap: they are only in the file.
func TestContentsOfWhatWaitsAreNotKeptInMemory(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	submit := func(i, size int) {
		a := approval(v, call(t, s, v), fmt.Sprint(i))
		r := rand.New(rand.NewPCG(uint64(i), 0))
		noise := make([]byte, size)
		for k := range noise {
			noise[k] = byte(' ' + r.IntN(90))
		}
		a.Args = fmt.Appendf(nil, "%q", noise)
		if err := s.Submit(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	heap := func() int64 {
		must(s.Runs())(t) // a reader triggers a commit to the file
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	submit(0, 4<<20) // the compressor and the like
	before := heap()
	for i := range 8 {
		submit(i+1, 4<<20)
	}
	if grown := heap() - before; grown > 6<<20 {
		t.Errorf("8 contents of 4 MiB wait, and the heap has grown by %d bytes", grown)
	}
}
