// Package localapi is the control API: HTTP and server-sent events over the
// approver socket, for the console and the commands of approve. It derives
// permissions from the peer of a connection: every process of the daemon's
// user may read; deciding, switching and acknowledging require more.
//
// The package does not decide what an approval covers or whether a transition
// is legal. It keeps no state but the changes that a watcher may still ask
// for. It serves only a unix socket, and refuses a request that a browser
// could have sent before it looks anything up.
package localapi
