// Package clienttools puts the client's own tools (Write, Edit, Bash …)
// through the same handling as calls of MCP servers. They run inside the
// client, which the guard cannot intercept; the client asks before each of
// them, by a hook or a permission prompt, and reports afterwards. A Session is
// both ends of a proxy session: the client, which makes a tools/call of each
// question, and the upstream, which "runs" it by telling the client to go on
// and withholding its answer until the client has reported. So policy,
// preview, approval, intent, read-back and receipt are the proxy's, as for
// every other tool.
//
// The package does not decide, approve, read a target or run a tool. What the
// client reports is only its claim: whether a file is what was approved is
// found out by reading it back.
package clienttools
