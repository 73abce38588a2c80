// Package client is the control API of the daemon as its users see it: the
// types on the wire and the one Go client, for the console and for commands.
//
// Texts in these types are what an agent or a server wrote, unescaped; whoever
// shows them makes them safe. The package will not show anything, decide who
// may approve, or know what an approval binds: the daemon does.
package client
