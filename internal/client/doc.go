// Package client is the Go client of the daemon's control API: the types on
// the wire, and the one client that the console and the commands use.
//
// Texts in these types come unescaped from agents and servers; whoever shows
// them must make them safe. The package does not show anything, decide who may
// approve, or know what an approval covers: the daemon does that.
package client
