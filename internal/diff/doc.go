// Package diff computes what changes between a before and an after, line by
// line: hunks, their canonical unified text, the way back, and what changes
// within a line.
//
// Every function is pure: the same bytes give the same bytes on every machine
// and under any load. Work is bounded by counted steps, never by a clock, so a
// result cannot depend on how busy the machine was; where a bound is hit the
// result stays right and says that it is coarse.
//
// The package will not read or write files, run programs, keep state between
// calls, start goroutines, redact secrets or make hostile text safe to show.
// All of its functions may be called concurrently. Results may alias their
// inputs, which the caller must not change while it uses a result.
package diff
