// Package approval knows who waits for which decision and until when: the
// calls that are held, the timers of time boxes, and which of several identical
// calls is the one that executes.
//
// The state of an approval lives in the store alone; what is kept here can be
// lost with the process and is built again from the store by [Desk.Start]. A
// [Ticket] is one held call's place at the desk. At most one ticket of an
// approval is live, the newest; older ones learn that they were superseded.
//
// The package will not decide anything, compute or compare previews, talk to
// clients, or execute calls, and it keeps no state that a restart would miss.
package approval
