// Package redact takes secrets out of what leaves the daemon: logs, the
// upstream's standard error, audit previews and the answers to the model.
//
// It knows three kinds of secret: tokens of a known shape, the values of
// configured secrets in their usual spellings, and what is named like a secret
// (members of JSON objects, assignments with a literal value). Each is replaced
// by a marker, [REDACTED:kind]; a write that carries a marker would destroy the
// real value and can be told by [ContainsMarker].
//
// One pass of a string automaton over the bytes finds where a secret may begin;
// what follows is looked at there only, with bounded effort. Text over the limit
// is never passed on half scanned: it fails, or is replaced as a whole.
//
// The package will not find every secret: unknown formats, encodings in other
// bases, encrypted or compressed data, and a secret cut in pieces pass. It will
// not decide where redaction applies, log, or touch what a digest covers: a
// reviewer sees payloads as they are, or one could hide as a secret.
package redact
