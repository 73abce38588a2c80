// Package conformance runs the official conformance suite of the protocol
// against the Go SDK's everything server, directly and through the guard, and
// compares what comes of it. It contains tests alone.
package conformance
