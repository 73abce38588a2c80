package ipc

import (
	"errors"
	"os"
	"testing"
)

// TestApproverRules goes through the rule over made-up ancestors, peer first.
func TestApproverRules(t *testing.T) {
	term := func(pid, ppid, session int, exe string) Proc {
		return Proc{PID: pid, PPID: ppid, Session: session, StartTime: uint64(pid), TTY: "pts/1", Executable: exe}
	}
	top := Proc{PID: 1, StartTime: 1, Executable: "/sbin/init"}
	bash := term(50, 1, 50, "/bin/bash")
	claude := term(60, 50, 50, "/bin/claude")
	ref := func(ps ...Proc) (out []ClientRef) {
		for _, p := range ps {
			out = append(out, p.Ref())
		}
		return out
	}
	old := claude.Ref()
	old.StartTime--
	noTTY := term(90, 50, 50, "/bin/approve")
	noTTY.TTY = ""
	outside := term(90, 0, 90, "/bin/approve")
	const self = 7
	for name, c := range map[string]struct {
		chain    []Proc
		clients  []ClientRef
		terminal bool
		want     ApproverRule
	}{
		"a person's shell":              {[]Proc{term(90, 50, 50, "/bin/approve"), bash, top}, ref(claude), true, ""},
		"a new terminal":                {[]Proc{term(90, 40, 90, "/bin/approve"), {PID: 40, PPID: 1, StartTime: 40}, top}, ref(claude), true, ""},
		"from outside the namespace":    {[]Proc{outside}, ref(claude), true, ""},
		"the client itself":             {[]Proc{claude, bash, top}, ref(claude), true, RuleClient},
		"the client's shell":            {[]Proc{term(90, 80, 50, "/bin/approve"), term(80, 60, 50, "/bin/sh"), claude, bash, top}, ref(claude), true, RuleDescends},
		"the client's new terminal":     {[]Proc{term(90, 80, 90, "/bin/approve"), term(80, 60, 50, "/bin/script"), claude, bash, top}, ref(claude), true, RuleDescends},
		"a wrapper's child":             {[]Proc{term(90, 61, 50, "/bin/approve"), term(61, 60, 50, "/bin/wrapper"), claude, bash, top}, ref(term(61, 60, 50, "")), true, RuleDescends},
		"descends, terminal not needed": {[]Proc{noTTY, claude, bash, top}, ref(claude), false, RuleDescends},
		"an earlier process's pid":      {[]Proc{term(90, 60, 50, "/bin/approve"), claude, bash, top}, []ClientRef{old}, true, ""},
		"no terminal":                   {[]Proc{noTTY, bash, top}, ref(claude), true, RuleNoTerminal},
		"no terminal, not needed":       {[]Proc{noTTY, bash, top}, ref(claude), false, ""},
		"taken in by the first process": {[]Proc{term(90, 1, 50, "/bin/approve"), top}, nil, true, RuleOrphaned},
		"taken in by a service manager": {[]Proc{term(90, 30, 50, "/bin/approve"), {PID: 30, PPID: 1, StartTime: 30}, top}, nil, true, RuleOrphaned},
		"a session leader taken in":     {[]Proc{term(90, 1, 90, "/bin/approve"), top}, nil, true, RuleOrphaned},
		"an upstream":                   {[]Proc{term(90, self, 90, "/bin/approve"), {PID: self, PPID: 1, StartTime: 7}, top}, nil, true, RuleUpstream},
	} {
		got := ApproverRule("")
		if r := checkChain(c.chain, c.clients, c.terminal, self); r != nil {
			got = r.Rule
			if r.Text == "" || r.Error() != r.Text {
				t.Errorf("%s: no sentence", name)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestApproverFailsClosed(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		peer *Peer
		want ApproverRule
	}{
		"nobody":          {nil, RuleUnseen},
		"another user":    {&Peer{UID: os.Geteuid() + 1, PID: self.PID, StartTime: self.StartTime}, RuleOtherUser},
		"ended":           {&Peer{UID: os.Geteuid(), PID: 1 << 30, StartTime: 1}, RuleUnseen},
		"another process": {&Peer{UID: os.Geteuid(), PID: self.PID, StartTime: self.StartTime + 1}, RuleUnseen},
	} {
		err := CheckApprover(c.peer, nil, true)
		var r *ApproverRefusal
		if !errors.As(err, &r) || r.Rule != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	peer := &Peer{UID: os.Geteuid(), PID: self.PID, StartTime: self.StartTime}
	if err := CheckApprover(peer, nil, false); err != nil {
		t.Errorf("only the user counts: %v", err)
	}
	var r *ApproverRefusal
	if err := CheckApprover(peer, []ClientRef{self.Ref()}, false); !errors.As(err, &r) || r.Rule != RuleClient {
		t.Errorf("a client: %v", err)
	}
}
