// Package sqltext says what a text of SQL asks for: its statements, the tables
// that each reads and changes, the functions that it calls. It reads the dialects
// of PostgreSQL, MySQL and SQLite, each with a parser of that dialect, and takes
// part in no decision: a text that no parser can read whole is not understood.
//
// It is pure, and bounds what it parses. It knows no schema: what a view, a
// trigger or a function of somebody's own does is not seen here.
package sqltext
