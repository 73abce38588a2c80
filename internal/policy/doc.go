// Package policy is the decision point: from a configuration and the accepted
// tool definitions it compiles an immutable set that answers, for one call at a
// time, deny, ask or allow, with the rule that decided.
//
// It is default deny and total. Whatever is not named, not known, not accepted
// or cannot be evaluated is denied. It does no I/O, reads no clock and counts
// nothing: counters, switches and the time come in as a snapshot. It does not
// resolve paths, compute effects or keep approvals.
package policy
