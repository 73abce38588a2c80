// Package clienttools brings the client's own tools (Write, Edit, Bash …) into the
// line of a call. They run inside the client, where the guard cannot stand; the
// client asks before each of them, by a hook or a permission prompt, and reports
// afterwards. A Session is both ends of a proxy's session: the client that makes
// a tools/call of each question, and the upstream that "runs" it, which means
// that it tells the client to go on and withholds its answer until the client
// has reported. So policy, preview, approval, intent, read-back and receipt are
// the proxy's, as for every other tool.
//
// The package will not decide, approve, read a target, or run a tool. What the
// client reports is its claim: whether a file is what was approved is found out
// by reading it back.
package clienttools
