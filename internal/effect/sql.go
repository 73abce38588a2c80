package effect

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sqltext"
)

// SQL sends text to a database. Its outcome is not predicted: the preview shows
// what the text asks for.
const SQL = "sql"

// Hazards of SQL.
const (
	HazardSQLNotRead    = "sql_not_understood"
	HazardSQLMany       = "sql_many_statements"
	HazardSQLEverything = "sql_without_where"
	HazardSQLSchema     = "sql_schema"
	HazardSQLAccess     = "sql_permissions"
	HazardSQLFunction   = "sql_function"
	HazardSQLOutside    = "sql_outside"
)

type sqlKind struct{ notPredicted }

func (sqlKind) about() About {
	return About{
		Name: SQL, MayRead: true,
		params: []param{
			{name: "statement", want: expr.String},
			{"params", expr.Dyn, true},
			{"database", expr.String, true},
			{"dialect", expr.String, true}, // postgres, mysql or sqlite
		},
		touches: &touching{noun: "table", first: "first use of the table", many: "first use of the tables", names: tablesOf},
	}
}

// tablesOf lists tables with their server and database.
func tablesOf(server string, c guard.Change) []string {
	if c.SQL == nil {
		return nil
	}
	var out []string
	for _, s := range c.SQL.Statements {
		for _, name := range slices.Concat(s.Changes, s.Reads) {
			out = append(out, strings.Join([]string{server, c.SQL.Database, name}, "\x1f"))
		}
	}
	return out
}

// resolve names the database. Writes to the same one wait for each other.
func (sqlKind) resolve(_ context.Context, b *Binding, in Input) (resolved, error) {
	var name string
	if err := b.texts(in, map[string]*string{"database": &name}); err != nil {
		return resolved{}, err
	}
	return resolved{targets: []guard.Target{{Kind: TargetOpaque, Key: SQL + ":" + in.Call.Session.Server + ":" + name, Write: true}}}, nil
}

// plan shows the statements of the text.
func (sqlKind) plan(_ context.Context, b *Binding, in Input, at resolved) (guard.Preview, error) {
	f, err := b.sqlFacts(in)
	if err != nil {
		return guard.Preview{}, err
	}
	list, why := sqltext.Read(f.Dialect, f.Text)
	f.Understood, f.Why = why == "", oneLine(why)
	f.Writes = !f.Understood
	for _, s := range list {
		f.Statements = append(f.Statements, s.SQLStatement)
		f.Writes = f.Writes || s.Writes
	}
	text := sqlText(f)
	var sides []guard.SideEffect
	if f.Writes {
		sides = append(sides, notReversible)
	}
	return guard.Preview{
		SideEffects: sides,
		Effects:     []guard.Effect{{Kind: SQL, Resource: at.targets[0], Diff: digest.Sum([]byte(text))}},
		Change:      guard.Change{Type: guard.ChangeSQL, Text: text, Facts: guard.Facts{SQL: &f}},
		Hazards:     append(sqlHazards(f, list), textHazards([]byte(text))...),
		Summary:     sqlSummary(f),
	}, nil
}

func (b *Binding) sqlFacts(in Input) (f guard.SQLFacts, err error) {
	if f.Text, err = b.text(in, "statement"); err != nil {
		return f, err
	}
	if err := b.texts(in, map[string]*string{"database": &f.Database, "dialect": &f.Dialect}); err != nil {
		return f, err
	}
	v, err := b.value(in, "params")
	if err != nil {
		return f, err
	}
	if v != nil {
		if f.Params, err = json.Marshal(v); err != nil {
			return f, fmt.Errorf("effect %s, params: %w", b.about.Name, err)
		}
	}
	if strings.TrimSpace(f.Text) == "" {
		return f, refusePlan("give a statement", "the statement is empty")
	}
	return f, nil
}

// sqlText describes what a text asks for. The text comes last so that it cannot
// fake a line above.
func sqlText(f guard.SQLFacts) string {
	var out strings.Builder
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&out, "%-9s %s\n", name, oneLine(value))
		}
	}
	row("database", f.Database)
	row("dialect", f.Dialect)
	switch {
	case !f.Understood:
		row("does", "not understood: "+f.Why+"; counts as a write")
	case f.Writes:
		row("does", "writes")
	default:
		row("does", "reads only")
	}
	for i, s := range f.Statements {
		name := "statement"
		if len(f.Statements) > 1 {
			name = fmt.Sprintf("%d of %d", i+1, len(f.Statements))
		}
		row(name, s.Verb)
		row("  changes", strings.Join(s.Changes, ", "))
		row("  reads", strings.Join(s.Reads, ", "))
		row("  calls", strings.Join(sqltext.Unknown(s.Functions), ", "))
	}
	row("values", string(f.Params))
	out.WriteString("text\n" + f.Text)
	if !strings.HasSuffix(f.Text, "\n") {
		out.WriteByte('\n')
	}
	return out.String()
}

func sqlHazards(f guard.SQLFacts, list []sqltext.Statement) []guard.Hazard {
	var out []guard.Hazard
	add := func(kind, format string, args ...any) { out = append(out, hazard(kind, format, args...)) }
	if !f.Understood {
		add(HazardSQLNotRead, "the SQL is not understood (%s); it counts as a write", f.Why)
	}
	if n := len(list); n > 1 {
		add(HazardSQLMany, "%d statements in one call", n)
	}
	var calls []string
	for _, s := range list {
		if s.Everything {
			add(HazardSQLEverything, "%s without a condition: every row of %s", s.Verb, oneLine(strings.Join(s.Changes, ", ")))
		}
		if s.Schema {
			add(HazardSQLSchema, "changes the database's structure: %s", s.Verb)
		}
		if s.Access {
			add(HazardSQLAccess, "changes who may do what: %s", s.Verb)
		}
		if s.Outside {
			add(HazardSQLOutside, "reaches files, programs or other databases from the database server: %s", s.Verb)
		}
		for _, f := range sqltext.Unknown(s.Functions) {
			if !slices.Contains(calls, f) {
				calls = append(calls, f)
			}
		}
	}
	if len(calls) > 0 {
		add(HazardSQLFunction, "calls functions that may do more than compute a value: %s", oneLine(strings.Join(calls, ", ")))
	}
	return out
}

func sqlSummary(f guard.SQLFacts) string {
	where := ""
	if f.Database != "" {
		where = " on " + oneLine(f.Database)
	}
	if !f.Understood {
		return "run SQL that is not understood" + where
	}
	s := telling(f.Statements)
	text := s.Verb
	if names := append(slices.Clone(s.Changes), s.Reads...); len(names) > 0 {
		text += " " + oneLine(names[0])
	}
	if n := len(f.Statements) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text + where
}

// telling returns the statement to name in a summary: the first that changes a
// named thing, else the first that writes, else the first.
func telling(list []guard.SQLStatement) guard.SQLStatement {
	for _, holds := range []func(guard.SQLStatement) bool{
		func(s guard.SQLStatement) bool { return len(s.Changes) > 0 },
		func(s guard.SQLStatement) bool { return s.Writes },
	} {
		if i := slices.IndexFunc(list, holds); i >= 0 {
			return list[i]
		}
	}
	return list[0]
}
