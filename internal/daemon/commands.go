package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/commands"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/sandbox"
	"github.com/mcpguard/mcpguard/internal/workspace"
)

// startCommands prepares the sandbox for commands. Without it commands are
// shown by their text.
func (d *daemon) startCommands() {
	if d.cfg.Sandbox == "" {
		return
	}
	var err error
	d.commands, err = commands.New(commands.Config{
		Program: d.cfg.Sandbox, State: filepath.Join(d.cfg.Paths.State, "commands"), Log: d.log, Secret: expr.SecretPath, Obeyed: expr.AutomationPath, Startup: expr.StartupPath,
		Hidden: []string{d.cfg.Paths.State, filepath.Dir(d.cfg.Paths.ConfigFile())},
	})
	if err != nil {
		d.log.Error("commands are shown by their text", "error", err)
	}
}

// endRuns removes what the commands of runs that are over have left in their folders
// for temporary files. A run lives as long as its client, whatever sessions that has.
func (d *daemon) endRuns() {
	if d.commands == nil {
		return
	}
	runs, err := d.store.Runs()
	if err != nil {
		d.log.Error("looking for runs that are over", "error", err)
		return
	}
	boot := d.clock.Now().BootID
	alive := map[guard.RunID]bool{}
	for _, r := range runs {
		alive[r.ID] = r.BootID == boot && ipc.Running(r.Origin.PID, r.Origin.StartTime)
	}
	for _, s := range d.sessions.all() {
		alive[s.RunID] = true
	}
	if err := d.commands.EndRuns(func(id guard.RunID) bool { return alive[id] }); err != nil {
		d.log.Warn("removing the temporary files of runs that are over", "error", err)
	}
}

// resumeLanding continues a landing that an earlier daemon may have begun.
func (d *daemon) resumeLanding(record string) error {
	if d.commands == nil {
		return errors.New("what commands change cannot be landed on this machine")
	}
	return d.commands.Resume(record)
}

// sessionCommands runs the commands of one session, in its folders and with
// the variables of its client that hold no secret.
type sessionCommands struct {
	d     *daemon
	s     guard.Session
	roots []string
	env   []string // see commands.Environment
	umask int
}

// commandsOf returns what runs the commands of a session; nil if they are
// shown by their text.
func (d *daemon) commandsOf(s guard.Session, roots []string, client int) *sessionCommands {
	if d.commands == nil {
		return nil
	}
	return &sessionCommands{d: d, s: s, roots: roots, env: commands.Environment(environmentOf(client)), umask: umaskOf(client)}
}

// effects and orNil convert to the interfaces of other packages; a nil pointer
// becomes a nil interface.
func (c *sessionCommands) effects() effect.Commands {
	if c == nil {
		return nil
	}
	return c
}

func (c *sessionCommands) orNil() workspace.Commands {
	if c == nil {
		return nil
	}
	return c
}

// environmentOf returns the environment that a process was started with.
func environmentOf(pid int) []string {
	if pid <= 0 {
		return os.Environ()
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

func umaskOf(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(b, []byte("\nUmask:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	mask, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 8, 32)
	if err != nil {
		return 0
	}
	return int(mask)
}

// Preview implements effect.Commands.
func (c *sessionCommands) Preview(ctx context.Context, line effect.CommandLine, head string) (guard.Preview, error) {
	cfg := c.d.policy.Load().Config().Commands
	require := cfg.Preview == "require"
	if cfg.Preview == "text" || slices.Contains(cfg.Direct, line.Line) {
		return guard.Preview{}, &effect.Uncontained{Why: "the configuration wants it shown by its text"}
	}
	cmd, err := c.command(line, cfg)
	if err != nil {
		return guard.Preview{}, err
	}
	p, err := c.preview(ctx, cmd, head)
	var moving *commands.MovingError
	var moved *sandbox.MovedError
	switch {
	case err == nil:
		return p, nil
	case errors.As(err, &moving):
		return guard.Preview{}, &effect.Uncontained{Why: moving.Error(), Refuse: require}
	case errors.As(err, &moved):
		return guard.Preview{}, &effect.Uncontained{Why: moved.Error(), Refuse: require}
	case errors.Is(err, sandbox.ErrUnavailable), errors.Is(err, sandbox.ErrTooLarge):
		return guard.Preview{}, &effect.Uncontained{Why: err.Error(), Refuse: require}
	case ctx.Err() != nil:
		return guard.Preview{}, ctx.Err()
	}
	c.d.log.Warn("a command could not be contained", "call", line.Call, "error", err)
	return guard.Preview{}, &effect.Uncontained{Why: "the sandbox failed", Refuse: require}
}

// preview runs a command and says what came of it. What moves between the two has
// it run again, as often as the runner lets it.
func (c *sessionCommands) preview(ctx context.Context, cmd commands.Command, head string) (guard.Preview, error) {
	for round := 0; ; round++ {
		rec, err := c.d.commands.Preview(ctx, cmd)
		if err != nil {
			return guard.Preview{}, err
		}
		p, err := rec.Preview(head)
		if moved := (*sandbox.MovedError)(nil); !errors.As(err, &moved) || round >= commands.MaxRounds {
			return p, err
		}
	}
}

// Reverse implements effect.Commands.
func (c *sessionCommands) Reverse(_ context.Context, call guard.CallID, record string) (guard.Preview, error) {
	rec, err := c.d.commands.Reverse(call, record)
	if err != nil {
		return guard.Preview{}, err
	}
	return rec.Preview("take back what a command changed\n")
}

// Done implements effect.Commands.
func (c *sessionCommands) Done(call guard.CallID) { c.d.commands.Keep(call) }

// command converts a call's command to the types of package commands.
func (c *sessionCommands) command(line effect.CommandLine, cfg config.Commands) (commands.Command, error) {
	folder, err := c.folder(line.Folder)
	if err != nil {
		return commands.Command{}, err
	}
	cmd := commands.Command{
		Call: line.Call, Tenant: c.s.Tenant, Run: c.s.RunID, Argv: line.Argv, Folder: folder, Roots: c.roots, Home: value(c.env, "HOME"), Env: c.env, Umask: c.umask,
		Programs: line.Programs,
		Settings: commands.Settings{Scratch: cfg.Scratch, Limits: sandbox.Limits{
			Time: time.Duration(cfg.Limits.Time), Memory: int64(cfg.Limits.Memory), Processes: cfg.Limits.Processes,
			Written: int64(cfg.Limits.Written), Output: int64(cfg.Limits.Output),
		}},
	}
	if line.Time > 0 {
		cmd.Settings.Limits.Time = min(line.Time, cmd.Settings.Limits.OrDefault().Time)
	}
	if len(cmd.Argv) == 0 {
		cmd.Argv = []string{"bash", "-c", line.Line}
	}
	return cmd, nil
}

func value(env []string, name string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// folder resolves the folder of a command, which must be in a workspace.
func (c *sessionCommands) folder(name string) (string, error) {
	if len(c.roots) == 0 {
		return "", &effect.Refusal{Rule: guard.RulePath, Reason: "the session has no workspace folder", Repair: "ask the user"}
	}
	if name == "" {
		return c.roots[0], nil
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(c.roots[0], name)
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil || !slices.ContainsFunc(c.roots, func(r string) bool { return expr.Under(real, r) }) {
		return "", &effect.Refusal{Rule: guard.RulePath, Reason: "the folder is not a folder of the workspace", Repair: "use a folder inside the workspace"}
	}
	return real, nil
}

// Land implements workspace.Commands.
func (c *sessionCommands) Land(ctx context.Context, record string) (workspace.CommandOutcome, error) {
	o, err := c.land(ctx, record)
	return workspaceOutcome(o), err
}

func (c *sessionCommands) land(ctx context.Context, record string) (commands.Outcome, error) {
	o, err := c.d.commands.Land(ctx, record)
	var moved *sandbox.MovedError
	switch {
	case errors.As(err, &moved):
		return commands.Outcome{}, fmt.Errorf("%q changed meanwhile (%s), so nothing of this was carried out. Make the call again: the command is run anew, and shown again if its changes are others now", moved.Path, moved.What)
	case err != nil:
		c.d.log.Error("landing what a command changes", "record", record, "error", err)
		return commands.Outcome{}, errors.New("what the command changes could not be carried out; read the files before you go on")
	}
	return o, nil
}

func workspaceOutcome(o commands.Outcome) workspace.CommandOutcome {
	return workspace.CommandOutcome{Exit: o.Exit, Signal: o.Signal, Stdout: o.Stdout, Stderr: o.Stderr, Text: o.Text, Truncated: o.Truncated, Changes: o.Changes}
}

// Run implements workspace.Commands.
func (c *sessionCommands) Run(ctx context.Context, line effect.CommandLine) (workspace.CommandOutcome, error) {
	cmd, err := c.command(line, c.d.policy.Load().Config().Commands)
	if err != nil {
		return workspace.CommandOutcome{}, err
	}
	o, err := c.d.commands.Real(ctx, cmd)
	if err != nil {
		c.d.log.Warn("running a command", "error", err)
		return workspace.CommandOutcome{}, errors.New("the command could not be run")
	}
	return workspaceOutcome(o), nil
}

// Commands implements localapi.Live. Lines are redacted, since some contain
// keys.
func (l live) Commands() []client.RunningCommand {
	out := []client.RunningCommand{}
	if l.commands == nil {
		return out
	}
	now := l.clock.Now().Wall
	for _, c := range l.commands.List() {
		words := c.Command.Argv
		if len(words) == 3 && words[0] == "bash" && words[1] == "-c" {
			words = words[2:]
		}
		out = append(out, client.RunningCommand{
			ID: string(c.Call), RunID: string(c.Command.Run), Tenant: c.Command.Tenant,
			Command: string(l.secrets.text([]byte(strings.ToValidUTF8(strings.Join(words, " "), "\ufffd")))), Folder: c.Command.Folder,
			StartedAt: c.Since.UTC(), Seconds: max(0, int(now.Sub(c.Since)/time.Second)),
		})
	}
	return out
}

// StopCommand implements localapi.Live.
func (l live) StopCommand(id guard.CallID) bool { return l.commands != nil && l.commands.Stop(id) }
