package approval

import (
	"context"
	"testing"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestRivalsFindsApprovalsForTheSameFile(t *testing.T) {
	inBubble(t, func(x *fixture) {
		submit := func(key, dest string, write bool) *Waiter {
			a := x.template("sess_1", key+dest+string(guard.NewCallID()))
			e := guard.Effect{Kind: "file.write", Resource: guard.Target{Kind: "file", Key: key, Path: "p", Write: write}}
			if dest != "" {
				e.Dest = &guard.Target{Kind: "file", Key: dest, Path: "q", Write: true}
			}
			if key == "opaque" {
				e.Resource = guard.Target{Kind: "opaque", Key: "s", Write: true}
			}
			a.Preview.Effects = []guard.Effect{e}
			a.Digest = digest.Sum([]byte(a.ID))
			ticket, err := x.desk.Submit(context.Background(), a)
			if err != nil {
				t.Fatal(err)
			}
			return ticket
		}
		a, b := submit("/w/a", "", true), submit("/w/b", "", true)
		submit("opaque", "", true)
		submit("opaque", "", true)
		submit("/w/b", "", false)
		if got := x.desk.Rivals(); len(got) != 0 {
			t.Fatalf("rivals without a reason: %v", got)
		}
		c := submit("/w/c", "/w/a", true)
		got := x.desk.Rivals()
		if len(got) != 2 || got[a.ID()] != c.ID() || got[c.ID()] != a.ID() {
			t.Errorf("%v", got)
		}
		x.decide(c, false)
		if got := x.desk.Rivals(); len(got) != 0 {
			t.Errorf("after the decision: %v", got)
		}
		_ = b
	})
}
