package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The buckets. A key starts with its tenant, except in the audit log, which is
// shared by all tenants (each record names its tenant), and in tenants itself.
// For what concerns the whole guard (switches; alerts without a tenant) the
// tenant is empty.
const (
	bucketMeta        = "meta"                // name → value
	bucketTenants     = "tenants"             // tenant → time first seen
	bucketApprovals   = "approvals"           // tenant, id → row
	bucketByStatus    = "approvals_by_status" // tenant, status, time, id → nothing
	bucketByTime      = "approvals_by_time"   // tenant, time, id → nothing
	bucketOpen        = "approvals_open"      // tenant, run, server, tool, digest → id
	bucketIntents     = "intents"             // tenant, call → intent
	bucketIntentsOpen = "intents_open"        // tenant, call → nothing
	bucketReceipts    = "receipts"            // tenant, call → receipt
	bucketRuns        = "runs"                // tenant, id → run
	bucketRunKeys     = "run_keys"            // tenant, boot, pid, start → id
	bucketSessions    = "sessions"            // tenant, id → session
	bucketSessOpen    = "sessions_open"       // tenant, id → nothing
	bucketCalls       = "calls_open"          // tenant, id → call
	bucketCallsClosed = "calls_closed"        // tenant, id → index of the completion, time
	bucketCounters    = "counters"            // tenant, run, server, tool → number
	bucketSwitches    = "switches"            // "", scope → switch
	bucketAlerts      = "alerts"              // tenant, id → alert
	bucketAlertsOpen  = "alerts_open"         // tenant, kind, key → id
	bucketBlobs       = "blobs"               // tenant, sha256 → content
	bucketBlobRefs    = "blob_refs"           // tenant, sha256, approval → nothing
	bucketSeen        = "seen"                // tenant, digest of a name → time last touched
	bucketLines       = "lines"               // tenant, digest of a token → line
	bucketLineOutput  = "line_outputs"        // tenant, digest of a token → content
	bucketLeaves      = "log_leaves"          // index → record
	bucketHashes      = "log_hashes"          // stored index → hash
	bucketCheckpoints = "log_checkpoints"     // size → signed checkpoint
)

// buckets returns the name of every bucket.
func buckets() []string {
	return []string{
		bucketMeta, bucketTenants, bucketApprovals, bucketByStatus, bucketByTime, bucketOpen, bucketIntents,
		bucketIntentsOpen, bucketReceipts, bucketRuns, bucketRunKeys, bucketSessions, bucketSessOpen, bucketCalls,
		bucketCallsClosed, bucketCounters, bucketSwitches, bucketAlerts, bucketAlertsOpen, bucketBlobs, bucketBlobRefs,
		bucketSeen, bucketLines, bucketLineOutput, bucketLeaves, bucketHashes, bucketCheckpoints,
	}
}

// The names in the meta bucket.
const (
	metaSchema   = "schema"   // version, decimal
	metaCreated  = "created"  // RFC 3339
	metaVerifier = "verifier" // public key of the log
	// metaApprovers is an ApproverRule: who may decide. It is absent until a
	// configuration was read, and in files of earlier versions.
	metaApprovers = "approvers"
)

// maxPart bounds one part of a key, in bytes; bbolt keeps keys up to 32 KiB.
const maxPart = 1 << 10

// key joins the parts of a key with NUL between them, which none may contain,
// so that no two lists of parts share a key and a list of fewer parts followed
// by NUL is a prefix.
func key(parts ...string) []byte {
	n := len(parts)
	for _, p := range parts {
		n += len(p)
	}
	b := make([]byte, 0, n)
	for i, p := range parts {
		if i > 0 {
			b = append(b, 0)
		}
		b = append(b, p...)
	}
	return b
}

// prefix returns the common beginning of the keys that start with these parts.
func prefix(parts ...string) []byte { return append(key(parts...), 0) }

// checkParts returns an error if one of the texts cannot be part of a key.
func checkParts(what string, parts ...string) error {
	for _, p := range parts {
		if strings.IndexByte(p, 0) >= 0 || len(p) > maxPart {
			return fmt.Errorf("%s: a name has %d bytes or contains NUL", what, len(p))
		}
	}
	return nil
}

// checkTenant refuses what cannot be a tenant.
func checkTenant(what, tenant string) error {
	if tenant == "" {
		// fail closed: nothing is stored without a tenant.
		return fmt.Errorf("%s: the tenant is missing", what)
	}
	return checkParts(what, tenant)
}

// short returns s, or a digest of it if it is too long for a key or contains
// NUL. Tool names come from clients.
func short(s string) string {
	if len(s) <= 200 && strings.IndexByte(s, 0) < 0 {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// stamp encodes a time, to the millisecond, as a fixed number of bytes without
// NUL that sort like the times.
func stamp(t time.Time) string {
	ms := t.UnixMilli()
	if t.IsZero() || ms < 0 {
		ms = 0
	}
	return fmt.Sprintf("%013d", ms)
}

// number encodes an index as a key of the log: eight bytes, big endian.
func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// parseNumber is the inverse of number; it returns -1 for an invalid key.
func parseNumber(b []byte) int64 {
	if len(b) != 8 {
		return -1
	}
	n := binary.BigEndian.Uint64(b)
	if n > 1<<62 {
		return -1
	}
	return int64(n)
}

// last returns the part of a key after its last NUL.
func last(k []byte) string { return string(k[bytes.LastIndexByte(k, 0)+1:]) }

// each calls fn with the entries whose keys begin with p, in order, until fn
// returns false. Keys and values are valid only during the call.
func each(b *bolt.Bucket, p []byte, fn func(k, v []byte) bool) {
	c := b.Cursor()
	for k, v := c.Seek(p); k != nil && bytes.HasPrefix(k, p); k, v = c.Next() {
		if !fn(k, v) {
			return
		}
	}
}

// backwards is like each, but from the last key with the prefix p to the
// first. p ends with NUL.
func backwards(b *bolt.Bucket, p []byte, fn func(k, v []byte) (bool, error)) error {
	c := b.Cursor()
	step := c.Prev
	if behind, _ := c.Seek(append(bytes.Clone(p[:len(p)-1]), 1)); behind == nil { // no key is behind those with the prefix
		step = c.Last
	}
	for k, v := step(); bytes.HasPrefix(k, p); k, v = c.Prev() {
		if more, err := fn(k, v); err != nil || !more {
			return err
		}
	}
	return nil
}
