// Package commands turns a command into what it would change. It runs the
// command once in a sandbox, keeps what came out beside the database, says in
// the guard's own nouns what changed and what was wanted, and lands exactly what
// was kept once a human or the policy has allowed it.
//
// It decides nothing and waits for nobody: whether a run may pass, is asked or is
// refused is the policy's matter, and that a landing has an intent is the
// proxy's.
package commands
