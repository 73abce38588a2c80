package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// lineCrash is a guard whose daemon, hooks and lines are killed while commands of
// a client's own Bash run in the sandbox, are approved and landed.
type lineCrash struct {
	*crash
	client *bashWire
	tokens []string
	landed []string // what each landed command has added to shared.txt, in order
	owed   string   // landed, and the model was not told: the next hook must
	told   map[string]int
	forgot bool // a daemon was killed, perhaps before it had noted that a line has printed
}

// TestPromise5_KillWhatLandsCommands kills the daemon, a hook or a line with
// SIGKILL at random times while a client's own commands are landed. No command
// is landed twice or by half, no receipt is false, the model is told nothing that
// is not so, and what a line has printed it prints again. MCPGUARD_KILLS sets how
// often; the long run is
//
//	MCPGUARD_KILLS=500 nice go test ./e2e -run TestPromise5_KillWhatLands -timeout 60m -v
func TestPromise5_KillWhatLandsCommands(t *testing.T) {
	n := 12
	if os.Getenv("MCPGUARD_KILLS") != "" {
		n = kills(t)
	}
	g := newGuard(t, "native:\n  preset: claude-native\n  tools:\n    Bash: {limits: {rate: 10000/m}}\ncommands: {rewrite: bash}\n")
	g.configure("version: 1\n", fmt.Sprintf("version: 1\nroots: [%q]\n", g.work))
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d kills, seed %d", n, seed)
	c := &lineCrash{crash: &crash{guard: g, random: rand.New(rand.NewPCG(seed, 2)), met: map[string]int{}}, told: map[string]int{}}
	c.write("shared.txt", "start\n")
	c.answers()
	c.client = newBashClient(g)
	span := c.calm()
	for round := range n {
		c.disturb(fmt.Sprintf("k%d", round), span)
		if t.Failed() {
			t.Fatalf("after the kill in round %d", round)
		}
	}
	c.client.close()
	c.must("mcpguardd", "stop", "--force") // so that every call has ended
	c.accounts(nil)
	c.noToken()
	t.Logf("a round takes %s; the kills found approvals %v; the model was told %v", span.Round(time.Millisecond), c.met, c.told)
}

// answers makes sure that a daemon runs. A hook or a line may be just about to
// start one.
func (c *lineCrash) answers() { c.must("approve", "--list") }

// command adds one line to the shared file and one file of its own, and prints.
func (c *lineCrash) command(name string) string {
	return fmt.Sprintf("echo %[1]s >> shared.txt; mkdir -p d && echo %[1]s > d/%[1]s; echo said %[1]s; echo beside %[1]s >&2; sh -c 'exit 3'", name)
}

// calm plays rounds without a kill and returns how long one takes.
func (c *lineCrash) calm() time.Duration {
	c.t.Helper()
	var longest time.Duration
	for i := range 3 {
		name := fmt.Sprintf("calm%d", i)
		stop := c.reviewer()
		began := time.Now()
		e := c.client.do(task{ID: name + ".0", Command: c.command(name)})
		longest = max(longest, time.Since(began))
		stop()
		if !outcome(name, e) || !c.hasLanded(name) {
			c.until("a look", func(all []client.Approval) bool {
				for _, a := range all {
					c.t.Logf("%s", c.must("approve", "show", a.ID))
				}
				return true
			})
			c.t.Fatalf("an undisturbed command: %+v", e)
		}
		c.token(e)
		c.landed = append(c.landed, name)
	}
	return longest + longest/5
}

// outcome reports whether a client got all of what a command prints, and its end.
func outcome(name string, e end) bool {
	return e.Code == 3 && e.Stdout == "said "+name+"\n" && e.Stderr == "beside "+name+"\n"
}

// hasLanded reports whether a command is in force; it must be so whole or not
// at all.
func (c *lineCrash) hasLanded(name string) bool {
	c.t.Helper()
	shared, own := strings.Count(c.read("shared.txt"), name+"\n"), c.read(filepath.Join("d", name))
	if shared > 1 || (shared == 1) != (own == name+"\n") || shared == 0 && own != "" {
		c.t.Errorf("%s is %d times in the shared file, its own has %q", name, shared, own)
	}
	return shared > 0
}

func (c *lineCrash) token(e end) {
	if _, rest, ok := strings.Cut(e.Line, " result "); ok {
		c.tokens = append(c.tokens, strings.Fields(rest)[0])
	}
}

// disturb runs one command, kills something, and looks at what is left.
func (c *lineCrash) disturb(name string, span time.Duration) {
	c.t.Helper()
	t := task{ID: name + ".0", Command: c.command(name)}
	after := time.Duration(c.random.Int64N(int64(span)))
	what := []string{"daemon", "daemon", "hook", "line"}[c.random.IntN(4)]
	if what != "daemon" {
		t.Kill, t.After = what, after
		if what == "line" {
			t.After /= 8 // it is the shorter part
		}
	}
	c.forgot = what == "daemon"
	stop := c.reviewer()
	done := c.client.begin(t)
	if what == "daemon" {
		pid := c.guard.daemon()
		timer := time.NewTimer(after)
		<-timer.C
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil || !gone(pid, patience) {
			c.t.Fatalf("killing the daemon %d: %v", pid, err)
		}
		stop()
		c.answers()
		stop = c.reviewer()
	}
	e := c.client.await(done)
	c.over(name, what)
	c.judge(name, what, e)
	stop()
	c.inspect([]deed{{correlation: name, file: filepath.Join("d", name), line: name + "\n"}})
	if e.Line != "" {
		c.printsAgain(name, e)
	}
	c.repeat(name)
	if all := "start\n" + strings.Join(c.landed, "\n") + "\n"; c.read("shared.txt") != all {
		c.t.Errorf("the shared file is %q, want %q", c.read("shared.txt"), all)
	}
}

// over waits until a command can land no more.
func (c *lineCrash) over(name, what string) {
	c.t.Helper()
	live := []string{client.Pending, client.Executing, client.Unknown}
	if what == "line" {
		live = append(live, client.Approved) // the daemon lives, and has heard that the line ended
	}
	c.until("the end of "+name, func(all []client.Approval) bool {
		return !slices.ContainsFunc(all, func(a client.Approval) bool {
			return strings.HasPrefix(a.CorrelationID, name+".") && slices.Contains(live, a.Status)
		})
	})
}

// judge compares what the model was told with what has happened.
func (c *lineCrash) judge(name, what string, e end) {
	c.t.Helper()
	c.token(e)
	said, landed := e.Stdout+e.Stderr+e.Denied, c.hasLanded(name)
	owed := c.owed
	c.owed = ""
	if owed != "" && e.Failed {
		c.owed = owed // the hook that was to tell was killed; it counts as told, or the next one tells
	}
	switch {
	case (owed != "" || c.forgot) && strings.Contains(e.Denied, "has happened"):
		c.told["of an earlier landing"]++
		if landed {
			c.t.Errorf("%s was denied, and landed: %+v", name, e)
		}
		return
	case strings.Contains(e.Denied, "has happened"):
		c.t.Errorf("%s after a kill of the %s: nothing was left untold, and the hook says %s", name, what, e.Denied)
	case e.Failed, e.Denied != "":
		c.told["no by the hook"]++
		if landed {
			c.t.Errorf("%s after a kill of the %s: not allowed, and landed: %+v", name, what, e)
		}
	case e.Killed:
		c.told["nothing by a killed line"]++
		if landed {
			c.owed = name
		}
	case outcome(name, e):
		c.told["the outcome"]++
		if !landed {
			c.t.Errorf("%s after a kill of the %s: told the outcome, and nothing has landed: %+v", name, what, e)
		}
	case strings.Contains(said, "nothing was changed"), strings.Contains(said, "has done nothing"), strings.Contains(said, "nothing was run"):
		c.told["that nothing has happened"]++
		if landed {
			c.t.Errorf("%s after a kill of the %s: told that nothing has happened, and it has: %+v", name, what, e)
		}
	case strings.Contains(said, "ead the files") || strings.Contains(said, "ead the target"):
		c.told["to look"]++
	default:
		c.t.Errorf("%s after a kill of the %s: told %+v", name, what, e)
	}
	if landed {
		c.landed = append(c.landed, name)
	}
}

// printsAgain runs a line once more. Nothing lands by that.
func (c *lineCrash) printsAgain(name string, before end) {
	c.t.Helper()
	landed := c.hasLanded(name)
	shared := c.read("shared.txt")
	e := c.client.do(task{Line: before.Line})
	if c.read("shared.txt") != shared {
		c.t.Errorf("%s: printing again has changed the shared file from %q to %q", name, shared, c.read("shared.txt"))
	}
	printed := outcome(name, e)
	if printed != landed {
		c.t.Errorf("%s: landed is %v, and its line says %+v", name, landed, e)
	}
	if printed {
		c.owed = "" // it has been printed
	}
}

// repeat makes a call that did not come to its end once more, and settles what
// the model has not been told.
func (c *lineCrash) repeat(name string) {
	c.t.Helper()
	stop := c.reviewer()
	defer stop()
	for attempt := 1; !c.hasLanded(name); attempt++ {
		e := c.client.do(task{ID: fmt.Sprintf("%s.%d", name, attempt), Command: c.command(name)})
		c.token(e)
		told := strings.Contains(e.Denied, "has happened") || strings.Contains(e.Denied, "ended without its line")
		switch {
		case told && attempt == 1:
			if c.owed == "" && !c.forgot && strings.Contains(e.Denied, "has happened") {
				c.t.Errorf("%s: nothing was left untold, and the hook says %s", name, e.Denied)
			}
			c.owed = ""
			continue // it is to be made again
		case !outcome(name, e):
			c.t.Errorf("%s made again: %+v", name, e)
			return
		}
		c.landed = append(c.landed, name)
	}
}

// noToken looks for tokens in all that the guard keeps.
func (c *lineCrash) noToken() {
	c.t.Helper()
	if len(c.tokens) < 3 {
		c.t.Fatalf("only %d tokens were seen", len(c.tokens))
	}
	files := 0
	err := filepath.WalkDir(c.home, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil // gone meanwhile, or a socket
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		files++
		for _, token := range c.tokens {
			if bytes.Contains(data, []byte(token)) {
				c.t.Errorf("%s shows a token", path)
				break
			}
		}
		return nil
	})
	if err != nil || files < 4 {
		c.t.Errorf("looked into %d files, %v", files, err)
	}
	if audit := c.must("mcpguardd", "audit", "export"); len(c.tokens) > 0 && strings.Contains(audit, c.tokens[0]) {
		c.t.Error("the audit log shows a token")
	}
}
