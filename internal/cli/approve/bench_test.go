package approve

import (
	"io"
	"testing"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// BenchmarkList1000 is `approve --list` with 1,000 approvals pending, without
// the start of a process.
func BenchmarkList1000(b *testing.B) {
	r := newRig(b)
	s := r.session()
	for i := range 1000 {
		r.pending(s, 1, func(a *guard.Approval) {
			a.ID, a.Digest = guard.NewApprovalID(), digest.Sum([]byte{byte(i), byte(i >> 8)})
		})
	}
	for name, c := range map[string]struct {
		mode mode
		args []string
	}{
		"pipe":     {pipe, []string{"--list"}},
		"terminal": {coloured, []string{"--list"}},
		"json":     {pipe, []string{"--list", "--json"}},
		"count":    {pipe, []string{"--list", "--count"}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				a := r.app(c.mode)
				a.out, a.err = io.Discard, io.Discard
				if code := a.run(ctx, c.args); code != exitDone {
					b.Fatal(code)
				}
			}
		})
	}
}
