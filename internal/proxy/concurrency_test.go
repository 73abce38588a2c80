package proxy

import (
	"strings"
	"testing"
)

// TestAnAnswerFreesItsPlace: an agent that has its answer may make the next call
// at once, also where one call at a time is allowed.
func TestAnAnswerFreesItsPlace(t *testing.T) {
	inBubble(t, func(r *rig) {
		config := strings.ReplaceAll(testConfig, "scratch: {tier: T1_REVERSIBLE_WRITE,", "scratch: {tier: T1_REVERSIBLE_WRITE, limits: {concurrency: 1, rate: 10000/s},")
		r.setPolicy(strings.ReplaceAll(config, "look: {tier: T0_READ}", "look: {tier: T0_READ, limits: {concurrency: 1, rate: 10000/s}}"))
		p := r.session("patient")
		for range 300 {
			p.wantDid(p.call("look", `{}`), "look")
			p.wantDid(p.write("scratch", "a", "text"), "scratch")
		}
		p.end()
	})
}
