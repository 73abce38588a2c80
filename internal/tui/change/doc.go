// Package change is the pane that shows one approval's change: a unified diff in
// one column or two, the rows of a JSON Patch, a message, a command, or the plain
// arguments of a call whose effect is not computed.
//
// The text that it shows was written by an agent or by a server. Every cell of
// it passes through package safetext; whatever that marks, and words made of
// look-alikes, are painted in the hazard style over every other style, carry a
// "!" at the start of their row, and are never folded away.
//
// A [View] finds the lines of its text once and paints only the rows of its
// window, so its work per frame does not depend on how long the change is. It
// keeps account of what it painted, for decisions that ask for it.
//
// The package will not decide anything, read keys, talk to the daemon, start
// goroutines or keep state outside of a View. A View belongs to one goroutine.
package change
