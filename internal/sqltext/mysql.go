package sqltext

import (
	"errors"
	"reflect"
	"regexp"
	"strings"

	"github.com/sqlc-dev/marino/ast"
	"github.com/sqlc-dev/marino/mysql"
	"github.com/sqlc-dev/marino/parser"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// readMySQL reads the SQL of MySQL and MariaDB. What a quotation mark and a
// backslash mean there is a setting of the server; a text that means one thing
// under one setting and another under the other is not understood, and no more
// is one with a comment that some versions run and others skip.
func readMySQL(text string) ([]Statement, error) {
	if versionedComment.MatchString(text) {
		// fail closed: which version of MySQL, MariaDB or TiDB reads it is not known
		return nil, errors.New("it has a comment that some versions of the server run")
	}
	out, err := readMySQLAs(text, 0)
	if err != nil || !strings.ContainsAny(text, "\"\\") {
		return out, err
	}
	for _, mode := range []mysql.SQLMode{mysql.ModeANSIQuotes, mysql.ModeNoBackslashEscapes, mysql.ModeANSIQuotes | mysql.ModeNoBackslashEscapes} {
		// Under a setting that does not take the text at all, nothing runs.
		if other, err := readMySQLAs(text, mode); err == nil && !reflect.DeepEqual(out, other) {
			return nil, errors.New("its quotation marks or backslashes mean different things under different settings of the server")
		}
	}
	return out, nil
}

// versionedComment begins what is a comment for some servers: /*! with or
// without a version, /*M! for MariaDB, /*T! for TiDB.
var versionedComment = regexp.MustCompile(`/\*[A-Za-z]?!`)

func readMySQLAs(text string, mode mysql.SQLMode) ([]Statement, error) {
	p := parser.New()
	p.SetSQLMode(mode)
	list, warnings, err := p.Parse(text, "", "")
	if err != nil {
		return nil, err
	}
	if len(warnings) > 0 {
		return nil, warnings[0]
	}
	var out []Statement
	for _, s := range list {
		out = append(out, mysqlStatement(s))
	}
	return out, nil
}

func mysqlStatement(s ast.StmtNode) Statement {
	var out Statement
	out.Verb = verbOf(reflect.TypeOf(s).Elem().Name())
	r := mysqlReader{out: &out}
	switch s := s.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt:
		out.Verb = "SELECT"
	case *ast.ShowStmt, *ast.HelpStmt:
	case *ast.ExplainStmt:
		if s.Stmt == nil {
			out.Writes = true
			break
		}
		if _, ok := s.Stmt.(*ast.ShowStmt); ok {
			out.Verb = "DESCRIBE"
			break
		}
		inner := mysqlStatement(s.Stmt)
		inner.Verb = "EXPLAIN " + inner.Verb
		if s.Analyze { // it does what it explains
			return inner
		}
		return Statement{SQLStatement: guard.SQLStatement{Verb: inner.Verb, Reads: append(inner.Reads, inner.Changes...), Writes: s.IntoVar != "",
			Functions: inner.Functions}} // some versions run a part of what they explain
	case *ast.InsertStmt:
		if s.IsReplace {
			out.Verb = "REPLACE"
		}
		r.changed(s.Table)
	case *ast.UpdateStmt:
		r.changed(s.TableRefs)
		r.everything(s.Where)
	case *ast.DeleteStmt:
		if s.Tables != nil {
			r.changed(s.Tables)
		} else {
			r.changed(s.TableRefs)
		}
		r.everything(s.Where)
	case *ast.TruncateTableStmt:
		out.Everything, out.Verb = true, "TRUNCATE"
		r.changed(s.Table)
	case *ast.LoadDataStmt:
		out.Outside = true
		r.changed(s.Table)
	case *ast.LoadXMLStmt, *ast.ImportTableStmt, *ast.ImportIntoStmt, *ast.CloneStmt, *ast.InstallPluginStmt, *ast.InstallComponentStmt,
		*ast.CreateLoadableFunctionStmt, *ast.ShutdownStmt, *ast.RestartStmt, *ast.KillStmt, *ast.BRIEStmt:
		out.Writes, out.Outside = true, true
	case *ast.GrantStmt, *ast.GrantRoleStmt, *ast.GrantProxyStmt, *ast.RevokeStmt, *ast.RevokeRoleStmt, *ast.RevokeProxyStmt, *ast.CreateUserStmt,
		*ast.AlterUserStmt, *ast.DropUserStmt, *ast.RenameUserStmt, *ast.SetPwdStmt, *ast.SetDefaultRoleStmt:
		out.Writes, out.Access = true, true
	case *ast.DropTableStmt:
		if s.IsView {
			out.Verb = "DROP VIEW"
		}
		out.Schema = true
	case ast.DDLNode:
		out.Schema = true
	default: // fail closed: whatever else there is may write
		out.Writes = true
		out.Schema = strings.HasPrefix(out.Verb, "CREATE ") || strings.HasPrefix(out.Verb, "ALTER ") || strings.HasPrefix(out.Verb, "DROP ")
	}
	s.Accept(&r)
	if out.Schema {
		out.Writes = true
		out.Changes, out.Reads = append(out.Changes, out.Reads...), nil
	}
	return out
}

// mysqlReader notes what a tree names. hidden are the names that a WITH gives
// to queries, most of them no longer than the statement that has it.
type mysqlReader struct {
	out    *Statement
	hidden []string
	scopes map[ast.Node]int
}

// Enter implements ast.Visitor.
func (r *mysqlReader) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.SelectStmt:
		if n.SelectIntoOpt != nil {
			r.out.Writes = true
			r.out.Outside = r.out.Outside || n.SelectIntoOpt.Tp != ast.SelectIntoVars
		}
		if n.LockInfo != nil && n.LockInfo.LockType != ast.SelectLockNone {
			r.out.Writes = true
		}
		r.with(n, &n.With)
	case *ast.SetOprStmt:
		r.with(n, &n.With)
	case *ast.UpdateStmt:
		r.with(n, &n.With)
	case *ast.DeleteStmt:
		r.with(n, &n.With)
	case *ast.TableName:
		if name := mysqlName(n); n.Schema.O != "" || !containsFold(r.hidden, name) {
			r.out.Reads = append(r.out.Reads, name)
		}
	case *ast.FuncCallExpr:
		name := n.FnName.L
		if n.Schema.L != "" {
			name = n.Schema.L + "." + name
		}
		r.out.Functions = append(r.out.Functions, name)
	case *ast.AggregateFuncExpr:
		r.out.Functions = append(r.out.Functions, strings.ToLower(n.F))
	case *ast.WindowFuncExpr:
		r.out.Functions = append(r.out.Functions, strings.ToLower(n.Name))
	case *ast.VariableExpr:
		r.out.Writes = r.out.Writes || n.Value != nil
	}
	return n, false
}

// Leave implements ast.Visitor.
func (r *mysqlReader) Leave(n ast.Node) (ast.Node, bool) {
	if depth, ok := r.scopes[n]; ok {
		r.hidden = r.hidden[:depth]
		delete(r.scopes, n)
	}
	return n, true
}

// with reads the queries of a WITH, each of which sees those before it and,
// where it is recursive, itself; then it hides their names until n is left.
func (r *mysqlReader) with(n ast.Node, at **ast.WithClause) {
	w := *at
	if w == nil {
		return
	}
	*at = nil // it is read here, once
	if r.scopes == nil {
		r.scopes = map[ast.Node]int{}
	}
	r.scopes[n] = len(r.hidden)
	for _, c := range w.CTEs {
		if w.IsRecursive {
			r.hidden = append(r.hidden, c.Name.O)
		}
		if c.Query != nil {
			c.Query.Accept(r)
		}
		if !w.IsRecursive {
			r.hidden = append(r.hidden, c.Name.O)
		}
	}
}

// changed notes the tables that a part of a statement names as changed.
func (r *mysqlReader) changed(n ast.Node) {
	sub := Statement{}
	if v := reflect.ValueOf(n); !v.IsNil() {
		n.Accept(&mysqlReader{out: &sub})
	}
	r.out.Writes = true
	r.out.Changes = append(r.out.Changes, sub.Reads...)
}

// everything notes a change whose condition looks at no column.
func (r *mysqlReader) everything(where ast.ExprNode) {
	looks := columnFinder(false)
	if where != nil {
		where.Accept(&looks)
	}
	r.out.Everything = r.out.Everything || !bool(looks)
}

// columnFinder is true once a column was met.
type columnFinder bool

// Enter implements ast.Visitor.
func (f *columnFinder) Enter(n ast.Node) (ast.Node, bool) {
	if _, ok := n.(*ast.ColumnNameExpr); ok {
		*f = true
	}
	return n, bool(*f)
}

// Leave implements ast.Visitor.
func (f *columnFinder) Leave(n ast.Node) (ast.Node, bool) { return n, true }

func mysqlName(n *ast.TableName) string {
	if n.Schema.O != "" {
		return n.Schema.O + "." + n.Name.O
	}
	return n.Name.O
}
