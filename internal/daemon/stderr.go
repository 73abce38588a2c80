package daemon

import (
	"log/slog"
	"sync"
	"time"
)

// Bounds of what one server may write into the log by way of its standard
// error: the log is rotated, and a flood must not push the guard's own warnings
// out of it.
const (
	stderrBurst  = 200 // lines at once
	stderrPerSec = 10
)

// stderrLog passes a server's lines on to the log, and counts those that are
// too many. It is safe for concurrent use.
type stderrLog struct {
	log *slog.Logger

	mu      sync.Mutex
	tokens  float64
	at      time.Time
	dropped int
}

func newStderrLog(log *slog.Logger) *stderrLog { return &stderrLog{log: log, tokens: stderrBurst} }

// line is called for each line, at a time.
func (s *stderrLog) line(text []byte, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() {
		s.tokens = min(stderrBurst, s.tokens+now.Sub(s.at).Seconds()*stderrPerSec)
	}
	s.at = now
	if s.tokens < 1 {
		s.dropped++
		return
	}
	s.tokens--
	if s.dropped > 0 {
		s.log.Warn("the server wrote more to standard error than is kept", "lines_left_out", s.dropped)
		s.dropped = 0
	}
	s.log.Info("stderr of the server", "line", string(text))
}
