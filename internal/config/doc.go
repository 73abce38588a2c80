// Package config reads what the owner configured: config.yaml, the presets that it
// refines, the accepted tool definitions in tools.lock, and the environment
// recorded for each server.
//
// Reading is strict. Anything unknown, misspelled, out of range or not enforced by
// this version does not load, and every problem is reported with file, line, column
// and a suggestion. Files that others could have written are refused. The package
// makes no decisions about calls, compiles no expressions, starts no servers and
// never prints the value of a secret.
package config
