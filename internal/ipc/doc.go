// Package ipc lets the processes of the guard find and recognise each other on
// one machine. It provides folders and sockets that only their owner can
// reach, the credentials and ancestors of a peer, the passing of descriptors,
// the hello between shim and daemon, and the report with which a detached
// daemon says that it is ready.
//
// What the kernel says about a peer (user, process, start time) is taken as
// true; what a peer says about itself is a claim and decides nothing. A
// process is identified by its pid and start time, and held by a pidfd if the
// system has them, because pids are reused.
//
// The package does not decide what a session may do, read a session's traffic,
// or log. It has few imports, because every client starts a shim that uses it.
package ipc
