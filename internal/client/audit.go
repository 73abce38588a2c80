package client

import (
	"encoding/json"
	"time"
)

// AuditFilter selects records of the audit log; the zero value is the newest
// ones, the newest first.
type AuditFilter struct {
	// From is the index to begin at with the oldest first; with the newest first
	// the records before it are meant, and 0 is the end of the log.
	From     int64
	Limit    int
	Oldest   bool // the oldest first
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

// Record is one record of the audit log: its index, and the canonical JSON
// that was hashed.
type Record struct {
	Index int64           `json:"index"`
	Event json.RawMessage `json:"event"`
}

// Records is one part of the audit log.
type Records struct {
	Records []Record `json:"records"`
	// Next is where AuditFilter.From continues. With the newest first it is -1
	// at the end; with the oldest first there is no end, since records are added.
	Next int64 `json:"next"`
}

// Proof is the daemon's signed checkpoint, and the proof that it continues an
// earlier one.
type Proof struct {
	Checkpoint string   `json:"checkpoint"` // signed note
	Verifier   string   `json:"verifier"`   // public key of the log
	Since      int64    `json:"since"`      // size of the earlier log
	Hashes     [][]byte `json:"hashes"`     // the proof; empty where there is none
}

// Verification is what the daemon found when it recomputed its log.
type Verification struct {
	Records int64 `json:"records"` // that were read
	// FirstBad and LastBad bound the damaged record, -1 if there is none.
	FirstBad int64    `json:"firstBad"`
	LastBad  int64    `json:"lastBad"`
	Problem  string   `json:"problem"` // a sentence, empty if the log is whole
	Twice    []string `json:"twice"`   // calls that ended more than once
}
