// Package localapi is the control API: HTTP and server-sent events over the
// approver socket, for the console and the commands of approve. It turns the
// peer of a connection into a permission: whoever runs as the daemon's user may
// read; deciding, switching and acknowledging ask for more.
//
// The package will not decide what an approval binds or whether a transition is
// legal, keeps no state but the changes that a watcher may still ask for, and
// answers on nothing but a unix socket: a request that a browser could have
// sent is refused before anything is looked up.
package localapi
