// Package claude runs the real Claude Code beside the guard, against a scripted
// Messages API on loopback, inside a network namespace that has nothing else.
// It contains tests alone.
package claude
