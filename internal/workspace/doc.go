// Package workspace is the built-in MCP server for the files and the JSON,
// YAML and TOML documents of the workspace folders. It runs inside the daemon,
// one Conn per session, and supports both eras of the protocol.
//
// It computes what a call writes with the code that made the preview, writes
// by renaming a synced temporary file, and gives up if the target is not in
// the state that the change was made for. Two checks keep paths inside the
// folders: they are resolved as in package effect, then walked with os.Root.
//
// It does not decide whether a call may run, run programs, follow links out of
// the folders, touch devices, or keep anything between sessions.
package workspace
