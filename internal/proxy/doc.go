// Package proxy is the enforcement point: it stands in one session between a
// client and its upstream MCP server and follows each tools/call along one
// straight line, from the bytes that came in to the receipt.
//
// What may pass, passes byte for byte. A read runs at once beside its record; a
// write is planned, decided, held for a human where policy asks, planned again
// under a lock on its target, and executed only if it is still exactly what was
// approved. Locks and counters are shared by all sessions, all else belongs to
// one.
//
// The package will not decide (policy does), compute effects, keep durable
// state, choose an upstream or start one by itself, or trust anything that
// client or upstream say about a call.
package proxy
