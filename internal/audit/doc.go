// Package audit defines the audit log: the schema of its events, their one
// canonical encoding, the Merkle log that they form (C2SP tlog, as in
// golang.org/x/mod/sumdb/tlog), its signed checkpoints (C2SP tlog-checkpoint,
// signed notes) and their verification.
//
// Everything here is a pure function of its arguments, apart from the random
// numbers of a new key and of new event ids. The package will not open files,
// keep the log, decide what is worth an event, or redact: whoever fills in an
// event passes previews that are redacted already.
package audit
