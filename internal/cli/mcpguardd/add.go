package mcpguardd

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/version"
)

func (a *app) add() *cobra.Command {
	var preset, builtin, from string
	var env, secrets, workspaces []string
	var dry bool
	c := &cobra.Command{
		Use:   "add NAME [flags] -- COMMAND [ARG…]",
		Short: "guard a server: start it once, list its tools, propose tiers, pin definitions",
		Long: `Starts the server once, lists its tools, proposes a tier for each, accepts their
definitions as they are now, and writes all of it into config.yaml and
tools.lock. A tier that rests on the server's own word is marked in the file;
look those over. Then it prints the line that makes Claude Code use the guard.`,
		Example: `  mcpguardd add files -- node /opt/mcp/server-filesystem/dist/index.js "$PWD"
  mcpguardd add work --builtin workspace
  mcpguardd add crm --secret API_TOKEN=file:~/.secrets/crm -- /opt/crm/crm-mcp
  mcpguardd add github --from .mcp.json`,
		GroupID: "setup",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) >= 1 && (len(args) > 1) == (builtin == "" && from == "") {
				return nil
			}
			return coded(exitUsage, fmt.Errorf("a name is needed, and after -- the server's command (or --builtin, or --from)\nsee: mcpguardd add --help"))
		},
		RunE: func(c *cobra.Command, args []string) error {
			p, err := paths()
			if err != nil {
				return err
			}
			r, err := a.request(args, from)
			if err != nil {
				return err
			}
			r.Preset, r.Builtin, r.Workspaces = preset, builtin, workspaces
			r.Env = append(r.Env, env...)
			for _, s := range secrets {
				name, ref, ok := strings.Cut(s, "=")
				if !ok {
					return coded(exitUsage, fmt.Errorf("--secret takes NAME=file:PATH, NAME=env:VARIABLE or NAME=cmd:COMMAND\nsee: mcpguardd add --help"))
				}
				r.Secrets[name] = ref
			}
			plan, err := onboard.NewPlan(c.Context(), r)
			if err != nil {
				return err
			}
			if dry {
				a.printPlan(plan, p)
				fmt.Fprintln(a.out, "\nNothing was written (--dry-run).")
				return nil
			}
			if err := plan.Apply(c.Context(), p); err != nil {
				return err
			}
			a.printPlan(plan, p)
			return a.printNext(plan, p)
		},
	}
	f := c.Flags()
	f.StringVar(&preset, "preset", "", "tiers, effects and rules for a known server (default: found by its package)")
	f.StringVar(&builtin, "builtin", "", `"workspace": the server that is part of mcpguardd, instead of a command`)
	f.StringVar(&from, "from", "", "take command, arguments and environment from the entry NAME of this .mcp.json")
	f.StringArrayVar(&env, "env", nil, "pass on this environment variable, with the value it has now (repeatable)")
	f.StringArrayVar(&secrets, "secret", nil, "NAME=file:PATH, NAME=env:VARIABLE or NAME=cmd:COMMAND (repeatable)")
	f.StringArrayVar(&workspaces, "workspace", nil, `folder the server may touch (repeatable; default: "client", the client's own)`)
	f.BoolVar(&dry, "dry-run", false, "show what would be written, and write nothing")
	return c
}

// request collects what add needs to know about this shell.
func (a *app) request(args []string, from string) (onboard.Request, error) {
	folder, err := here()
	if err != nil {
		return onboard.Request{}, err
	}
	r := onboard.Request{
		Name: args[0], Secrets: map[string]string{}, Folder: folder, Lookup: os.LookupEnv,
		User: userName(), Version: version.Number, Now: time.Now(),
		Waiting: a.waiting,
	}
	if len(args) > 1 {
		r.Command, r.Args = args[1], args[2:]
	}
	if from != "" {
		if err := r.TakeFrom(from); err != nil {
			return onboard.Request{}, err
		}
	}
	return r, nil
}

// waiting prints what a server may be waiting for.
func (a *app) waiting(sentence string) { fmt.Fprintf(a.err, "%s\n", safetext.Text(sentence)) }

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint(os.Getuid())
}

func (a *app) printPlan(plan onboard.Plan, p ipc.Paths) {
	l := plan.Listing
	fmt.Fprintf(a.out, "%s: %s %s, %d tools", safetext.Identity(plan.Request.Name), safetext.Text(l.Name), safetext.Text(l.Version), len(l.Tools))
	if plan.Entry.Preset != "" {
		fmt.Fprintf(a.out, ", preset %s%s", safetext.Identity(plan.Entry.Preset), unrun[plan.Basis])
	}
	fmt.Fprintln(a.out)
	a.printTiers(plan, "  ")
	a.printLeftOut(l.LeftOut, "  ")
	var notes []string
	if slices.ContainsFunc(plan.Proposals, func(t onboard.Proposal) bool { return t.Claimed }) {
		notes = append(notes, fmt.Sprintf("? is the server's own word or the lack of one. Look these over in %s.", p.ConfigFile()))
	}
	notes = append(notes, closeNames(p, plan.Request.Name, l.Tools)...)
	if len(plan.NoPreset) > 0 {
		notes = append(notes, fmt.Sprintf("The preset also knows tools that this server does not have: %s.", strings.Join(plan.NoPreset, ", ")))
	}
	a.printNotes(notes)
}

// printNotes prints notes as one block.
func (a *app) printNotes(notes []string) {
	if len(notes) > 0 {
		fmt.Fprintln(a.out)
	}
	for _, n := range notes {
		fmt.Fprintf(a.out, "%s\n", safetext.Text(n))
	}
}

// unrun says, for a preset, that it was not tried with a running server.
var unrun = map[string]string{
	"listed":    " (written from the server's own tool list; no call of it was tried)",
	"published": " (written from the server's published definitions; not tried with a running server)",
}

// printTiers prints the proposed tier of each tool.
func (a *app) printTiers(plan onboard.Plan, indent string) {
	width := 0
	for _, t := range plan.Proposals {
		width = max(width, safetext.Identity(t.Tool).Width())
	}
	for _, t := range plan.Proposals {
		mark := " "
		if t.Claimed {
			mark = "?"
		}
		fmt.Fprintf(a.out, "%s%s %s  %-22s %s\n", indent, mark, safetext.Identity(t.Tool).Pad(width), t.Tier, t.Reason)
	}
}

// printLeftOut lists the tools that cannot be accepted, and why.
func (a *app) printLeftOut(list []onboard.LeftOut, indent string) {
	for _, t := range list {
		name := safetext.Identity(t.Name)
		if t.Name == "" {
			name = safetext.Identity("a tool")
		}
		fmt.Fprintf(a.out, "%s! %s is left out: %s\n", indent, name, safetext.Text(t.Reason))
	}
}

// closeNames returns a note about each of a server's tools whose name is easily
// confused with that of another tool, of the same or another server.
func closeNames(p ipc.Paths, server string, tools []onboard.Tool) []string {
	names := map[string][]string{}
	if cfg, err := config.Load(p.ConfigFile()); err == nil { // load errors are reported elsewhere
		names = cfg.ToolNames()
	}
	names[server] = nil
	for _, t := range tools {
		names[server] = append(names[server], t.Name)
	}
	var notes []string
	for _, line := range config.CloseNames(names, server) {
		notes = append(notes, "note: "+line+"; look twice which one is meant.")
	}
	return notes
}

// printNext prints what was written and how to use it.
func (a *app) printNext(plan onboard.Plan, p ipc.Paths) error {
	exe, err := clientProgram()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	entry := map[string]any{"type": "stdio", "command": exe, "args": []string{"stdio", plan.Request.Name}}
	if home, ok := os.LookupEnv(ipc.EnvHome); ok {
		entry["env"] = map[string]string{ipc.EnvHome: home}
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "\nWritten to %s and %s.\n", p.ConfigFile(), p.ToolsLock())
	fmt.Fprintf(a.out, "\nFor Claude Code:\n\n    claude mcp add-json %s %s\n\nThen keep `approve` at hand in another pane.\n", plan.Request.Name, shellQuote(string(line)))
	r := plan.Request
	for _, where := range onboard.Unguarded(r.Folder, os.LookupEnv, r.Name, r.Command, r.Args) {
		fmt.Fprintf(a.out, "\nWARNING: %s still starts this server past the guard; remove it, or run `mcpguardd import`.\n", safetext.Text(where))
	}
	return nil
}

// shellQuote quotes a word for a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
