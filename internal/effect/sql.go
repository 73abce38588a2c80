package effect

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// SQL hands text to a database. What it would change there is not predicted:
// the preview says what the text asks for.
const SQL = "sql"

// The languages of SQL that can be read.
const (
	DialectPostgres = "postgres"
	DialectMySQL    = "mysql"
	DialectSQLite   = "sqlite"
)

// The hazards of SQL.
const (
	HazardSQLNotRead    = "sql_not_understood"
	HazardSQLMany       = "sql_many_statements"
	HazardSQLEverything = "sql_without_where"
	HazardSQLSchema     = "sql_schema"
	HazardSQLAccess     = "sql_permissions"
	HazardSQLFunction   = "sql_function"
	HazardSQLOutside    = "sql_outside"
)

// Bounds of what is parsed: bytes, and brackets within brackets. Parsers
// recurse, and an overflow of the stack cannot be recovered from.
const (
	maxSQL     = 64 << 10
	maxSQLDeep = 200
)

func sqlParams() []param {
	return []param{
		{name: "statement", want: expr.String},
		{"params", expr.Dyn, true},
		{"database", expr.String, true},
		{"dialect", expr.String, true}, // postgres, mysql or sqlite
	}
}

// statement is what a parser found in one statement.
type statement struct {
	guard.SQLStatement
	access  bool // changes who may do what
	outside bool // reads or writes files of the server, or runs its programs
}

// sqlTarget is the database of a call. Writes to one wait for each other.
func (b *Binding) sqlTarget(in Input) guard.Target {
	name := ""
	if prog, ok := b.params["database"]; ok {
		name, _ = prog.String(in.Vars) // an error ends the plan
	}
	return guard.Target{Kind: TargetOpaque, Key: SQL + ":" + in.Call.Session.Server + ":" + name, Write: true}
}

// planSQL shows a text by its statements.
func (b *Binding) planSQL(in Input, targets []guard.Target) (guard.Preview, error) {
	f, err := b.sqlFacts(in)
	if err != nil {
		return guard.Preview{}, err
	}
	list, why := readSQL(f.Dialect, f.Text)
	f.Understood, f.Why = why == "", why
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
		Effects:     []guard.Effect{{Kind: SQL, Resource: targets[0], Diff: diff.Sum([]byte(text))}},
		Change:      guard.Change{Type: guard.ChangeSQL, Text: text, Facts: guard.Facts{SQL: &f}},
		Hazards:     append(sqlHazards(f, list), textHazards([]byte(text))...),
		Summary:     sqlSummary(f),
	}, nil
}

func (b *Binding) sqlFacts(in Input) (f guard.SQLFacts, err error) {
	if f.Text, err = b.text(in, "statement"); err != nil {
		return f, err
	}
	for name, to := range map[string]*string{"database": &f.Database, "dialect": &f.Dialect} {
		if b.params[name] != nil {
			if *to, err = b.text(in, name); err != nil {
				return f, err
			}
		}
	}
	if prog, ok := b.params["params"]; ok {
		v, err := prog.Any(in.Vars)
		if err != nil {
			return f, fmt.Errorf("effect %s, params: %w", b.kind, err)
		}
		if f.Params, err = json.Marshal(v); err != nil {
			return f, fmt.Errorf("effect %s, params: %w", b.kind, err)
		}
		if string(f.Params) == "null" {
			f.Params = nil
		}
	}
	if strings.TrimSpace(f.Text) == "" {
		return f, refusePlan("give a statement", "the statement is empty")
	}
	return f, nil
}

// readSQL takes a text apart. why says why it could not be, and is empty if it
// could: then every statement of the text is in the list.
func readSQL(dialect, text string) (list []statement, why string) {
	defer func() {
		if p := recover(); p != nil {
			// fail closed: a parser that fails has read nothing
			list, why = nil, "the parser failed on it"
		}
	}()
	switch {
	case len(text) > maxSQL:
		return nil, fmt.Sprintf("it has more than %d bytes", maxSQL)
	case deepest(text) > maxSQLDeep:
		return nil, "its brackets are nested too deeply"
	case strings.IndexByte(text, 0) >= 0:
		return nil, "it contains a NUL"
	}
	var err error
	switch dialect {
	case DialectPostgres:
		list, err = readPostgres(text)
	case DialectMySQL:
		list, err = readMySQL(text)
	case DialectSQLite:
		list, err = readSQLite(text)
	case "":
		return nil, "the policy does not say which database it is for"
	default:
		return nil, "the guard has no parser for this database"
	}
	switch {
	case err != nil:
		return nil, oneLine(err.Error())
	case len(list) == 0:
		return nil, "it has no statement"
	}
	for i := range list {
		s := &list[i]
		s.Functions = slices.Compact(slices.Sorted(slices.Values(s.Functions)))
		s.Reads = without(unique(s.Reads), s.Changes)
		s.Changes = unique(s.Changes)
		if s.Schema || s.access || s.outside || s.Everything || len(s.Changes) > 0 || len(unknownFunctions(s.Functions)) > 0 {
			s.Writes = true
		}
	}
	return list, ""
}

// deepest is how deep brackets stand within brackets, at least.
func deepest(text string) int {
	deep, most := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '(', '[', '{':
			deep++
			most = max(most, deep)
		case ')', ']', '}':
			deep = max(deep-1, 0)
		}
	}
	return most
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func without(list, drop []string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return slices.Contains(drop, s) })
}

// unknownFunctions are those that may do more than compute a value.
func unknownFunctions(list []string) []string {
	var out []string
	for _, f := range list {
		if !harmless(f) {
			out = append(out, f)
		}
	}
	return out
}

// sqlText says in plain words what a text asks for. The text comes last, so
// that nothing of it can pass for a line above.
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
		row("  calls", strings.Join(unknownFunctions(s.Functions), ", "))
	}
	row("values", string(f.Params))
	out.WriteString("text\n" + f.Text)
	if !strings.HasSuffix(f.Text, "\n") {
		out.WriteByte('\n')
	}
	return out.String()
}

func sqlHazards(f guard.SQLFacts, list []statement) []guard.Hazard {
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
		if s.access {
			add(HazardSQLAccess, "changes who may do what: %s", s.Verb)
		}
		if s.outside {
			add(HazardSQLOutside, "reaches files, programs or other databases from the database server: %s", s.Verb)
		}
		calls = append(calls, unknownFunctions(s.Functions)...)
	}
	if calls = unique(calls); len(calls) > 0 {
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

// telling is the statement that a summary names: the first that changes
// something which is named, else one that writes, else the first.
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

// verbOf makes "CREATE TABLE" of "CreateTableStmt".
func verbOf(name string) string {
	name = strings.TrimSuffix(name, "Stmt")
	var out strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' && name[i-1] >= 'a' {
			out.WriteByte(' ')
		}
		out.WriteRune(r)
	}
	return strings.ToUpper(out.String())
}

// harmless reports whether a function computes a value from its arguments, or
// tells about the session, in every dialect that has it. A function of the same
// name that somebody keeps in a schema of their own comes with its schema.
func harmless(f string) bool { return slices.Contains(strings.Fields(harmlessFunctions), f) }

const harmlessFunctions = `
abs acos add_months age any_value array_agg array_append array_length array_position array_to_string ascii asin atan
atan2 avg bin bit_and bit_length bit_or bool_and bool_or btrim cardinality cast ceil ceiling char char_length
character_length chr clock_timestamp coalesce col_description concat concat_ws convert cos cot count cume_dist curdate
current_database current_date current_schema current_time current_timestamp current_user curtime database date
date_add date_bin date_format date_part date_sub date_trunc datediff datetime day dayname dayofmonth dayofweek
dayofyear decode degrees dense_rank div elt encode every exp extract field find_in_set first_value floor format
format_type from_unixtime gcd gen_random_uuid generate_series glob greatest group_concat has_table_privilege hex hour
if ifnull iif instr interval isnull json json_agg json_array json_array_length json_arrayagg json_build_array
json_build_object json_contains json_each json_extract json_group_array json_group_object json_keys json_length
json_object json_object_agg json_objectagg json_quote json_set json_tree json_type json_typeof json_unquote json_valid
json_value jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_object jsonb_each
jsonb_each_text jsonb_extract_path jsonb_object_agg jsonb_object_keys jsonb_set jsonb_typeof julianday lag last_day
last_insert_rowid last_value lcase lcm lead least left length like like_escape ln localtime localtimestamp locate log
log10 log2 lower lpad ltrim make_date make_interval max md5 mid min minute mod mode month monthname now nth_value
ntile nullif num_nonnulls num_nulls obj_description octet_length overlay percent_rank percentile_cont percentile_disc
pg_column_size pg_database_size pg_get_constraintdef pg_get_expr pg_get_functiondef pg_get_indexdef pg_get_userbyid
pg_get_viewdef pg_relation_size pg_size_pretty pg_table_is_visible pg_table_size pg_total_relation_size pg_typeof pi
position pow power pragma_index_info pragma_index_list pragma_table_info pragma_table_list printf quarter quote
quote_ident quote_literal radians random rank regexp_like regexp_match regexp_matches regexp_replace
regexp_split_to_array regexp_substr repeat replace reverse right round row row_number row_to_json rpad rtrim schema
second session_user sha256 sign similar_to_escape sin sinh soundex space split_part sqlite_version sqrt starts_with
statement_timestamp stddev stddev_pop stddev_samp str_to_date strftime string_agg string_to_array strpos substr
substring substring_index subtime sum sysdate tan textlen time timediff timestamp timestampdiff timezone to_char
to_date to_json to_jsonb to_number to_timestamp total transaction_timestamp translate trim trunc truncate typeof ucase
unhex unicode unistr unix_timestamp unixepoch unnest upper user utc_date utc_timestamp uuid var_pop var_samp variance
version week weekday width_bucket xmlagg year zeroblob`
