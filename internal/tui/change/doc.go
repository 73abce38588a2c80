// Package change is the pane that shows one approval's change: a unified diff
// in one column or two, the rows of a JSON Patch, a message, a command, or the
// plain arguments of a call whose effect is not computed.
//
// The text was written by an agent or by a server. Every cell of it passes
// through package safetext. Whatever that marks, and words made of look-alike
// letters, are painted in the hazard style over every other style, carry a "!"
// at the start of their row, and are never folded.
//
// A [View] finds the lines of its text once and paints only the rows of its
// window, so its work per frame does not depend on the length of the change.
// It records what it has painted, for decisions that require it.
//
// The package does not decide anything, read keys, talk to the daemon, start
// goroutines or keep state outside a View. A View belongs to one goroutine.
package change
