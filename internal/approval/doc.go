// Package approval tracks which call waits for which decision and until when:
// the calls that are held, their deadlines, and which of several identical
// calls is the one that executes.
//
// The store alone keeps the state of an approval. What is kept here can be
// lost with the process; [Approvals.Start] builds it again from the store. A
// [Waiter] is one held call that waits for an approval. At most one waiter of
// an approval is live, the newest; older ones are superseded.
//
// The package does not decide anything, compute or compare previews, talk to
// clients, or execute calls, and it keeps no state that must survive a
// restart.
package approval
