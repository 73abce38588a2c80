package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	tiers "github.com/mcpguard/mcpguard/internal/guard"
)

// TestCRMServerThatIsRestless: a server that shows another record each time is
// asked for it three times, and then the answer is no. Nothing was written.
func TestCRMServerThatIsRestless(t *testing.T) {
	t.Parallel()
	g, c := newCRM(t, "restless")
	call := c.startCall("update_contact", with(contact("c-1"), m{"fields": m{"email": "ada@lind-boats.example"}}), options{})
	var rounds []string
	for range 3 {
		a := g.one()
		rounds = append(rounds, a.ID)
		g.allow(a)
		if d := g.ended(a.ID, client.Stale); d.Receipt != nil {
			t.Errorf("a stale approval has the receipt %+v", d.Receipt)
		}
	}
	if w := c.answer(call).word(); w.Status != "stale" || w.Rule != string(tiers.RuleStaleRounds) {
		t.Errorf("after %v the call was answered %+v", rounds, w)
	}
	if got := recordOf(t, c, "get_contact", contact("c-1"), "contact"); strings.Contains(got.String(), "lind-boats") {
		t.Errorf("the contact was changed: %s", got)
	}
}

// TestMemoryOfThousands: a graph of the size that people have is computed like a
// small one.
func TestMemoryOfThousands(t *testing.T) {
	t.Parallel()
	script := node(t, memoryServer)
	g := newGuard(t, "")
	var lines []string
	line := func(v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(raw))
	}
	const n = 3000
	for i := range n {
		line(m{"type": "entity", "name": fmt.Sprint("E", i), "entityType": "thing", "observations": []string{"a", "b", fmt.Sprint("c", i)}})
	}
	for i := range 2 * n {
		line(m{"type": "relation", "from": fmt.Sprint("E", i%n), "to": fmt.Sprint("E", 7*i%n), "relationType": fmt.Sprint("r", i/n)})
	}
	file := filepath.Join(g.work, "graph.jsonl")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	g.addWith([]string{"MEMORY_FILE_PATH=" + file}, "memory", "--env", "MEMORY_FILE_PATH", "--", "node", script)
	c := g.sdk("agent", "memory")
	var entities, relations, observations, names []any
	for i := range 20 {
		entities = append(entities, m{"name": fmt.Sprint("N", i), "entityType": "thing", "observations": []any{"new"}})
		relations = append(relations, m{"from": fmt.Sprint("E", i), "to": fmt.Sprint("N", i), "relationType": "new"})
		observations = append(observations, m{"entityName": fmt.Sprint("E", 100*i), "contents": []any{"a", "new"}})
		names = append(names, fmt.Sprint("E", i))
	}
	for _, w := range []recordCall{
		{"create_entities", tiers.T1ReversibleWrite, m{"entities": entities}},
		{"create_relations", tiers.T1ReversibleWrite, m{"relations": relations}},
		{"add_observations", tiers.T1ReversibleWrite, m{"observations": observations}},
		{"delete_relations", tiers.T2IrreversibleWrite, m{"relations": relations}},
		{"delete_entities", tiers.T2IrreversibleWrite, m{"entityNames": names}},
	} {
		if shown := g.changesRecord(c, w.tool, w.args, w.tier); len(shown) == 0 {
			t.Errorf("%s: nothing was shown", w.tool)
		}
	}
}
