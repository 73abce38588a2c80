// Package ipc is how the processes of the guard find and recognise each other
// on one machine: folders and sockets that only their owner can reach, the
// credentials of a peer, who its ancestors are, the passing of descriptors,
// the hello between shim and daemon, and the word by which a detached daemon
// says that it is ready.
//
// What the kernel says about a peer (user, process, start time) is taken as
// true; what a peer says about itself is a claim and decides nothing. Process
// identity is a pid together with its start time, held by a pidfd where the
// system has them, because pids are reused.
//
// It will not decide what a session may do, read a byte of a session's
// traffic, or log. It imports little, because the shim that every client
// starts is made of it.
package ipc
