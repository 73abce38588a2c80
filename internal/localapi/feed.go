package localapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/mcpguard/mcpguard/internal/store"
)

// kept is how many changes a watcher that reconnects may have missed.
const kept = 2048

// feed keeps the last changes, so that each stream reads them at its own pace
// and an interrupted one can resume. It never waits for a stream.
type feed struct {
	watch    func() Watcher
	log      *slog.Logger
	instance string // identifies this feed in event IDs

	mu     sync.Mutex
	last   uint64         // number of the newest change
	ring   []store.Change // ring[n%kept] is change number n
	more   chan struct{}  // closed and replaced with each change
	source Watcher        // nil before open
	ended  bool
}

func newFeed(watch func() Watcher, log *slog.Logger) *feed {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return &feed{
		watch: watch, log: log, instance: hex.EncodeToString(b[:]),
		ring: make([]store.Change, kept), more: make(chan struct{}),
	}
}

// open starts to listen: every later change is kept.
func (f *feed) open() { f.source = f.watch() }

// run receives changes until ctx ends or the store is closed.
func (f *feed) run(ctx context.Context) {
	defer f.source.Close()
	defer f.end()
	for {
		c, err := f.source.Next(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, store.ErrShut) {
				f.log.Error("following the changes of the store", "error", err)
			}
			return
		}
		f.add(c)
	}
}

func (f *feed) add(c store.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.ring[f.last%kept] = c
	close(f.more)
	f.more = make(chan struct{})
}

func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	close(f.more)
	f.more = make(chan struct{})
}

// id returns the ID of an event, which resume parses.
func (f *feed) id(n uint64) string { return f.instance + "-" + strconv.FormatUint(n, 10) }

// resume returns the number of the last event that a stream has seen, and
// whether it can continue there. If not, the reader must read everything again
// and continue from the newest event.
func (f *feed) resume(lastID string) (seen uint64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	instance, number, found := strings.Cut(lastID, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if !found || err != nil || instance != f.instance || n > f.last || f.last-n > kept {
		return f.last, false
	}
	return n, true
}

// after returns the changes after number seen. lost means that some of them
// are no longer kept: the stream continues after the number last. If there is
// nothing new, wait is closed when there is. ended means that nothing follows.
func (f *feed) after(seen uint64) (changes []store.Change, lost bool, last uint64, wait <-chan struct{}, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last-seen > kept {
		return nil, true, f.last, nil, false
	}
	for n := seen + 1; n <= f.last; n++ {
		changes = append(changes, f.ring[n%kept])
	}
	return changes, false, f.last, f.more, f.ended && len(changes) == 0
}
