// Package jsonrpc frames and admits the JSON-RPC messages that pass between a
// client and an upstream.
//
// A message is its untouched bytes plus spans into them. [Reader] cuts a
// stream into frames, [Admit] decides whether a frame means one thing only,
// and the span helpers ([Member], [Elements], [DeleteElements], …) read and
// splice without ever decoding a value and encoding it again. Parsers that
// disagree about a message are how guards in front of MCP servers have been
// bypassed, so whatever two parsers could read differently is refused.
//
// The package will not validate the protocol's schemas, keep track of which
// ids are in flight, decide policy, or change a byte that it was not told to
// change. Only messages that the guard itself writes are encoded here.
package jsonrpc
