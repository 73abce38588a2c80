package proxy

import (
	"math"
	"time"

	"github.com/mcpguard/mcpguard/internal/policy"
)

// What a session takes from a tool's policy besides its decisions.

func rateOf(t *policy.Tool) (n int, per time.Duration) { return t.Limits.Rate.Count, t.Limits.Rate.Per }

func callLimit(t *policy.Tool) int {
	if t == nil {
		return 0
	}
	return t.Limits.CallsPerRun
}

func outputLimit(v *policy.Verdict) int {
	if v.Output <= 0 || v.Output > math.MaxInt {
		return math.MaxInt
	}
	return int(v.Output)
}
