// Package jsonvalue holds JSON values with exact numbers: strict decoding, the
// canonical form (RFC 8785), pointers (RFC 6901), making, applying and inverting
// patches (RFC 6902), and merge patches (RFC 7396).
//
// Every function is pure: the same values give the same bytes on every machine and
// under any load. Work is bounded by counted steps, never by a clock; when a limit
// is reached, the result is still correct and is marked as coarse. All functions
// are safe for concurrent use.
//
// The package does not read files or other formats, redact secrets or make
// hostile text safe to show.
package jsonvalue
