package sqltext

import (
	"reflect"
	"slices"
	"strings"

	"github.com/sqlc-dev/meyer/ast"
	"github.com/sqlc-dev/meyer/parser"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// readSQLite reads the SQL of SQLite.
func readSQLite(text string) ([]Statement, error) {
	// A database may be built with the option; where it is not, the server
	// refuses what is read here.
	list, err := parser.Options{UpdateDeleteLimit: true}.ParseString(text)
	if err != nil {
		return nil, err
	}
	var out []Statement
	for _, s := range list {
		out = append(out, sqliteStatement(s))
	}
	return out, nil
}

func sqliteStatement(s ast.Stmt) Statement {
	var out Statement
	out.Verb = verbOf(reflect.TypeOf(s).Elem().Name())
	r := sqliteReader{&out}
	switch s := s.(type) {
	case *ast.ExplainStmt: // tells how it would run, and does not run it
		out = sqliteStatement(s.Stmt)
		return Statement{SQLStatement: guard.SQLStatement{Verb: "EXPLAIN " + out.Verb, Reads: append(out.Reads, out.Changes...), Functions: out.Functions}}
	case *ast.SelectStmt:
	case *ast.PragmaStmt:
		name := strings.ToLower(s.Name.Name.Name)
		out.Verb = "PRAGMA " + name
		out.Writes = !slices.Contains(pragmasThatTell, name) && (s.HasValue || !slices.Contains(pragmasThatTellAlone, name))
		return out
	case *ast.AttachStmt, *ast.DetachStmt:
		out.Writes, out.Outside = true, true
	case *ast.VacuumStmt:
		out.Writes, out.Outside = true, s.Into != nil
	case *ast.InsertStmt, *ast.UpdateStmt, *ast.DeleteStmt, *ast.BeginStmt, *ast.CommitStmt, *ast.RollbackStmt,
		*ast.SavepointStmt, *ast.ReleaseStmt, *ast.AnalyzeStmt, *ast.ReindexStmt:
		out.Writes = true
	default: // the rest makes, alters or drops something
		out.Writes, out.Schema = true, true
	}
	r.walk(s, nil)
	if u, ok := s.(*ast.InsertStmt); ok && u.Replace {
		out.Verb = "REPLACE"
	}
	return out
}

// sqliteReader notes what a tree names.
type sqliteReader struct{ out *Statement }

// walk reads a tree. hidden are the names that a WITH gives to queries there.
func (r sqliteReader) walk(n ast.Node, hidden []string) {
	ast.Walk(n, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.SelectStmt:
			return r.with(x, x.With, hidden)
		case *ast.InsertStmt:
			r.changes(x.Table)
			return r.with(x, x.With, hidden)
		case *ast.UpdateStmt:
			r.changes(x.Table)
			r.everything(x.Where)
			return r.with(x, x.With, hidden)
		case *ast.DeleteStmt:
			r.changes(x.Table)
			r.everything(x.Where)
			return r.with(x, x.With, hidden)
		case *ast.TableRef:
			switch {
			case x.HasArgs || x.Name != nil && x.Name.Name != nil && runsWhenRead(x.Name.Name.Name):
				r.out.Functions = append(r.out.Functions, strings.ToLower(sqliteName(x.Name)))
			case x.Name != nil && (x.Name.Schema != nil || !containsFold(hidden, sqliteName(x.Name))):
				r.out.Reads = append(r.out.Reads, sqliteName(x.Name))
			}
		case *ast.InExpr:
			if x.Table != nil {
				r.out.Reads = append(r.out.Reads, sqliteName(x.Table))
			}
		case *ast.FuncCall:
			r.out.Functions = append(r.out.Functions, strings.ToLower(x.Name.Name))
		case *ast.CreateTableStmt:
			r.changes(x.Name)
		case *ast.CreateViewStmt:
			r.changes(x.Name)
		case *ast.CreateVirtualTableStmt:
			r.changes(x.Name)
		case *ast.CreateTriggerStmt:
			r.changes(x.Table)
		case *ast.CreateIndexStmt:
			r.out.Changes = append(r.out.Changes, x.Table.Name)
		case *ast.AlterTableStmt:
			r.changes(x.Table)
		case *ast.DropTableStmt:
			r.changes(x.Name)
		case *ast.DropViewStmt:
			r.changes(x.Name)
		case *ast.DropIndexStmt:
			r.changes(x.Name)
		case *ast.DropTriggerStmt:
			r.changes(x.Name)
		}
		return true
	})
}

// with reads a statement whose WITH hides names. It returns false where it has
// read what is below, as ast.Walk wants.
func (r sqliteReader) with(x ast.Node, w *ast.With, hidden []string) bool {
	if w == nil {
		return true
	}
	inner := slices.Clone(hidden)
	for _, c := range w.CTEs {
		inner = append(inner, c.Name.Name) // in SQLite each sees all of them
	}
	for _, c := range x.Children() {
		r.walk(c, inner)
	}
	return false
}

func (r sqliteReader) changes(q *ast.QualifiedName) {
	r.out.Changes = append(r.out.Changes, sqliteName(q))
	r.out.Writes = true
}

// everything notes a change whose condition looks at no column.
func (r sqliteReader) everything(where ast.Expr) {
	if where == nil {
		r.out.Everything = true
		return
	}
	looks := false
	var look func(ast.Node) bool
	look = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncCall: // its name is no column
			for _, a := range n.Args {
				ast.Walk(a, look)
			}
			return false
		case *ast.Ident, *ast.QualifiedRef:
			looks = true
		}
		return !looks
	}
	ast.Walk(where, look)
	r.out.Everything = r.out.Everything || !looks
}

func sqliteName(q *ast.QualifiedName) string {
	switch {
	case q == nil || q.Name == nil:
		return ""
	case q.Schema != nil:
		return q.Schema.Name + "." + q.Name.Name
	}
	return q.Name.Name
}

// runsWhenRead reports whether a table without arguments is none: a PRAGMA in
// the form of a table may do something, such as optimize, and others read files.
func runsWhenRead(table string) bool {
	name := strings.ToLower(table)
	if pragma, ok := strings.CutPrefix(name, "pragma_"); ok {
		return !slices.Contains(pragmasThatTell, pragma) && !slices.Contains(pragmasThatTellAlone, pragma)
	}
	return name == "fsdir" || name == "zipfile"
}

func containsFold(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}

var (
	// pragmasThatTell only tell, whatever follows their name.
	pragmasThatTell = []string{"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
		"foreign_key_check", "database_list", "collation_list", "function_list", "module_list", "pragma_list", "compile_options",
		"integrity_check", "quick_check", "page_count", "freelist_count"}
	// pragmasThatTellAlone set something where a value follows.
	pragmasThatTellAlone = []string{"user_version", "schema_version", "application_id", "encoding", "journal_mode", "page_size",
		"foreign_keys", "auto_vacuum", "synchronous", "cache_size", "busy_timeout", "temp_store", "mmap_size", "data_version"}
)
