package tui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

// plain is the console as a dialogue: sentences and prompts, without colours,
// repainting, or anything that depends on timing or on a position on the
// screen. A decision is made by typing the identifier of what was read.
type plain struct {
	cfg   Config
	pen   pen
	out   *bufio.Writer
	lines chan string
	// read holds, by identifier, what was printed in full. A decision carries
	// its digest.
	read map[string]client.Detail
}

// RunPlain reads In and writes Out until the end of the input, "quit", or ctx
// ends.
func RunPlain(ctx context.Context, cfg Config) error {
	err := runPlain(ctx, cfg)
	if ctx.Err() != nil {
		return nil // it was told to end; the terminal may be gone
	}
	return err
}

func runPlain(ctx context.Context, cfg Config) error {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Zone == nil {
		cfg.Zone = time.Local
	}
	if cfg.In == nil {
		cfg.In = os.Stdin
	}
	if cfg.Out == nil {
		cfg.Out = os.Stdout
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := newOutlet(cfg.Out)
	defer context.AfterFunc(ctx, func() { time.AfterFunc(outletPatience, o.giveUp) })()
	p := &plain{cfg: cfg, pen: pen{safe: safetext.Style{ASCII: cfg.ASCII}}, out: bufio.NewWriter(o),
		lines: make(chan string), read: map[string]client.Detail{}}
	// Ends with the input, or after the next line once ctx has ended; a read
	// that blocks on the terminal ends with the program.
	go p.scan(ctx, cfg.In)
	for _, n := range cfg.Notices {
		p.say("Notice: %s", n)
	}
	if err := p.list(ctx); err != nil {
		return err
	}
	p.say("Type help for the commands.")
	for {
		line, ok := p.ask(ctx, "Command: ")
		if !ok {
			p.say("Bye.")
			return p.out.Flush()
		}
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		var err error
		switch word {
		case "", "list", "l":
			err = p.list(ctx)
		case "show", "s":
			err = p.show(ctx, rest)
		case "approve", "a":
			err = p.decide(ctx, client.Allow, rest)
		case "deny", "d":
			err = p.decide(ctx, client.Deny, rest)
		case "status":
			err = p.status(ctx)
		case "quit", "q", "exit":
			p.say("Bye.")
			return p.out.Flush()
		case "help", "h", "?":
			p.help()
		default:
			p.say("There is no command %s. Type help for the commands.", word)
		}
		if err != nil {
			if ctx.Err() != nil {
				return p.out.Flush()
			}
			p.failed(err)
		}
	}
}

func (p *plain) scan(ctx context.Context, in io.Reader) {
	defer close(p.lines)
	s := bufio.NewScanner(in)
	for s.Scan() {
		select {
		case p.lines <- s.Text():
		case <-ctx.Done():
			return
		}
	}
}

// ask prints a prompt and waits for a line.
func (p *plain) ask(ctx context.Context, prompt string) (string, bool) {
	fmt.Fprint(p.out, p.pen.text(prompt))
	if p.out.Flush() != nil {
		return "", false
	}
	select {
	case line, ok := <-p.lines:
		return line, ok
	case <-ctx.Done():
		return "", false
	}
}

// say prints one sentence and makes it safe as a whole.
func (p *plain) say(format string, args ...any) {
	fmt.Fprintln(p.out, p.pen.say(format, args...))
}

// name prints a label and an identifier, and marks deceptive letters.
func (p *plain) name(label, value string) {
	if value != "" {
		fmt.Fprintln(p.out, safetext.Concat(p.pen.text(label+": "), p.pen.name(value)))
	}
}

func (p *plain) failed(err error) {
	p.say("Error: %v.", err)
	var problem *client.Problem
	if errors.As(err, &problem) && problem.Remedy != "" {
		p.say("What to do: %s.", problem.Remedy)
	}
}

func (p *plain) help() {
	for _, s := range []string{
		"list: pending changes.",
		"show ID: one change, in full. The last letters of the identifier are enough.",
		"approve ID: let the change run, after show. Asks for a reason, and for the identifier again.",
		"deny ID: refuse the change. The agent reads your reason.",
		"status: the state of the daemon.",
		"quit: end the console.",
	} {
		p.say("%s", s)
	}
}

func (p *plain) list(ctx context.Context) error {
	list, err := caller{ctx: ctx, api: p.cfg.API}.all(ctx, client.Filter{Status: []string{client.Pending}, Oldest: true})
	if err != nil {
		return fmt.Errorf("listing what waits: %w", err)
	}
	if len(list) == 0 {
		p.say("Nothing is waiting for you.")
		return nil
	}
	p.say("%s for you.", waits(len(list)))
	for i, a := range list {
		fmt.Fprintln(p.out, safetext.Concat(p.pen.say("%d. Identifier %s. Tier %s. Tool ", i+1, tail(a.ID), short(a.Tier)), p.pen.name(a.Tool),
			p.pen.text(", target "), p.pen.name(goal(&a)), p.pen.say(". %s left. %s.", spoken(a.SecondsLeft), plural(len(a.Hazards), "hazard"))))
	}
	return nil
}

func waits(n int) string {
	if n == 1 {
		return "1 change waits"
	}
	return strconv.Itoa(n) + " changes wait"
}

func spoken(seconds int) string {
	if seconds >= 120 {
		return plural(seconds/60, "minute")
	}
	return plural(seconds, "second")
}

func (p *plain) status(ctx context.Context) error {
	s, err := p.cfg.API.Status(ctx)
	if err != nil {
		return fmt.Errorf("asking for the status: %w", err)
	}
	p.say("Daemon %s, level %s: %s.", s.Version, s.Level, strings.TrimSuffix(s.Claim, "."))
	p.say("%s open, %s.", plural(s.Sessions, "session"), plural(s.Alerts, "alert"))
	if s.StoreProblem != "" {
		p.say("Nothing can run at the moment: %s.", s.StoreProblem)
	}
	if s.PolicyNone {
		p.say("The configuration does not load and none is in force, so everything is denied: %s.", s.PolicyProblem)
	} else if s.PolicyProblem != "" {
		p.say("The newest configuration is not in force: %s.", s.PolicyProblem)
	}
	return nil
}

// show prints one change in full.
func (p *plain) show(ctx context.Context, ref string) error {
	if ref == "" {
		p.say("Which one? Type show and the identifier from list.")
		return nil
	}
	if _, err := strconv.Atoi(ref); err == nil && len(ref) < 4 {
		// A position belongs to another change as soon as the list moves.
		p.say("%s is a position in the list, and positions change. Type show and the identifier after it.", ref)
		return nil
	}
	d, err := p.cfg.API.GetBrief(ctx, ref)
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	p.read[d.ID] = d
	p.name("Identifier", d.ID)
	p.say("Status: %s.", d.Status)
	if d.Status == client.Pending {
		p.say("Time left: %s.", spoken(d.SecondsLeft))
	}
	p.say("Tier: %s.", d.Tier)
	p.name("Tool", d.Server+"/"+d.Tool)
	p.name("Target", d.Target)
	p.name("Tenant", d.Tenant)
	p.name("Environment", d.Environment)
	p.name("Run", d.RunID)
	p.say("Asked by: %s %s, in:", d.RequestedBy.Client, d.RequestedBy.Version)
	p.name("Folder", d.RequestedBy.Folder)
	if d.Post {
		p.say("Decided by %s.", unasked)
	}
	if d.Undoes != "" {
		p.name("Undoes", d.Undoes)
	}
	for _, h := range d.Hazards {
		p.say("Hazard: %s.", strings.TrimSuffix(h.Text, "."))
	}
	for _, s := range d.SideEffects {
		p.say("Side effect: %s.", strings.TrimSuffix(s, "."))
	}
	if d.Claim != "" {
		p.say("The agent says (not verified): %s", d.Claim)
	}
	p.name("Digest", d.Digest)
	p.change(d.Diff)
	p.ran(d)
	return nil
}

// ran describes what a command did in a sandbox, apart from its changes.
func (p *plain) ran(d client.Detail) {
	if d.Attempt != nil {
		p.say("In the sandbox; not what will run:")
		for _, s := range client.Attempted(d.Attempt) {
			p.say("%s", s)
		}
	}
	if d.Output != "" {
		lines := p.pen.safe.Lines([]byte(d.Output))
		p.say("What the run printed, in %s; you do not decide on this:", plural(len(lines), "line"))
		for _, l := range lines {
			fmt.Fprintln(p.out, l)
		}
		p.say("End of what the run printed.")
	}
}

func (p *plain) change(d client.Diff) {
	if d.Pruned {
		p.say("The content is no longer stored.")
		return
	}
	if d.Type == "opaque" {
		p.say("The effect is not computed. You approve the arguments.")
	}
	lines := p.pen.safe.Lines(d.Bytes())
	p.say("Change, in %s; %s:", plural(len(lines), "line"), changedLines(d.Added, d.Removed))
	for _, l := range lines {
		fmt.Fprintln(p.out, l)
	}
	p.say("End of the change.")
}

// decide asks for all that a decision needs and sends the decision on the
// printed digest.
func (p *plain) decide(ctx context.Context, word, ref string) error {
	d, ok := p.shown(ref)
	if !ok {
		p.say("Show it first: type show and the identifier.")
		return nil
	}
	verb := "approve"
	if word == client.Deny {
		verb = "deny"
	}
	p.say("To %s: %s, tier %s.", verb, d.Summary, short(d.Tier))
	prompt := "Reason, for the log: "
	if word == client.Deny {
		prompt = "Reason, for the agent: "
	}
	line, ok := p.ask(ctx, prompt)
	if !ok {
		return nil
	}
	reason, err := guard.CheckReason(line)
	if err != nil {
		p.say("Nothing was sent: %v.", err)
		return nil
	}
	want := tail(d.ID)
	if tier := short(d.Tier); word == client.Allow && tier != "T0" && tier != "T1" && tier != "T2" && tier != "T3" {
		want = (&dialog{row: &entry{Approval: d.Approval}}).wanted()
		p.name("This leaves your machine or cannot be undone. The target is", want)
		line, ok = p.ask(ctx, "Type the target to approve, or nothing to cancel: ")
	} else {
		line, ok = p.ask(ctx, fmt.Sprintf("Type %s to %s, or nothing to cancel: ", want, verb))
	}
	if !ok {
		return nil
	}
	if typed := strings.TrimSpace(line); typed != want && typed != d.ID {
		p.say("Nothing was sent: that does not match.")
		return nil
	}
	if word == client.Allow && p.cfg.Vouch != nil {
		if err := p.cfg.Vouch(ctx); err != nil {
			// fail closed: what was printed may come from a forged or old database.
			return fmt.Errorf("nothing can be approved: %w", err)
		}
	}
	after, err := p.cfg.API.Decide(ctx, d.ID, client.DecisionRequest{Decision: word, Digest: d.Digest, Reason: reason})
	if err != nil {
		delete(p.read, d.ID)
		return fmt.Errorf("the decision was not recorded: %w", err)
	}
	delete(p.read, d.ID)
	p.say("Done. It is now %s.", after.Status)
	return nil
}

// shown finds what was printed, by the whole identifier or its end.
func (p *plain) shown(ref string) (client.Detail, bool) {
	var found client.Detail
	n := 0
	for id, d := range p.read {
		if ref != "" && (id == ref || len(ref) >= 4 && strings.HasSuffix(id, ref)) {
			found = d
			n++
		}
	}
	return found, n == 1
}
