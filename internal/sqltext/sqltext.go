package sqltext

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// The languages of SQL that can be read.
const (
	Postgres = "postgres"
	MySQL    = "mysql"
	SQLite   = "sqlite"
)

// Bounds of what is parsed: bytes, and brackets within brackets. Parsers
// recurse, and an overflow of the stack cannot be recovered from.
const (
	maxSQL     = 64 << 10
	maxSQLDeep = 200
)

// Statement is what a parser found in one statement.
type Statement struct {
	guard.SQLStatement
	Access  bool // changes who may do what
	Outside bool // reads or writes files of the server, or runs its programs
}

// Read takes a text apart. why says why it could not be, and is empty if it
// could: then every statement of the text is in the list. It may quote the text.
func Read(dialect, text string) (list []Statement, why string) {
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
	case Postgres:
		list, err = readPostgres(text)
	case MySQL:
		list, err = readMySQL(text)
	case SQLite:
		list, err = readSQLite(text)
	case "":
		return nil, "the policy does not say which database it is for"
	default:
		return nil, "the guard has no parser for this database"
	}
	switch {
	case err != nil:
		return nil, err.Error()
	case len(list) == 0:
		return nil, "it has no statement"
	}
	for i := range list {
		s := &list[i]
		s.Functions = slices.Compact(slices.Sorted(slices.Values(s.Functions)))
		s.Reads = without(unique(s.Reads), s.Changes)
		s.Changes = unique(s.Changes)
		if s.Schema || s.Access || s.Outside || s.Everything || len(s.Changes) > 0 || len(Unknown(s.Functions)) > 0 {
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

// Unknown returns those functions that may do more than compute a value.
func Unknown(list []string) []string {
	var out []string
	for _, f := range list {
		if !harmless(f) {
			out = append(out, f)
		}
	}
	return out
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
