package proxy

import (
	"fmt"
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// progress tells a client that asked for progress what its call waits for.
func (s *session) progress(c *call, t *approval.Waiter) {
	if c.req.token.IsZero() {
		return
	}
	s.sayProgress(c, t)
}

// sayProgress stands apart from hold like result.
//
//go:noinline
func (s *session) sayProgress(c *call, t *approval.Waiter) {
	a := t.Approval()
	left := max(0, a.Expires.Left(s.cfg.Clock.Now())).Round(time.Second)
	s.notifyProgress(c, fmt.Sprintf("waiting for approval %s %d:%02d left", a.ID, int(left/time.Minute), int(left%time.Minute/time.Second)))
}

// notifyProgress sends one progress notification. Progress must only rise, so the
// values are negative and rise toward zero over the whole life of the call, below
// what the upstream may send later.
func (s *session) notifyProgress(c *call, message string) {
	c.told++
	s.toClient(jsonrpc.Notify("notifications/progress", map[string]any{
		"progressToken": rawID(c.req.token), "progress": -1 / float64(c.told), "message": message,
	}))
}

// whileComputing tells a client that asked for progress, from time to time, that the
// change of its call is being computed: a command may run for minutes in its sandbox,
// and a client gives up a call of which it hears nothing. Once what it returns has
// returned, nothing more is told.
func (s *session) whileComputing(c *call) (end func()) {
	if c.req.token.IsZero() {
		return func() {}
	}
	var (
		mu    sync.Mutex // guards over, timer and c.told
		over  bool
		timer *time.Timer
		began = time.Now()
	)
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(progressEvery, func() {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		took := time.Since(began).Round(time.Second)
		s.notifyProgress(c, fmt.Sprintf("computing what it changes, %d:%02d so far", int(took/time.Minute), int(took%time.Minute/time.Second)))
		timer.Reset(progressEvery)
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		timer.Stop()
	}
}
