package client

import (
	"encoding/json"
	"time"
)

// AuditFilter selects records of the audit log. The zero value selects the
// newest records, newest first.
type AuditFilter struct {
	// From is the index of the first record when the oldest come first.
	// Otherwise the records before it are returned, and 0 means the end of the
	// log.
	From     int64
	Limit    int
	Oldest   bool // oldest first
	Types    []string
	Run      string
	Approval string
	Server   string
	Tool     string
	Tenant   string
	Status   string
	Verdict  string
	Since    time.Time
	Until    time.Time
}

// Record is one record of the audit log: its index and the canonical JSON that
// was hashed.
type Record struct {
	Index int64           `json:"index"`
	Event json.RawMessage `json:"event"`
}

// Records is one page of the audit log.
type Records struct {
	Records []Record `json:"records"`
	// Next is the From of the following page. With the newest first it is -1
	// at the end; with the oldest first there is no end, because records are
	// still added.
	Next int64 `json:"next"`
}

// Proof is the daemon's signed checkpoint, with the proof that it extends an
// earlier one.
type Proof struct {
	Checkpoint string   `json:"checkpoint"` // signed note
	Verifier   string   `json:"verifier"`   // public key of the log
	Since      int64    `json:"since"`      // size of the earlier log
	Hashes     [][]byte `json:"hashes"`     // the proof; empty if there is none
}

// Verification is the result of the daemon's recomputation of its log.
type Verification struct {
	Records int64 `json:"records"` // number of records read
	// FirstBad and LastBad bound the damaged record; -1 if there is none.
	FirstBad int64    `json:"firstBad"`
	LastBad  int64    `json:"lastBad"`
	Problem  string   `json:"problem"` // a sentence; empty if the log is intact
	Twice    []string `json:"twice"`   // calls that ended more than once
}
