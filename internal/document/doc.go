// Package document reads JSON, YAML and TOML texts as values, and changes them in
// place: a JSON Patch goes in, and what it does not touch keeps its bytes. It
// also reads .env and .ini files as plain values, and says whether two readers
// take a YAML text for the same.
//
// It is pure: it opens no file, and knows nothing of calls or policies. What it
// cannot write without changing more than the patch says, it refuses.
package document
