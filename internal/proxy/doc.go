// Package proxy is the enforcement point. In one session it stands between a
// client and its upstream MCP server and takes each tools/call through one
// sequence of steps, from the bytes received to the receipt.
//
// Frames that may pass are forwarded byte for byte. A read runs at once, while
// its record is written; a write is planned, decided, held for a human if
// policy asks, planned again under a lock on its target, and executed only if
// it is still exactly what was approved. All sessions share locks and
// counters; all other state belongs to one session.
//
// The package does not decide (policy does), compute effects, keep durable
// state, choose an upstream or start one by itself, or trust anything that the
// client or the upstream says about a call.
package proxy
