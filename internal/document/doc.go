// Package document reads JSON, YAML and TOML texts as values, and applies a JSON
// Patch to them in place: what the patch does not touch keeps its bytes. It also
// reads .env and .ini files as plain values, and says whether two parsers agree on
// a YAML text.
//
// It is pure: it opens no file, and knows nothing of calls or policies. It refuses
// what it cannot write without changing more than the patch says.
package document
