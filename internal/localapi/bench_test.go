package localapi

import (
	"fmt"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// BenchmarkList1000 lists 1,000 pending approvals through the API, as `approve
// --list` does.
func BenchmarkList1000(b *testing.B) {
	r := newRig(b, nil)
	s := r.session()
	for i := range 1000 {
		r.pending(s, fmt.Sprint(i))
	}
	f := client.Filter{Status: []string{client.Pending}}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			if list, err := r.c.ListAll(ctx, f); err != nil || len(list) != 1000 {
				b.Fatal(len(list), err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		for b.Loop() {
			if list, err := r.c.ListRaw(ctx, f); err != nil || len(list) != 1000 {
				b.Fatal(len(list), err)
			}
		}
	})
	f.Fields = []string{"id", "status", "tier", "server", "tool", "summary", "hazards", "secondsLeft", "digest", "runId", "updatedAt"}
	b.Run("rows", func(b *testing.B) {
		for b.Loop() {
			if list, err := r.c.ListAll(ctx, f); err != nil || len(list) != 1000 {
				b.Fatal(len(list), err)
			}
		}
	})
}
