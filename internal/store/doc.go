// Package store keeps everything that must survive the daemon: approvals,
// intents and receipts, runs, sessions and calls, switches, alerts, the
// contents that reviewers read, and the audit log. It is the only user of
// bbolt.
//
// One transition is one transaction, and the transition's audit record is part
// of it. A single goroutine commits whatever is queued, so writers that come
// together share a commit; each learns only of its own success. Writes are not
// abandoned when their caller's context ends: what was asked for is recorded.
//
// Beside the database (guard.db) stand four files: the journal, whose one sync
// is what a writer waits for and which the database takes in when there is time
// or when it is opened; the head, the last signed checkpoint of the audit log,
// which a database that was rolled back no longer reaches; the key that signs;
// and the checksums of all pages, left at the last orderly end, by which the next
// start finds damage. All of them have mode 0600.
//
// The package will not decide anything: it refuses transitions that are not
// legal, too late, doubled or made for another digest, and knows no policy. It
// does not redact, starts no calls, and never returns memory that belongs to
// the database. Slices inside returned values are shared and must not be
// changed.
package store
