package proxy

import (
	"context"
	"sync/atomic"
)

// followers are the goroutines that follow calls. A few stay when their call
// has ended: their stacks have grown to what a call takes.
type followers struct {
	next chan func()
	idle atomic.Int32
}

// maxFollowers is how many wait for a call of a session.
const maxFollowers = 4

// run calls f in a goroutine, and returns at once.
func (p *followers) run(ctx context.Context, f func()) {
	select {
	case p.next <- f:
	default:
		go p.follow(ctx, f) // ends with its call, or with ctx where it waits for another
	}
}

func (p *followers) follow(ctx context.Context, f func()) {
	for {
		f()
		if p.idle.Add(1) > maxFollowers {
			p.idle.Add(-1)
			return
		}
		select {
		case f = <-p.next:
			p.idle.Add(-1)
		case <-ctx.Done():
			return
		}
	}
}
