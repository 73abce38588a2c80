// Package sandbox runs one command where it can do no harm, and says what it
// did: its output and exit, what it changed in the folders it was given, and
// what it wanted of the world outside and did not get.
//
// The command runs in user, mount, pid, network, ipc and uts namespaces made by
// the program's own re-execution, without root and without another program. Its
// folders are overlays (or full copies) of the real ones, so nothing that it
// writes is real. Everything else is read-only, closed, or not there. seccomp
// refuses what could lead out; a refused attempt is recorded as a [Want].
//
// The package knows nothing of approvals, policies or audit. It decides nothing
// about a run; it reports. What it cannot contain it does not run: every error
// of its own is an error of Run, never an exit code of the command.
package sandbox
