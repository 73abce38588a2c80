package client

import (
	"errors"
	"fmt"
	"net/http"
)

// Codes of problems that a program may branch on. A refused approver has the
// code of the rule that refused it.
const (
	CodeNotFound       = "not_found"
	CodeAmbiguous      = "ambiguous_id"
	CodeBadRequest     = "bad_request"
	CodeBadReason      = "bad_reason"
	CodeMethod         = "method_not_allowed"
	CodeMediaType      = "media_type"
	CodeTooLarge       = "body_too_large"
	CodeForeign        = "foreign_request" // Origin, Referer or another Host
	CodePeer           = "peer_unidentified"
	CodeOtherUser      = "other_user"
	CodeSignature      = "signature_required"
	CodeDigest         = "digest_differs"
	CodeDecided        = "already_decided"
	CodeEnded          = "not_pending" // expired, lapsed, stale, cancelled
	CodeVersion        = "version_mismatch"
	CodeIndeterminate  = "store_indeterminate"
	CodeNotRecorded    = "not_recorded"
	CodeStopping       = "stopping"
	CodeBusy           = "too_many_streams"
	CodeUnknownScope   = "unknown_scope"
	CodeInternal       = "internal"
	CodeTransition     = "not_possible_now"
	CodeTooLate        = "timed_out"
	CodeNoUndo         = "cannot_be_undone"
	CodeNothingToClear = "no_such_switch"
)

// Problem is an error that the daemon answered with (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"` // HTTP
	Detail string `json:"detail"` // a sentence: what happened
	Code   string `json:"code"`
	Remedy string `json:"remedy,omitempty"` // a sentence: what to do next
	// Setting is the configuration key that would change the result.
	Setting string `json:"setting,omitempty"`
	// For a problem about an approval: State is its status, Digest its digest,
	// ReplacedBy its successor, and Approval its content (the successor's if
	// there is one).
	State      string   `json:"state,omitempty"`
	Digest     string   `json:"digest,omitempty"`
	ReplacedBy string   `json:"replacedBy,omitempty"`
	Approval   *Detail  `json:"approval,omitempty"`
	Candidates []string `json:"candidates,omitempty"` // matches of an ambiguous identifier
}

// Error returns what happened. It may quote untrusted text.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	if p.Title != "" {
		return p.Title
	}
	return fmt.Sprintf("the daemon answered with status %d", p.Status)
}

// The kinds of failure. Every error of a Client wraps exactly one of them, or
// is the context's error.
var (
	ErrUnreachable = errors.New("the daemon is not reachable")
	ErrVersion     = errors.New("the daemon is of another version")
	ErrNotFound    = errors.New("there is no such thing")
	ErrRefused     = errors.New("the daemon refused")
	ErrRequest     = errors.New("the request is not valid")
	ErrServer      = errors.New("the daemon failed")
)

// Is lets errors.Is match a problem against the kinds of failure.
func (p *Problem) Is(target error) bool { return p.kind() == target }

func (p *Problem) kind() error {
	switch {
	case p.Code == CodeVersion:
		return ErrVersion
	case p.Status == http.StatusNotFound:
		return ErrNotFound
	case p.Status == http.StatusForbidden, p.Status == http.StatusConflict && p.Code != CodeAmbiguous:
		return ErrRefused
	case p.Status >= 400 && p.Status < 500:
		return ErrRequest
	}
	return ErrServer
}
