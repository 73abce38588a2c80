package sqltext

import (
	"errors"
	"slices"
	"strings"

	pg "github.com/sqlc-dev/oliphant"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// readPostgres reads the SQL of PostgreSQL. Whether a backslash keeps a
// quotation mark from ending a text is a setting of the server, or of the
// session, so a text that has the two side by side is not understood.
func readPostgres(text string) ([]Statement, error) {
	if strings.Contains(text, `\'`) {
		// fail closed: where the text ends under one setting a statement may begin under the other
		return nil, errors.New("a backslash before a quotation mark means different things under different settings of the server")
	}
	tree, err := pg.Parse(text)
	if err != nil {
		return nil, err
	}
	var out []Statement
	for _, s := range tree.GetStmts() {
		out = append(out, postgresStatement(s.GetStmt().ProtoReflect()))
	}
	return out, nil
}

// postgresStatement reads one node, which wraps the statement itself.
func postgresStatement(wrapped protoreflect.Message) Statement {
	var out Statement
	r := postgresReader{&out}
	m := unwrapped(wrapped)
	name := string(m.Descriptor().Name())
	out.Verb = verbOf(name)
	switch s := m.Interface().(type) {
	case *pg.SelectStmt:
		if s.GetIntoClause() != nil {
			out.Verb = "SELECT INTO"
		}
	case *pg.VariableShowStmt:
		out.Verb = "SHOW"
	case *pg.ExplainStmt:
		inner := postgresStatement(s.GetQuery().ProtoReflect())
		runs := slices.ContainsFunc(s.GetOptions(), func(n *pg.Node) bool { return strings.EqualFold(n.GetDefElem().GetDefname(), "analyze") })
		inner.Verb = "EXPLAIN " + inner.Verb
		if runs { // it does what it explains
			return inner
		}
		// It is planned all the same, and planning runs functions that are said to be constant.
		return Statement{SQLStatement: guard.SQLStatement{Verb: inner.Verb, Reads: append(inner.Reads, inner.Changes...), Functions: inner.Functions}}
	case *pg.InsertStmt, *pg.UpdateStmt, *pg.DeleteStmt, *pg.MergeStmt:
		out.Writes = true
	case *pg.TruncateStmt:
		out.Writes, out.Everything = true, true
	case *pg.TransactionStmt:
		out.Writes = true
		out.Verb = strings.ReplaceAll(strings.TrimPrefix(s.GetKind().String(), "TRANS_STMT_"), "_", " ")
	case *pg.CopyStmt:
		out.Writes = s.GetIsFrom() || s.GetIsProgram() || s.GetFilename() != ""
		out.Outside = s.GetIsProgram() || s.GetFilename() != ""
		if s.GetIsFrom() {
			out.Changes = append(out.Changes, postgresName(s.GetRelation()))
		}
	case *pg.DropStmt:
		out.Writes, out.Schema = true, true
		out.Verb = "DROP " + objectWord(s.GetRemoveType().String())
		for _, o := range s.GetObjects() {
			out.Changes = append(out.Changes, postgresNames(o))
		}
	case *pg.GrantStmt, *pg.GrantRoleStmt, *pg.CreateRoleStmt, *pg.AlterRoleStmt, *pg.AlterRoleSetStmt, *pg.DropRoleStmt,
		*pg.AlterDefaultPrivilegesStmt, *pg.AlterOwnerStmt, *pg.CreatePolicyStmt, *pg.AlterPolicyStmt, *pg.ReassignOwnedStmt, *pg.DropOwnedStmt:
		out.Writes, out.Access = true, true
		if g, ok := s.(*pg.GrantStmt); ok && !g.GetIsGrant() {
			out.Verb = "REVOKE"
		}
	case *pg.VariableSetStmt:
		out.Writes, out.Verb = true, "SET "+s.GetName()
	case *pg.DoStmt, *pg.CallStmt, *pg.ExecuteStmt, *pg.PrepareStmt, *pg.DeallocateStmt, *pg.LockStmt, *pg.VacuumStmt, *pg.CheckPointStmt,
		*pg.DiscardStmt, *pg.ListenStmt, *pg.NotifyStmt, *pg.UnlistenStmt, *pg.ClusterStmt, *pg.ReindexStmt, *pg.RefreshMatViewStmt,
		*pg.DeclareCursorStmt, *pg.FetchStmt, *pg.ClosePortalStmt, *pg.ConstraintsSetStmt:
		out.Writes = true
	case *pg.LoadStmt:
		out.Writes, out.Outside = true, true
	case *pg.AlterSystemStmt:
		out.Writes, out.Outside = true, true
	default: // the rest makes, alters or drops something
		out.Writes, out.Schema = true, true
		if name == "CreateStmt" {
			out.Verb = "CREATE TABLE"
		}
		if name == "IndexStmt" {
			out.Verb = "CREATE INDEX"
		}
		if name == "ViewStmt" {
			out.Verb = "CREATE VIEW"
		}
	}
	r.walk(m, nil, out.Schema)
	return out
}

// unwrapped returns the node that a Node holds.
func unwrapped(m protoreflect.Message) protoreflect.Message {
	if m.Descriptor().Name() != "Node" {
		return m
	}
	if f := m.WhichOneof(m.Descriptor().Oneofs().Get(0)); f != nil {
		return m.Get(f).Message()
	}
	return m
}

// postgresReader notes what a tree names.
type postgresReader struct{ out *Statement }

// walk reads a tree. hidden are the names that a WITH gives to queries there;
// changing says that a table which is named is one that is changed.
func (r postgresReader) walk(m protoreflect.Message, hidden []string, changing bool) {
	m = unwrapped(m)
	own := protoreflect.Name("") // the member that names what is changed
	switch s := m.Interface().(type) {
	case *pg.RangeVar:
		name := postgresName(s)
		switch {
		case changing:
			r.out.Changes = append(r.out.Changes, name)
		case s.GetSchemaname() != "" || !slices.Contains(hidden, name):
			r.out.Reads = append(r.out.Reads, name)
		}
		return
	case *pg.InsertStmt, *pg.MergeStmt, *pg.RefreshMatViewStmt:
		own = "relation"
	case *pg.UpdateStmt:
		own = "relation"
		r.everything(s.GetWhereClause())
	case *pg.DeleteStmt:
		own = "relation"
		r.everything(s.GetWhereClause())
	case *pg.TruncateStmt:
		own = "relations"
	case *pg.IntoClause:
		own = "rel"
	case *pg.SelectStmt:
		changing = false // the tables of a query in CREATE … AS are read
		r.out.Writes = r.out.Writes || len(s.GetLockingClause()) > 0
	case *pg.FuncCall:
		r.out.Functions = append(r.out.Functions, strings.TrimPrefix(postgresList(s.GetFuncname()), "pg_catalog."))
	case *pg.A_Expr:
		if !strings.Contains(s.GetKind().String(), "BETWEEN") { // of which the name is a word
			r.operator(s.GetName())
		}
	case *pg.SubLink:
		r.operator(s.GetOperName())
	case *pg.SortBy:
		r.operator(s.GetUseOp())
	case *pg.RangeTableSample:
		r.foreign("sample ", s.GetMethod(), "bernoulli system")
	case *pg.TypeName:
		r.foreign("type ", s.GetNames(), postgresTypes)
	}
	if own != "" {
		r.out.Writes = true
	}
	with := m.Descriptor().Fields().ByName("with_clause")
	if with != nil && m.Has(with) {
		hidden = r.with(m.Get(with).Message(), hidden)
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Kind() != protoreflect.MessageKind || f == with {
			return true
		}
		mine := changing || f.Name() == own
		if own != "" && f.Name() != own {
			mine = false
		}
		if f.IsList() {
			for i := range v.List().Len() {
				r.walk(v.List().Get(i).Message(), hidden, mine)
			}
			return true
		}
		r.walk(v.Message(), hidden, mine)
		return true
	})
}

// operator notes an operator that may be somebody's own, which calls a function.
func (r postgresReader) operator(name []*pg.Node) {
	r.foreign("operator ", name, postgresOperators)
}

// foreign notes what may lead to a function of somebody's own: an operator, a
// type to which a value is turned, a method of sampling. What writes anyway is
// not asked about it.
func (r postgresReader) foreign(what string, list []*pg.Node, known string) {
	name := strings.TrimPrefix(postgresList(list), "pg_catalog.")
	if name != "" && !r.out.Writes && !slices.Contains(strings.Fields(known), name) {
		r.out.Functions = append(r.out.Functions, what+name)
	}
}

// What PostgreSQL itself has.
const (
	postgresOperators = `
= <> != < > <= >= + - * / % ^ ! @ & | # ~ << >> || |/ ||/ ~~ !~~ ~~* !~~* !~ ~* !~* @> <@ && -|- &< &> <<| |>> &<| |&>
~= <-> ## ?# ?- ?| ?-| ?|| @-@ @@ -> ->> #> #>> #- ? ?& @? ^@ <<= >>= ~<~ ~<=~ ~>~ ~>=~`
	postgresTypes = `
bit bool box bpchar bytea char cid cidr circle date daterange float4 float8 inet int2 int4 int4range int8 int8range
interval json jsonb jsonpath line lseg macaddr macaddr8 money name numeric numrange oid path pg_lsn point polygon
regclass regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype
text tid time timestamp timestamptz timetz tsquery tsrange tstzrange tsvector uuid varbit varchar xid xml`
)

// with reads the queries of a WITH and returns what is hidden beside it. A
// query sees those before it, and all of them where the WITH is recursive.
func (r postgresReader) with(m protoreflect.Message, hidden []string) []string {
	w, ok := m.Interface().(*pg.WithClause)
	if !ok {
		return hidden
	}
	inner := slices.Clone(hidden)
	if w.GetRecursive() {
		for _, c := range w.GetCtes() {
			inner = append(inner, c.GetCommonTableExpr().GetCtename())
		}
	}
	for _, c := range w.GetCtes() {
		r.walk(c.ProtoReflect(), inner, false)
		inner = append(slices.Clone(inner), c.GetCommonTableExpr().GetCtename())
	}
	return inner
}

// everything notes a change whose condition looks at no column.
func (r postgresReader) everything(where *pg.Node) {
	looks := false
	var look func(protoreflect.Message)
	look = func(m protoreflect.Message) {
		switch unwrapped(m).Interface().(type) {
		case *pg.ColumnRef, *pg.CurrentOfExpr:
			looks = true
		}
		unwrapped(m).Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case f.Kind() != protoreflect.MessageKind:
			case f.IsList():
				for i := range v.List().Len() {
					look(v.List().Get(i).Message())
				}
			default:
				look(v.Message())
			}
			return !looks
		})
	}
	if where != nil {
		look(where.ProtoReflect())
	}
	r.out.Everything = r.out.Everything || !looks
}

func postgresName(v *pg.RangeVar) string {
	name := v.GetRelname()
	if s := v.GetSchemaname(); s != "" {
		name = s + "." + name
	}
	if c := v.GetCatalogname(); c != "" {
		name = c + "." + name
	}
	return name
}

// postgresNames is the name of an object, which stands as a list of its parts.
func postgresNames(n *pg.Node) string {
	switch {
	case n.GetList() != nil:
		return postgresList(n.GetList().GetItems())
	case n.GetObjectWithArgs() != nil:
		return postgresList(n.GetObjectWithArgs().GetObjname())
	case n.GetTypeName() != nil:
		return postgresList(n.GetTypeName().GetNames())
	}
	return n.GetString_().GetSval()
}

func postgresList(list []*pg.Node) string {
	var parts []string
	for _, n := range list {
		if s := n.GetString_().GetSval(); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ".")
}

// objectWord makes "TABLE" of "OBJECT_TABLE".
func objectWord(kind string) string {
	return strings.ReplaceAll(strings.TrimPrefix(kind, "OBJECT_"), "_", " ")
}
