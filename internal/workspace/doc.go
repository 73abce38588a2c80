// Package workspace is the built-in MCP server: files, and JSON, YAML and TOML
// documents, of the workspace folders. It runs inside the daemon, one Conn per
// session, and speaks both eras of the protocol.
//
// It computes what a call writes with the code that made the preview, writes
// with a rename of a synced temporary file, and gives up where the target is
// not what the change was made for. Paths are held inside the folders twice:
// resolved as package effect does it, then walked with os.Root.
//
// It will not decide whether a call may run, run programs, follow links out of
// the folders, touch devices, or keep anything between sessions.
package workspace
