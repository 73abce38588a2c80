package effect

import (
	"slices"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestPlanSQL(t *testing.T) {
	params := map[string]string{"statement": "args.sql", "dialect": "'postgres'", "database": "'shop'", "params": "args.params"}
	b := compile(t, Spec{Kind: SQL, Params: params})
	p := mustPlan(t, b, input(t, m{"sql": "DELETE FROM users; SELECT lo_unlink(7)", "params": []any{1, "a"}}))
	f := p.Change.SQL
	if p.Change.Type != guard.ChangeSQL || f == nil || !f.Understood || !f.Writes || string(f.Params) != `[1,"a"]` || f.Database != "shop" {
		t.Fatalf("facts %+v", f)
	}
	for _, kind := range []string{HazardSQLMany, HazardSQLEverything, HazardSQLFunction} {
		if !hasHazard(p, kind) {
			t.Errorf("no hazard %s in %v", kind, p.Hazards)
		}
	}
	want := "database  shop\ndialect   postgres\ndoes      writes\n1 of 2    DELETE\n  changes users\n2 of 2    SELECT\n  calls   lo_unlink\nvalues    [1,\"a\"]\ntext\nDELETE FROM users; SELECT lo_unlink(7)\n"
	if p.Change.Text != want {
		t.Errorf("text:\n%s\nwant:\n%s", p.Change.Text, want)
	}
	if p.Summary != "DELETE users and 1 more on shop" {
		t.Errorf("summary %q", p.Summary)
	}
	for text, want := range map[string]string{
		"SELECT 1; DROP TABLE users": "DROP TABLE users and 1 more on shop", "COMMIT; SELECT 1": "COMMIT and 1 more on shop", "SELECT * FROM a": "SELECT a on shop",
	} {
		if p := mustPlan(t, b, input(t, m{"sql": text, "params": nil})); p.Summary != want {
			t.Errorf("%s: summary %q, want %q", text, p.Summary, want)
		}
	}
	odd := mustPlan(t, b, input(t, m{"sql": "DELETE users\nstatement SELECT", "params": nil}))
	if odd.Change.SQL.Understood || !odd.Change.SQL.Writes || !hasHazard(odd, HazardSQLNotRead) {
		t.Errorf("what is not understood: %+v %v", odd.Change.SQL, odd.Hazards)
	}
	if p.Effects[0].Resource != odd.Effects[0].Resource {
		t.Error("two writes to one database do not wait for each other")
	}
}

func hasHazard(p guard.Preview, kind string) bool {
	return slices.ContainsFunc(p.Hazards, func(h guard.Hazard) bool { return h.Kind == kind })
}
