package ipc

import "os"

// Capabilities probes what this system offers.
func Capabilities() []Capability {
	out := []Capability{{
		Name: "peer_identity",
		Note: "peers are identified by user, pid and start time (LOCAL_PEERCRED, LOCAL_PEERPID); this system has no pidfd, so that a pid could be reused between connect and accept",
	}}
	c := Capability{Name: "ancestry"}
	if _, err := Ancestry(os.Getpid()); err != nil {
		c.Note = "the ancestors of processes cannot be seen, so that unsigned decisions will be refused: " + err.Error()
	} else {
		c.OK, c.Note = true, "the ancestors of a process can be seen"
	}
	return append(out, c, Capability{
		Name: "child_death",
		Note: "this system does not end children with their parent; a watching process ends an upstream's group when the daemon is killed",
	}, Capability{
		Name: "terminal_injection",
		Note: "a process can type into a terminal that it shares (TIOCSTI)",
	})
}
