package jsonrpc

import "fmt"

// JSON-RPC 2.0 error codes (specification, section 5.1) as the guard uses them.
const (
	CodeParseError     = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternalError  = -32603
)

// Reason says why a frame was refused. The zero value is not a reason.
type Reason uint8

// The reasons, each with the snake_case spelling that String gives.
const (
	reasonInvalid      Reason = iota
	DuplicateMember           // duplicate_member: two members of one object have the same decoded name
	CaseFoldedMember          // case_folded_member: a name equals a known one but for case
	InvalidUTF8               // invalid_utf8
	LoneSurrogate             // lone_surrogate: \ud800 without its partner
	NulInName                 // nul_in_name
	NumberNotCanonical        // number_not_canonical: a number in params.arguments that RFC 8785 would change
	TooDeep                   // too_deep
	TooLarge                  // too_large
	Batch                     // batch: a JSON array of messages
	NotAnObject               // not_an_object: JSON, but not an object
	BadID                     // bad_id: neither a string nor a plain integer within ±2^53
	BadVersion                // bad_version: no "jsonrpc": "2.0"
	BadMethod                 // bad_method: a method that is not a string
	BadParams                 // bad_params: params that are neither an object nor null
	NotAMessage               // not_a_message: not exactly one of request, notification, response
	BareCR                    // bare_cr: a carriage return between tokens
	TrailingData              // trailing_data: something follows the object
	Syntax                    // syntax: not JSON (RFC 8259)
	SeveralLines              // several_lines: a message over more than one line
	reasonEnd
)

var reasonNames = [reasonEnd]string{
	"invalid", "duplicate_member", "case_folded_member", "invalid_utf8", "lone_surrogate", "nul_in_name",
	"number_not_canonical", "too_deep", "too_large", "batch", "not_an_object", "bad_id", "bad_version",
	"bad_method", "bad_params", "not_a_message", "bare_cr", "trailing_data", "syntax", "several_lines",
}

// String returns the reason's stable snake_case name, for audit records.
func (r Reason) String() string {
	if r >= reasonEnd {
		return reasonNames[0]
	}
	return reasonNames[r]
}

// Code returns the JSON-RPC error code that answers a frame refused for r.
func (r Reason) Code() int {
	switch r {
	case Syntax, TrailingData, InvalidUTF8, LoneSurrogate, BareCR, TooDeep:
		return CodeParseError
	default:
		return CodeInvalidRequest
	}
}

// Refusal is the error of [Admit]: the frame must not be forwarded, the
// session goes on.
type Refusal struct {
	Reason Reason
	// ID is the id of the refused frame as far as it can be told, for the
	// error reply: also an odd one, which that reply gives back as it came. It is
	// zero where it is absent, ambiguous or no scalar.
	ID ID
	// Kind is what the frame seems to be, zero where that cannot be told. Only
	// what seems to be a Request wants an error reply; what seems to be a
	// Response leaves its caller waiting unless the guard answers in its place.
	Kind MessageKind
	// Offset is the byte at which the reading stopped.
	Offset int
	// Detail says where and what, for the audit log. It may quote the frame
	// (escaped, cut short): it is not for the agent and not for a terminal.
	Detail string
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return "frame refused: " + r.Reason.String()
	}
	return fmt.Sprintf("frame refused: %s: %s", r.Reason, r.Detail)
}

// FrameError is the error of [Reader.Next] for a frame over the limit. The
// frame was consumed up to its newline; the next call yields the next frame.
type FrameError struct {
	Refusal Refusal // Reason is TooLarge; ID and Kind as far as they can be told
	Size    int64   // bytes of the frame, newline not counted
}

func (e *FrameError) Error() string { return e.Refusal.Error() }

// Unwrap lets errors.As find the *Refusal.
func (e *FrameError) Unwrap() error { return &e.Refusal }
