package store

import (
	"context"
	"sync"
)

// backlog is how many changes a watcher may fall behind before it is told to
// read everything again.
const backlog = 512

// feed passes committed changes to watchers. It never waits for one.
type feed struct {
	mu       sync.Mutex
	seq      uint64
	watchers map[*Watcher]struct{}
	closed   bool
}

// Watcher receives the changes made after its creation. One goroutine calls
// Next; Close may be called from another.
type Watcher struct {
	feed   *feed
	signal chan struct{} // capacity 1; something is there, or the watcher ended
	// The feed's mutex guards what follows.
	pending []Change
	lost    bool
	ended   bool
}

// Watch returns a watcher, to be closed after use.
func (s *Store) Watch() *Watcher {
	w := &Watcher{feed: &s.feed, signal: make(chan struct{}, 1)}
	f := &s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchers == nil {
		f.watchers = map[*Watcher]struct{}{}
	}
	w.ended = f.closed
	f.watchers[w] = struct{}{}
	return w
}

// Seq returns the number of the last change.
func (s *Store) Seq() uint64 {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	return s.feed.seq
}

// Next returns the next change. A watcher that fell too far behind gets one
// ChangeResync instead of what it missed. ErrShut means that the watcher or
// the store is closed.
func (w *Watcher) Next(ctx context.Context) (Change, error) {
	for {
		w.feed.mu.Lock()
		switch {
		case w.lost:
			w.lost = false
			w.pending = nil
			c := Change{Seq: w.feed.seq, Kind: ChangeResync}
			w.feed.mu.Unlock()
			return c, nil
		case len(w.pending) > 0:
			c := w.pending[0]
			w.pending = w.pending[1:]
			w.feed.mu.Unlock()
			return c, nil
		case w.ended:
			w.feed.mu.Unlock()
			return Change{}, ErrShut
		}
		w.feed.mu.Unlock()
		select {
		case <-w.signal:
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

// Close ends the watcher.
func (w *Watcher) Close() {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	delete(w.feed.watchers, w)
	w.ended, w.pending, w.lost = true, nil, false
	w.poke()
}

func (w *Watcher) poke() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (f *feed) publish(changes []Change) {
	if len(changes) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range changes {
		f.seq++
		c.Seq = f.seq
		for w := range f.watchers {
			switch {
			case w.lost:
			case len(w.pending) >= backlog:
				w.lost, w.pending = true, nil
			default:
				w.pending = append(w.pending, c)
			}
		}
	}
	for w := range f.watchers {
		w.poke()
	}
}

// resync tells every watcher to read again.
func (f *feed) resync() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	for w := range f.watchers {
		w.lost, w.pending = true, nil
		w.poke()
	}
}

func (f *feed) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for w := range f.watchers {
		w.ended = true
		w.poke()
	}
}
