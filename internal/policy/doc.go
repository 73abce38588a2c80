// Package policy is the decision point. It compiles a configuration and the
// accepted tool definitions into an immutable set that decides deny, ask or allow
// for one call at a time, with the rule that decided.
//
// It denies by default and is total: whatever is unnamed, unknown, not accepted or
// impossible to evaluate is denied. It does no I/O, reads no clock and counts
// nothing: counters, switches and the time come in as a snapshot. It does not
// resolve paths, compute effects or keep approvals.
package policy
