package proxy

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

const (
	legacyList = `{"jsonrpc":"2.0","id":"list","method":"tools/list"}`
	modernList = `{"jsonrpc":"2.0","id":"list","method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
	listen     = `{"jsonrpc":"2.0","id":"listen:0","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
)

// TestPolicyChangeRefreshesTheToolList runs in both eras: the client is told of
// a new policy only if its list of tools would differ.
func TestPolicyChangeRefreshesTheToolList(t *testing.T) {
	without := strings.Replace(testConfig, "      look: {tier: T0_READ}\n", "", 1)
	for name, c := range map[string]struct {
		first []string
		want  string // "" for nothing
	}{
		"legacy":                      {[]string{legacyList}, `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`},
		"modern":                      {[]string{listen, modernList}, `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"listen:0"}}}`},
		"modern without subscription": {[]string{modernList}, ""},
		"never listed":                {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				changed := make(chan struct{})
				r.elsewhere = func(c *Config) { c.Changed = changed }
				p := r.session("patient")
				defer p.end()
				p.server.set(func(_ *fakeServer, m jsonrpc.Message) bool { return m.Method == "subscriptions/listen" })
				for _, frame := range c.first {
					p.send("%s", frame)
				}
				for _, frame := range c.first {
					if frame != listen {
						p.frame()
					}
				}
				changed <- struct{}{} // the same policy
				p.quiet()
				r.setPolicy(without)
				changed <- struct{}{}
				if c.want == "" {
					p.quiet()
					return
				}
				if got := p.frame(); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				p.quiet()
			})
		})
	}
}

func TestUnacceptedDefinitionsAreReported(t *testing.T) {
	inBubble(t, func(r *rig) {
		var told [][]Waiting
		changed := make(chan struct{})
		r.elsewhere = func(c *Config) {
			c.Changed = changed
			c.Waiting = func(w []Waiting) { told = append(told, w) }
		}
		p := r.session("patient")
		defer p.end()
		for range 2 {
			p.send(legacyList)
			p.frame()
		}
		synctest.Wait()
		if len(told) != 1 || len(told[0]) != 2 || told[0][0].Tool != "extra" || told[0][0].Accepted != nil {
			t.Fatalf("told %v, want two tools, once: one that no policy names, and one that has changed", told)
		}
		w := told[0][1]
		if w.Tool != "moved" || string(w.Definition) != definitionOf("moved") || !strings.Contains(string(w.Accepted), "once did moved") {
			t.Errorf("told %+v", w)
		}
		r.setPolicy(strings.Replace(testConfig, "      moved: {tier: T0_READ}\n", "      moved: {tier: NEVER}\n", 1))
		changed <- struct{}{}
		synctest.Wait()
		if len(told) != 2 || len(told[1]) != 1 || told[1][0].Tool != "extra" {
			t.Errorf("told %v, want that the closed one does not wait any more", told)
		}
	})
}
