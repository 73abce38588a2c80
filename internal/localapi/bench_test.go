package localapi

import (
	"fmt"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// BenchmarkList1000 lists 1,000 pending approvals through the API, as
// `approve --list` does.
func BenchmarkList1000(b *testing.B) {
	r := newRig(b, nil)
	s := r.session()
	for i := range 1000 {
		r.pending(s, fmt.Sprint(i))
	}
	for b.Loop() {
		list, err := r.c.ListAll(ctx, client.Filter{Status: []string{client.Pending}})
		if err != nil || len(list) != 1000 {
			b.Fatal(len(list), err)
		}
	}
}
