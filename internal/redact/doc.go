// Package redact removes secrets from what leaves the daemon: logs, the upstream's
// standard error, audit previews and results for the model.
//
// It knows three kinds of secret: tokens of a known shape, the values of configured
// secrets in their usual spellings, and values named like a secret (members of JSON
// objects, assignments of a literal value). Each is replaced with a marker,
// [REDACTED:kind]. A write that contains a marker would destroy the real value;
// [ContainsMarker] detects it.
//
// One pass of a string automaton finds where a secret may begin; only these
// positions are examined further, with bounded effort. Text over the limit is never
// passed on partly scanned: it fails, or is replaced as a whole.
//
// The package does not find every secret: unknown formats, other encodings,
// encrypted or compressed data, and split secrets pass. It does not decide where
// redaction applies, does not log, and does not touch what a digest covers: a
// reviewer sees payloads as they are, or a payload could hide as a secret.
package redact
