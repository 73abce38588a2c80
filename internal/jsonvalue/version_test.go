package jsonvalue

import (
	"encoding/json"
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
		x := randomValue(r, 4)
		y := altered(r, x)
		patch, coarse := makePatchWith(x, y, (i%5)*10)
		raw, err := json.Marshal(patch)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := json.Marshal(Preview(x, y))
		if err != nil {
			t.Fatal(err)
		}
		canonical, _ := Canonical(x.Encode())
		h.Field("patch", raw).Field("coarse", fmt.Append(nil, coarse)).Field("rows", rows).Field("canonical", canonical)
	}
	const version, want = 1, "sha256:60c7e758495674c7ed5480b6ae952346a6df0cfeed0c1a221ff3419d4f79240c"
	if got := h.Digest().String(); digest.AlgorithmVersion != version || got != want {
		t.Errorf("version %d: outputs sum to %s; recorded: version %d, %s", digest.AlgorithmVersion, got, version, want)
	}
}
