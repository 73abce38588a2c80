package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// ErrUnknownOutcome means that the outcome of an earlier call on the same
// target is not known yet. No call may build on that target until it is.
var ErrUnknownOutcome = errors.New("an earlier call on this target has no known outcome")

// Locks lets only one call at a time change a target, across all sessions. The
// zero value is ready to use.
//
// A call asks for all of its targets at once and gets them in order of
// arrival, so calls cannot deadlock. A path conflicts with itself and with
// every path above or below it: moving a folder and writing a file in it
// change the same target.
type Locks struct {
	mu     sync.Mutex
	claims []*claim // in order of arrival, including granted ones
}

// claim is the request of one call for its targets.
type claim struct {
	call    guard.CallID
	keys    []string
	ready   chan struct{} // closed when granted or failed
	granted bool
	unknown bool // the outcome of its call is unknown
	err     error
}

// Lock is a granted claim.
type Lock struct {
	locks *Locks
	claim *claim
}

// lockKeys returns the keys that targets lock. Files and folders share one
// namespace, whatever the kind of their effect.
func lockKeys(server string, targets []guard.Target) []string {
	var keys []string
	for _, t := range targets {
		switch {
		case !t.Write:
		case strings.HasPrefix(t.Key, "/"):
			keys = append(keys, "path:"+strings.TrimSuffix(t.Key, "/"))
		default:
			keys = append(keys, t.Kind+":"+t.Key)
		}
	}
	if len(keys) == 0 {
		// fail closed: the change is not known, so nothing else of this server
		// may change at the same time.
		keys = append(keys, "opaque:"+server)
	}
	return keys
}

func conflict(a, b string) bool {
	if a == b {
		return true
	}
	if !strings.HasPrefix(a, "path:") || !strings.HasPrefix(b, "path:") {
		return false
	}
	return strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

func (c *claim) conflicts(o *claim) bool {
	for _, a := range c.keys {
		for _, b := range o.keys {
			if conflict(a, b) {
				return true
			}
		}
	}
	return false
}

// Acquire waits until the call has its targets. It returns the error of ctx,
// or one that wraps ErrUnknownOutcome.
func (l *Locks) Acquire(ctx context.Context, call guard.CallID, server string, targets []guard.Target) (*Lock, error) {
	c := &claim{call: call, keys: lockKeys(server, targets), ready: make(chan struct{})}
	l.mu.Lock()
	l.claims = append(l.claims, c)
	l.grant()
	l.mu.Unlock()
	select {
	case <-c.ready:
	case <-ctx.Done():
		l.remove(c)
		return nil, ctx.Err()
	}
	if c.err != nil {
		return nil, c.err
	}
	if err := ctx.Err(); err != nil {
		l.remove(c)
		return nil, err
	}
	return &Lock{locks: l, claim: c}, nil
}

// grant settles all claims that can be settled now; mu is held.
func (l *Locks) grant() {
	kept := l.claims[:0]
	for _, c := range l.claims {
		if !c.granted {
			free := true
			for _, earlier := range kept {
				if !c.conflicts(earlier) {
					continue
				}
				free = false
				if earlier.unknown {
					c.err = fmt.Errorf("%s: %w", earlier.call, ErrUnknownOutcome)
					break
				}
			}
			if c.err != nil {
				close(c.ready)
				continue
			}
			if free {
				c.granted = true
				close(c.ready)
			}
		}
		kept = append(kept, c)
	}
	clear(l.claims[len(kept):])
	l.claims = kept
}

func (l *Locks) remove(c *claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, o := range l.claims {
		if o == c {
			l.claims = append(l.claims[:i], l.claims[i+1:]...)
			break
		}
	}
	l.grant()
}

// Release frees the targets. Further calls do nothing.
func (h *Lock) Release() { h.locks.remove(h.claim) }

// Keep leaves the targets locked because the outcome of the call is unknown.
// Calls that wait for them fail at once, and later calls do too, until
// Release.
func (h *Lock) Keep() {
	h.locks.mu.Lock()
	defer h.locks.mu.Unlock()
	h.claim.unknown = true
	h.locks.grant()
}

// LockUnknown locks the targets of an intent with an unknown outcome. It is
// for a daemon that has just started.
func (l *Locks) LockUnknown(in guard.Intent) *Lock {
	var targets []guard.Target
	for _, e := range in.Effects {
		targets = append(targets, e.Resource)
		if e.Dest != nil {
			targets = append(targets, *e.Dest)
		}
	}
	c := &claim{call: in.CallID, keys: lockKeys(in.Server, targets), ready: make(chan struct{}), granted: true, unknown: true}
	close(c.ready)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims = append([]*claim{c}, l.claims...)
	return &Lock{locks: l, claim: c}
}
