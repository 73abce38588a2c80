package diff

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/mcpguard/mcpguard/internal/digest"
)

// TestAlgorithmVersion fails when any output changes: raise
// digest.AlgorithmVersion then and record the new sum, so that no digest made
// before can match.
func TestAlgorithmVersion(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	h := digest.NewHasher("all outputs")
	for i := range 2000 {
		before := randomText(r, 60)
		after := mutate(r, before)
		if i%3 == 0 {
			after = randomText(r, 60)
		}
		o := Options{Context: i%5 - 1, Budget: (i % 7) * 40}
		text, result := Unified(File{Path: "x y", Data: before, Mode: 0o644, Exists: i%11 != 0}, File{Path: "x y", Data: after, Mode: uint32(i), Exists: i%13 != 0}, o)
		h.Field("text", text).Field("coarse", fmt.Append(nil, result.Coarse, result.Added, result.Removed))
		h.Field("spans", fmt.Append(nil, fmt.Sprint(Intraline(before, after))))
	}
	const version, want = 1, "sha256:60bfc52947e95488d676124840b7ce38b153151b1a671af620531d9040e5e28b"
	if got := h.Digest().String(); digest.AlgorithmVersion != version || got != want {
		t.Errorf("version %d: outputs sum to %s; recorded: version %d, %s", digest.AlgorithmVersion, got, version, want)
	}
}
