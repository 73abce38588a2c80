// Package effect turns a tool call into what it would change: it resolves the
// names in the arguments, plans the result from the real target, renders it as
// a preview and, afterwards, reads the target back.
//
// A plan is computed here from the bytes on disk; what the agent or a server
// claims is never used. The same ground gives the same preview, byte for byte.
// Paths are held inside the workspace folders: links are resolved one component
// at a time, nothing outside is opened, and a device, pipe or socket is never
// touched. What cannot be computed is refused.
//
// The package will not change a file, decide policy, keep state between calls,
// redact secrets or make text safe for a terminal.
package effect
