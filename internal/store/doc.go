// Package store keeps everything that must survive the daemon: approvals,
// intents and receipts, runs, sessions and calls, switches, alerts, the
// contents that reviewers read, the lines that stand in for commands, and the
// audit log. It is the only user of
// bbolt.
//
// Each transition is one transaction that includes its audit record. A single
// goroutine commits whatever is queued, so concurrent writers share a commit;
// each caller learns the outcome of its own operation only. A write is not
// abandoned when its caller's context ends.
//
// Four files stand beside the database (guard.db). The journal: a writer waits
// for one sync of it, and it is merged into the database when there is time or
// when the database is opened. The head: the last signed checkpoint of the
// audit log, which a rolled-back database no longer reaches. The signing key.
// The checksums of all pages, written at an orderly stop, with which the next
// start finds damage. All have mode 0600.
//
// The package makes no decisions and knows no policy: it only refuses
// transitions that are illegal, late, duplicated or for another digest. It
// does not redact and starts no calls. It never returns memory that belongs to
// the database. Slices inside returned values are shared and must not be
// changed.
package store
