package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestStderrFloodIsBounded(t *testing.T) {
	var out bytes.Buffer
	s := newStderrLog(slog.New(slog.NewTextHandler(&out, nil)))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 100_000 {
		s.line([]byte("flood"), now)
	}
	if n := strings.Count(out.String(), "flood"); n != stderrBurst {
		t.Errorf("%d lines of a flood are kept, want %d", n, stderrBurst)
	}
	s.line([]byte("later"), now.Add(time.Minute))
	if !strings.Contains(out.String(), "lines_left_out=99800") || !strings.Contains(out.String(), "later") {
		t.Errorf("what was left out is not said:\n%s", out.String()[max(0, out.Len()-400):])
	}
}
