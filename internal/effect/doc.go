// Package effect turns a tool call into what it would change: it resolves the
// names in the arguments, plans the result from the real target, renders it as
// a preview and, afterwards, reads the target back.
//
// A plan is computed from the bytes on disk, never from what the agent or a server
// claims. The same input gives the same preview, byte for byte. Paths are confined
// to the workspace folders: links are resolved one component at a time, nothing
// outside is opened, and devices, pipes and sockets are never opened. What cannot
// be computed is refused.
//
// The package does not change files, decide policy, keep state between calls,
// redact secrets or make text safe for a terminal.
package effect
