package ipc

import (
	"fmt"
	"os"
	"path/filepath"
)

// ClientRef identifies a process by pid and start time.
type ClientRef struct {
	PID       int
	StartTime uint64
}

// ApproverRule identifies the rule by which a peer may not decide without a
// signature.
type ApproverRule string

// The rules.
const (
	RuleOtherUser  ApproverRule = "approver_other_user"
	RuleUnseen     ApproverRule = "approver_unidentified"
	RuleClient     ApproverRule = "approver_is_client"
	RuleDescends   ApproverRule = "approver_descends_from_client"
	RuleUpstream   ApproverRule = "approver_descends_from_daemon"
	RuleNoTerminal ApproverRule = "approver_no_terminal"
	RuleOrphaned   ApproverRule = "approver_orphaned"
)

// ApproverRefusal is the error of CheckApprover for a peer that may not
// decide.
type ApproverRefusal struct {
	Rule ApproverRule
	Text string // a sentence for the person, with what would help
}

// Error returns the sentence.
func (r *ApproverRefusal) Error() string { return r.Text }

// CheckApprover decides whether a peer may approve or deny without a
// signature. It returns nil or an *ApproverRefusal, and fails closed: a peer
// whose ancestors cannot be seen is refused.
//
// The peer must run as this process's own user, and neither be one of clients
// nor descend from one. With requireTerminal it must also have a controlling
// terminal, descend from its session's leader (an orphan, for example a
// process that was started in the background by a shell that has ended, does
// not), not be a child of the first process, and not descend from this process
// (an upstream does). Without clients and without requireTerminal the user
// alone is checked.
//
// This stops accidents and the obvious command. A process of the same user
// that sets out to deceive it can: it can start a terminal of its own and
// detach it (setsid script, a fresh tmux server), type into someone else's
// (tmux send-keys, TIOCSTI where the kernel still allows it), or take over a
// process that would pass (ptrace where the system permits it, a changed shell
// start-up file). Only signatures, a namespace around the client, or a daemon
// under another user stop those.
func CheckApprover(peer *Peer, clients []ClientRef, requireTerminal bool) error {
	return checkApprover(peer, clients, requireTerminal, os.Getpid())
}

func checkApprover(peer *Peer, clients []ClientRef, requireTerminal bool, self int) error {
	if peer == nil {
		return &ApproverRefusal{RuleUnseen, "the deciding process could not be identified"}
	}
	if own := os.Geteuid(); peer.UID != own {
		return &ApproverRefusal{RuleOtherUser, fmt.Sprintf("user %d may not decide for user %d", peer.UID, own)}
	}
	if len(clients) == 0 && !requireTerminal {
		return nil
	}
	chain, err := Ancestry(peer.PID)
	if err == nil && chain[0].StartTime != peer.StartTime || err == nil && !peer.Alive() {
		err = fmt.Errorf("process %d: %w", peer.PID, ErrGone)
	}
	if err != nil {
		// fail closed: an ancestor that cannot be seen may be a client.
		return &ApproverRefusal{RuleUnseen, fmt.Sprintf("the deciding process could not be identified: %v", err)}
	}
	if r := checkChain(chain, clients, requireTerminal, self); r != nil {
		return r
	}
	return nil
}

// checkChain applies the rules to a chain of ancestors, peer first.
func checkChain(chain []Proc, clients []ClientRef, requireTerminal bool, self int) *ApproverRefusal {
	peer := chain[0]
	for _, c := range clients {
		switch i := findProc(chain, c); {
		case i == 0:
			return &ApproverRefusal{RuleClient, fmt.Sprintf("process %d%s is a client of the guard; a client cannot decide on its own calls", peer.PID, named(peer))}
		case i > 0:
			return &ApproverRefusal{RuleDescends, fmt.Sprintf("process %d%s was started by the client process %d%s; decide in a terminal that the client did not start", peer.PID, named(peer), c.PID, named(chain[i]))}
		}
	}
	if !requireTerminal {
		return nil
	}
	for _, p := range chain {
		if p.PID == self {
			return &ApproverRefusal{RuleUpstream, fmt.Sprintf("process %d%s was started by the guard itself", peer.PID, named(peer))}
		}
	}
	if peer.TTY == "" {
		return &ApproverRefusal{RuleNoTerminal, fmt.Sprintf("process %d%s has no terminal; decide in a terminal, or with a signature", peer.PID, named(peer))}
	}
	leader := false
	for _, p := range chain {
		leader = leader || p.PID == peer.Session
	}
	if !leader || peer.PPID == 1 {
		return &ApproverRefusal{RuleOrphaned, fmt.Sprintf("process %d%s has lost the process that started it, so that its origin cannot be told; run it directly in a terminal", peer.PID, named(peer))}
	}
	return nil
}

// named returns the base name of the executable in parentheses. Others may
// have chosen it, so it is quoted to stay one line of plain text.
func named(p Proc) string {
	if p.Executable == "" {
		return ""
	}
	return fmt.Sprintf(" (%+q)", filepath.Base(p.Executable))
}
