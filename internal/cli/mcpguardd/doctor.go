package mcpguardd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/commands"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/daemon"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/shim"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/upstream"
	"github.com/mcpguard/mcpguard/internal/version"
)

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "what is protected, at which level, and every weakness that remains",
		Long: `Checks folders, sockets, daemon, configuration, accepted definitions and what this
system offers, and prints the security level in force with every weakness that
remains. Exit 1 if something does not work.`,
		GroupID: "look",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			d := &diagnosis{app: a}
			d.run(c.Context())
			if d.broken > 0 {
				return errors.New(count(d.broken, "thing does", "things do") + " not work")
			}
			return nil
		},
	}
}

// diagnosis prints one line for each check.
type diagnosis struct {
	*app
	broken int
}

func (d *diagnosis) ok(format string, args ...any)   { d.line("ok", fmt.Sprintf(format, args...)) }
func (d *diagnosis) weak(format string, args ...any) { d.line("weak", fmt.Sprintf(format, args...)) }
func (d *diagnosis) note(format string, args ...any) { d.line("note", fmt.Sprintf(format, args...)) }
func (d *diagnosis) bad(format string, args ...any) {
	d.broken++
	d.line("BAD", fmt.Sprintf(format, args...))
}

func (d *diagnosis) line(mark, text string) {
	for i, l := range safetext.Lines([]byte(text)) {
		if i > 0 {
			mark = ""
		}
		fmt.Fprintf(d.out, "%-5s %s\n", mark, l)
	}
}

func (d *diagnosis) run(ctx context.Context) {
	p, err := ipc.DefaultPaths()
	if err != nil {
		d.bad("%v", err)
		return
	}
	d.folders(p)
	set := d.configuration(p)
	d.daemon(ctx, p)
	d.programs()
	d.commands(ctx, p, set)
	d.unguarded(set)
	d.hooks(set)
	fmt.Fprintf(d.out, "\nlevel %s: %s\n", daemon.Level, daemon.LevelClaim)
	if set != nil {
		for _, w := range daemon.Weaknesses(set.Config(), set.Config().Approvers.Unsigned) {
			d.weak("%s", w)
		}
	}
	if set == nil || set.Config().Native == nil {
		d.note("what a client does with its own tools (Edit, Write, Bash in Claude Code) passes no MCP server and so not this guard; for Claude Code's: mcpguardd hooks install")
	}
}

func (d *diagnosis) folders(p ipc.Paths) {
	for _, dir := range []string{p.Config, p.State} {
		st, err := os.Lstat(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			d.note("%s does not exist yet; it is made at the first start", dir)
		case err != nil:
			d.bad("%s: %v", dir, err)
		case !st.IsDir() || st.Mode().Perm() != 0o700:
			d.bad("%s is not a folder that only you can enter; run: chmod 700 %q", dir, dir)
		default:
			d.ok("%s is yours alone", dir)
		}
		if p.Config == p.State {
			break
		}
	}
	if err := ipc.CheckSocketPath(p.ApproverSocket()); err != nil {
		d.bad("%v", err)
	}
}

func (d *diagnosis) configuration(p ipc.Paths) *policy.Set {
	if _, err := os.Stat(p.ConfigFile()); errors.Is(err, os.ErrNotExist) {
		d.note("%s does not exist: no server is guarded yet; run `mcpguardd add`", p.ConfigFile())
		return nil
	}
	set, err := daemon.ReadPolicy(p)
	if err != nil {
		d.bad("the configuration does not load:\n%v", err)
		return nil
	}
	d.ok("%s loads: %s", p.ConfigFile(), guardedBy(set))
	for _, s := range set.Servers() {
		waiting := 0
		for _, t := range s.Tools() {
			if _, ok := t.Pin(); !ok {
				waiting++
			}
		}
		if waiting > 0 {
			d.note("%s: %d tools have no accepted definition and are blocked; run `mcpguardd accept %s`", s.Name, waiting, s.Name)
		}
		d.behind(p, set, s)
	}
	return set
}

// behind reports a server whose program has changed since its tools were
// accepted. It does not check what only the running server can tell.
func (d *diagnosis) behind(p ipc.Paths, set *policy.Set, s *policy.Server) {
	before, ok := set.Program(s.Name)
	folder, err := here()
	if !ok || err != nil {
		return
	}
	recorded, err := config.LoadEnvironment(p.EnvironmentFile())
	if err != nil {
		d.bad("%v", err)
		return
	}
	environ, _ := s.Config.Environ(recorded, nil)
	now := onboard.ProgramOf(s.Config, upstream.Spec{Command: s.Config.Command, Args: s.Config.Args, Env: environ, Dir: folder})
	for _, line := range before.Differences(now) {
		d.weak("%s: %s; look at it with: mcpguardd accept %s", s.Name, line, s.Name)
	}
}

func (d *diagnosis) daemon(ctx context.Context, p ipc.Paths) {
	if found, err := p.FindDaemon(ctx); err == nil && (found.Unreachable || found.Stopped) {
		d.bad("%v", outOfReach(p, found))
		return
	}
	api := control(p)
	defer api.Close()
	s, err := api.Status(ctx)
	switch {
	case errors.Is(err, client.ErrUnreachable) && errors.Is(err, ipc.ErrNoDaemon):
		d.note("the daemon does not run; a client or approve starts it")
		d.database(ctx, p)
		return
	case err != nil:
		d.bad("the daemon: %v", err)
		return
	}
	d.ok("the daemon runs: version %s, process %d", s.Version, s.PID)
	if s.Version != version.Number {
		d.note("the daemon has version %s, this program %s; run `mcpguardd stop` to let the new one start", s.Version, version.Number)
	}
	if s.Folder != filepath.Clean(p.State) {
		d.bad("the daemon was started for the folder %s, and works in %s now; run `mcpguardd stop`, so that the next one starts here", s.Folder, p.State)
	}
	switch {
	case s.PolicyNone:
		d.bad("the daemon has no policy in force, so everything is denied:\n%s", s.PolicyProblem)
	case s.PolicyProblem != "":
		d.bad("the daemon runs with an older policy:\n%s", s.PolicyProblem)
	}
	switch {
	case s.ApproversWait != "" && s.ApproversRefused:
		d.bad("the configuration sets approvers.unsigned to %s, which was refused; %s is in force. Change it back, or run `approve approvers allow`", s.ApproversWait, s.Unsigned)
	case s.ApproversWait != "":
		d.bad("the configuration sets approvers.unsigned to %s, which waits for your decision; %s is in force. If you did not change it, an agent may have: `approve approvers`", s.ApproversWait, s.Unsigned)
	}
	if s.StoreProblem != "" {
		d.bad("the database: %s", s.StoreProblem)
	}
	if s.StoreDamage != "" {
		d.bad("the database: %s", s.StoreDamage)
	}
	if s.Alerts > 0 {
		d.note("alerts to acknowledge: %d; `approve ack` lists them", s.Alerts)
	}
}

// database checks the files of a database while no daemon answers for it.
func (d *diagnosis) database(ctx context.Context, p ipc.Paths) {
	found, err := store.Examine(ctx, p.DB())
	switch {
	case errors.Is(err, store.ErrMissing):
		d.bad("%v\n%s", err, store.WayOut(p.DB()))
	case err != nil:
		d.bad("the database: %v", err)
	case len(found) > 0:
		d.bad("the database is damaged:\n%s\n%s", store.Describe(found), store.WayOut(p.DB()))
	}
}

// programs checks whether all programs are in the same folder.
func (d *diagnosis) programs() {
	exe, err := os.Executable()
	if err != nil {
		d.bad("finding this program: %v", err)
		return
	}
	for _, name := range []string{"approve", "mcpguard"} {
		if _, err := os.Stat(filepath.Join(filepath.Dir(exe), name)); err != nil {
			d.note("%s does not stand beside %s; install all of the guard's programs into one folder", name, exe)
		}
	}
}

// ownBash reports how commands of the client's own tools are shown where a
// sandbox works.
func (d *diagnosis) ownBash(set *policy.Set) {
	switch {
	case set == nil || set.Config().Native == nil:
	case set.Config().Commands.RewritesBash():
		d.ok("so do commands of Claude Code's own Bash, where its version and settings allow it; each that does not says why")
	default:
		d.note("commands of Claude Code's own Bash are shown by their text: commands.rewrite is off")
	}
}

// commands runs a no-op command in a sandbox, and reports what prevents that.
func (d *diagnosis) commands(ctx context.Context, p ipc.Paths, set *policy.Set) {
	can := commands.Able(ctx, shim.SandboxProgram(), p.State)
	switch {
	case can.Err == nil:
		d.ok("commands run in a sandbox here")
		d.ownBash(set)
	case set != nil && set.Config().Commands.Preview == "require":
		d.bad("commands are refused: none runs in a sandbox here, and commands.preview is require")
	default:
		d.weak("commands are shown by their text: none runs in a sandbox here")
	}
	for _, l := range can.Lacks {
		text := l.What
		if l.Remedy != "" {
			text += "\nremedy: " + l.Remedy
		}
		d.line(map[bool]string{true: "note", false: ""}[can.Err == nil], text)
	}
}
