package proxy

import (
	"context"
	"sync/atomic"
)

// followers runs the goroutines that follow calls. A few stay after their call
// has ended and are reused, because their stacks have already grown.
type followers struct {
	next chan func()
	idle atomic.Int32
}

// maxFollowers is how many idle goroutines of a session wait for a call.
const maxFollowers = 4

// run calls f in a goroutine and returns at once.
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
