package daemon

import (
	"log/slog"
	"sync"
	"time"
)

// Bounds on what the standard error of one server may add to the log: the log
// is rotated, and a flood must not displace the guard's own warnings.
const (
	stderrBurst  = 200 // lines at once
	stderrPerSec = 10
)

// stderrLog writes a server's lines to the log and counts those beyond the
// bounds. It is safe for concurrent use.
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
