// Package digest computes the hashes that bind an approval to what was shown:
// plain sums of content, and sums over named fields that cannot be mistaken for
// one another.
//
// It is pure and safe for concurrent use. It does not decide what a digest
// covers, reads no files and keeps no state between calls.
package digest

// AlgorithmVersion names the rules by which packages diff and jsonvalue compute
// their output. It is part of every digest that [NewHasher] starts. It must be
// raised when their output for any input changes.
const AlgorithmVersion = 1
