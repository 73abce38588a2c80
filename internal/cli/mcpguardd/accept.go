package mcpguardd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/daemon"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/version"
)

func (a *app) accept() *cobra.Command {
	var o acceptOptions
	var yes bool
	var tier string
	c := &cobra.Command{
		Use:   "accept SERVER[/TOOL]",
		Short: "accept new or changed tool definitions, shown as a diff",
		Long: `Starts the server once, shows how its tool definitions differ from the accepted
ones, and accepts those of tools that the policy names; on a terminal it asks
before it does. Tools that the policy does not name are listed, and stay out:
SERVER/TOOL takes one in, with a proposed tier that is written with a mark where
it is only the server's claim. Of a server of which the policy names no tool yet
all are proposed, as by add. Run it with --show to only look.

For a server that was written into the configuration by hand it also records the
values that the variables named in its env have here, where none are recorded.`,
		Example: `  mcpguardd accept files --show
  mcpguardd accept files/write_file
  mcpguardd accept crm/export_contacts --tier NEVER`,
		GroupID: "setup",
		Args:    exactly(1, "SERVER or SERVER/TOOL"),
		RunE: func(c *cobra.Command, args []string) error {
			o.server, o.tool, _ = strings.Cut(args[0], "/")
			if tier != "" {
				var err error
				if o.tier, err = guard.ParseTier(tier); err != nil || o.tool == "" {
					return coded(exitUsage, fmt.Errorf("--tier takes one of T0_READ … NEVER, and needs SERVER/TOOL"))
				}
			}
			o.ask = !yes && term.IsTerminal(a.in.Fd())
			return a.runAccept(c.Context(), o)
		},
	}
	c.Flags().BoolVar(&o.show, "show", false, "show the differences and accept nothing")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask, on a terminal either")
	c.Flags().StringVar(&tier, "tier", "", "tier of a tool that the policy does not name yet")
	return c
}

// acceptOptions says what to accept, and how.
type acceptOptions struct {
	server, tool string     // an empty tool means all
	tier         guard.Tier // for a tool that the policy does not name yet; zero means the proposed tier
	show, ask    bool
}

func (a *app) runAccept(ctx context.Context, o acceptOptions) error {
	server := o.server
	p, err := paths()
	if err != nil {
		return err
	}
	set, err := daemon.ReadPolicy(p)
	if err != nil {
		return err
	}
	sv, ok := set.Server(server)
	if !ok {
		return fmt.Errorf("no server %q is configured; run `mcpguardd add %s -- COMMAND`", server, server)
	}
	recorded, err := config.LoadEnvironment(p.EnvironmentFile())
	if err != nil {
		return err
	}
	fresh, err := recordMissing(recorded, sv.Config, os.LookupEnv)
	if err != nil {
		return err
	}
	lock, err := config.LoadLock(p.ToolsLock())
	if err != nil {
		return err
	}
	folder, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("finding the current folder: %w", err)
	}
	r := onboard.Request{Name: server, Folder: folder, Version: version.Number, Waiting: a.waiting,
		Lookup: func(name string) (string, bool) { return recorded.Lookup(server, name) }}
	found, err := onboard.Compare(ctx, r, sv.Config, recorded, lock)
	if err != nil {
		return err
	}
	chosen, err := choose(found, o, sv, lock)
	if err != nil {
		return err
	}
	if o.tool != "" {
		found.Changed = nil // accepting one tool does not accept the changed program
	}
	if len(found.Changed) > 0 {
		fmt.Fprintf(a.out, "What stands behind %s is not what its tools were accepted of:\n", server)
		for _, line := range found.Changed {
			fmt.Fprintf(a.out, "  %s\n", safetext.Text(line))
		}
	}
	if len(chosen) == 0 {
		fmt.Fprintln(a.out, "Nothing waits for acceptance: the definitions are the accepted ones.")
	} else {
		a.printDifferences(chosen)
	}
	a.printLeft(found, o, sv)
	a.printNotes(closeNames(p, server, found.Tools))
	switch {
	case o.show:
		return nil
	case len(chosen) == 0 && len(found.Changed) == 0:
		return a.saveRecorded(ctx, p, server, fresh)
	case o.ask && !a.agreed(len(chosen)):
		fmt.Fprintln(a.out, "Nothing was accepted.")
		return nil
	}
	if err := a.saveRecorded(ctx, p, server, fresh); err != nil {
		return err
	}
	if o.tool != "" {
		found.Program = config.Program{}
	}
	if err := a.takeIn(ctx, p, server, chosen, found.Program); err != nil {
		return err
	}
	a.inForce(ctx, p)
	fmt.Fprintf(a.out, "\nAccepted in %s. A running daemon uses them at once; the client lists its tools again by itself or at its next start.\n", p.ToolsLock())
	return nil
}

// choice is one definition to accept.
type choice struct {
	onboard.Difference
	// tier is written for a tool that the policy does not name; nil for a tool
	// that it names.
	tier *onboard.Proposal
}

// choose returns what to accept. A tool that the policy does not name is
// included only if it was requested by name, or if the policy names no tool of
// the server.
func choose(found onboard.Comparison, o acceptOptions, sv *policy.Server, lock *config.Lock) ([]choice, error) {
	var out []choice
	for _, d := range found.Differences {
		if o.tool == "" || d.Tool.Name == o.tool {
			out = append(out, choice{Difference: d})
		}
	}
	for _, d := range found.Unnamed {
		if d.Tool.Name != o.tool && !(o.tool == "" && len(sv.Config.Tools) == 0) {
			continue
		}
		t := onboard.Propose([]onboard.Tool{d.Tool}, nil)[0]
		if o.tier.Valid() {
			t.Tier, t.Claimed, t.Reason = o.tier, false, "as you said"
		}
		out = append(out, choice{d, &t})
	}
	for _, t := range found.LeftOut {
		if o.tool != "" && t.Name == o.tool {
			return nil, fmt.Errorf("the tool %s of server %s cannot be accepted: %s", safetext.Identity(t.Name), o.server, safetext.Text(t.Reason))
		}
	}
	if len(out) == 0 && o.tool != "" && !known(sv, lock, o.server, o.tool) {
		return nil, fmt.Errorf("the server %s has no tool %q; `mcpguardd accept %s --show` shows what waits", o.server, o.tool, o.server)
	}
	return out, nil
}

// printLeft lists what is not accepted with the rest, and why.
func (a *app) printLeft(found onboard.Comparison, o acceptOptions, sv *policy.Server) {
	if o.tool != "" {
		return
	}
	if len(found.LeftOut) > 0 {
		fmt.Fprintln(a.out)
		a.printLeftOut(found.LeftOut, "")
	}
	if len(sv.Config.Tools) == 0 || len(found.Unnamed) == 0 {
		return
	}
	fmt.Fprintf(a.out, "\nThe policy does not name these tools, so they stay closed:\n")
	for _, d := range found.Unnamed {
		fmt.Fprintf(a.out, "  %s\n", safetext.Identity(d.Tool.Name))
	}
	fmt.Fprintf(a.out, "To take one in: mcpguardd accept %s/TOOL [--tier TIER]\n", o.server)
}

// recordMissing records the values of a server's environment variables that
// are not yet recorded, as with a configuration written by hand. It returns
// their names, and never changes a recorded value.
func recordMissing(recorded *config.Environment, s *config.Server, lookup func(string) (string, bool)) ([]string, error) {
	_, missing := s.Environ(recorded, nil)
	if len(missing) == 0 {
		return nil, nil
	}
	unset := recorded.Record(s.Name, s.Env, func(name string) (string, bool) {
		if v, ok := recorded.Lookup(s.Name, name); ok {
			return v, true
		}
		return lookup(name)
	})
	if len(unset) > 0 {
		return nil, fmt.Errorf("the environment variables %v of server %s are not recorded, and not set here; run this where they are", unset, s.Name)
	}
	return missing, nil
}

// saveRecorded adds the values of names to what is now on record.
func (a *app) saveRecorded(ctx context.Context, p ipc.Paths, server string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	release, err := p.LockConfig(ctx)
	if err != nil {
		return err
	}
	defer release()
	recorded, err := config.LoadEnvironment(p.EnvironmentFile())
	if err != nil {
		return err
	}
	set, err := daemon.ReadPolicy(p)
	if err != nil {
		return err
	}
	sv, ok := set.Server(server)
	if !ok {
		return fmt.Errorf("the server %s was removed meanwhile; nothing was recorded", server)
	}
	if _, err := recordMissing(recorded, sv.Config, os.LookupEnv); err != nil {
		return err
	}
	if err := recorded.Save(p.EnvironmentFile()); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Recorded for %s, with their values here: %s\n", server, strings.Join(names, ", "))
	return nil
}

// takeIn writes what was accepted into the files as they now are. It stores
// the server's program if program is set.
func (a *app) takeIn(ctx context.Context, p ipc.Paths, server string, chosen []choice, program config.Program) error {
	release, err := p.LockConfig(ctx)
	if err != nil {
		return err
	}
	defer release()
	set, err := daemon.ReadPolicy(p)
	if err != nil {
		return err
	}
	sv, ok := set.Server(server)
	if !ok {
		return fmt.Errorf("the server %s was removed meanwhile; nothing was accepted", server)
	}
	lock, err := config.LoadLock(p.ToolsLock())
	if err != nil {
		return err
	}
	editor, err := config.OpenEditor(p.ConfigFile())
	if err != nil {
		return err
	}
	if program != (config.Program{}) && sv.Config.Builtin == "" {
		lock.PutProgram(server, program)
	}
	for _, d := range chosen {
		if d.Gone {
			lock.Remove(server, d.Tool.Name)
			continue
		}
		_, named := sv.Config.Tools[d.Tool.Name]
		if !named && d.tier == nil {
			// fail closed: the person was shown a tool that the policy names
			return fmt.Errorf("the policy does not name %s/%s any more; nothing was accepted", server, d.Tool.Name)
		}
		if err := onboard.Accept(lock, server, []onboard.Tool{d.Tool}, userName(), time.Now()); err != nil {
			return err
		}
		if named {
			continue
		}
		if err := nameTool(editor, server, d.tier); err != nil {
			return err
		}
	}
	if err := editor.Save(); err != nil {
		return err
	}
	return lock.Save(p.ToolsLock())
}

// agreed asks whether to accept what was shown. Everything but a clear yes
// means no.
func (a *app) agreed(n int) bool {
	what := "this definition"
	switch {
	case n == 0:
		what = "this program"
	case n > 1:
		what = fmt.Sprintf("these %d definitions", n)
	}
	fmt.Fprintf(a.err, "\nAccept %s? [y/N] ", what)
	line, err := bufio.NewReader(io.LimitReader(a.in, 100)).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	return err == nil && (answer == "y" || answer == "yes")
}

// known reports whether the policy names a tool or the tool is accepted.
func known(sv *policy.Server, lock *config.Lock, server, tool string) bool {
	_, named := sv.Tool(tool)
	_, pinned := lock.Pin(server, tool)
	return named || pinned
}

// nameTool writes a tier for a tool that the policy does not name.
func nameTool(e *config.Editor, server string, t *onboard.Proposal) error {
	return e.SetTool(server, config.ToolEntry{Name: t.Tool, Tier: t.Tier, Claimed: t.Claimed,
		Opaque: t.Tier >= guard.T2IrreversibleWrite && t.Tier != guard.Never})
}

func (a *app) printDifferences(list []choice) {
	for i, d := range list {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		state := "changed"
		switch {
		case d.New:
			state = "new"
		case d.Gone:
			state = "no longer offered"
		}
		if d.tier != nil {
			state += fmt.Sprintf(", and not in the policy; it would become %s (%s)", d.tier.Tier, d.tier.Reason)
		}
		fmt.Fprintf(a.out, "%s: %s\n", safetext.Identity(d.Tool.Name), state)
		for _, l := range safetext.Lines(d.Diff) {
			fmt.Fprintf(a.out, "  %s\n", l)
		}
	}
}
