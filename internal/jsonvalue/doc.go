// Package jsonvalue holds JSON values by their exact numbers: strict reading,
// the canonical form (RFC 8785), pointers (RFC 6901), patches (RFC 6902) made,
// applied and inverted, and merge patches (RFC 7396).
//
// Every function is pure: the same values give the same bytes on every machine
// and under any load. Work is bounded by counted steps, never by a clock; where
// a bound is hit the result stays right and says that it is coarse. All
// functions may be called concurrently.
//
// The package does not read files or other formats, redact secrets or make
// hostile text safe to show.
package jsonvalue
