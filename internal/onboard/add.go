package onboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/configs"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/redact"
	"github.com/mcpguard/mcpguard/internal/upstream"
	"github.com/mcpguard/mcpguard/internal/workspace"
)

// Request describes a server that a person wants to guard.
type Request struct {
	Name       string
	Preset     string // empty: chosen by the server's package, if a preset knows it
	Builtin    string // "workspace" instead of a command
	Command    string
	Args       []string
	Env        []string          // names to pass on in addition to defaultEnv
	Secrets    map[string]string // environment name → file:, env: or cmd:
	Workspaces []string
	Folder     string // the client's working folder; becomes a root
	Lookup     func(name string) (string, bool)
	User       string // who accepts the definitions
	Version    string // of this program
	Now        time.Time
	// Waiting is called once, with a sentence about what a server that is slow
	// to answer may be waiting for. It may be nil.
	Waiting func(sentence string)
	silence time.Duration // the delay before Waiting is called; 0 means waitingAfter

	values map[string]string // of Secrets whose files are not written yet
}

// defaultEnv is what nearly every server needs and holds no secret.
var defaultEnv = [...]string{"HOME", "LANG", "PATH", "TMPDIR"}

// Plan is what adding a server would write.
type Plan struct {
	Request   Request
	Listing   Listing
	Proposals []Proposal
	Entry     config.ServerEntry
	Missing   []string // names in Env that have no value here
	NoPreset  []string // tools of the preset that the server does not have
	Basis     string   // the preset's evidence: "run", "listed" or "published"
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// NewPlan starts the server once, asks what it offers and stops it. It writes
// nothing.
func NewPlan(ctx context.Context, r Request) (Plan, error) {
	p, err := newPlan(r)
	if err != nil {
		return Plan{}, err
	}
	if err := p.listen(ctx); err != nil {
		return Plan{}, err
	}
	return p, nil
}

// newPlan makes the part of the plan that does not need the server.
func newPlan(r Request) (Plan, error) {
	if !nameRule.MatchString(r.Name) {
		return Plan{}, fmt.Errorf("%q cannot be a server's name: letters, digits, '_', '-' and '.', at most 64", r.Name)
	}
	if r.Preset == "" {
		r.Preset = presetFor(r)
	}
	p := Plan{Request: r}
	names := slices.Clone(r.Env)
	for _, n := range defaultEnv {
		if _, ok := r.Lookup(n); ok && r.Builtin == "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	p.Entry = config.ServerEntry{
		Preset: r.Preset, Builtin: r.Builtin, Command: r.Command, Args: r.Args, Env: names,
		Secrets: r.Secrets, Workspaces: r.Workspaces,
	}
	known, err := p.parse()
	if err != nil {
		return Plan{}, err
	}
	p.Basis = known.Basis
	p.Missing = (&config.Environment{}).Record(r.Name, names, r.Lookup)
	if len(p.Missing) > 0 {
		return Plan{}, fmt.Errorf("the environment variables %v are not set here; set them, or name them as secrets", p.Missing)
	}
	return p, nil
}

// listen starts the server once and completes the plan from its replies.
func (p *Plan) listen(ctx context.Context) error {
	known, err := p.parse()
	if err != nil {
		return err
	}
	recorded := &config.Environment{}
	recorded.Record(p.Request.Name, p.Entry.Env, p.Request.Lookup)
	if p.Listing, err = ask(ctx, p.Request, known, recorded); err != nil {
		return err
	}
	tiers := map[string]guard.Tier{}
	offered := map[string]bool{}
	for _, t := range p.Listing.Tools {
		offered[t.Name] = true
	}
	for _, t := range p.Listing.LeftOut {
		offered[t.Name] = true
	}
	for name, t := range known.Tools {
		tiers[name] = t.Tier
		if !offered[name] {
			p.NoPreset = append(p.NoPreset, name)
		}
	}
	slices.Sort(p.NoPreset)
	p.Proposals = Propose(p.Listing.Tools, tiers)
	for _, t := range p.Proposals {
		if !t.Preset {
			p.Entry.Tools = append(p.Entry.Tools, config.ToolEntry{Name: t.Tool, Tier: t.Tier, Claimed: t.Claimed, Opaque: t.Tier >= guard.T2IrreversibleWrite})
		}
	}
	return nil
}

// parse reads the entry as the configuration would, with its preset.
func (p *Plan) parse() (*config.Server, error) {
	e, err := config.NewEditor("config.yaml", []byte("version: 1\nroots: [/nowhere]\n")) // a configuration needs a root; this one is never written
	if err != nil {
		return nil, err
	}
	entry := p.Entry
	entry.Tools = nil
	if err := e.AddServer(p.Request.Name, entry); err != nil {
		return nil, err
	}
	c, err := config.Parse("config.yaml", e.Bytes())
	if err != nil {
		return nil, fmt.Errorf("what would be written does not load: %w", err)
	}
	return c.Servers[p.Request.Name], nil
}

// presetFor returns the preset for the package that the command starts, or "".
func presetFor(r Request) string {
	if r.Builtin != "" {
		return r.Builtin
	}
	g := launchEnv{folder: r.Folder, lookup: r.Lookup, which: exec.LookPath, image: func(string, string) []string { return nil }}
	return presetOf(g.launchOf(r.Command, r.Args))
}

// stopTimeout bounds how long a probed server may take to stop.
const stopTimeout = 10 * time.Second

// ask starts the server as the daemon would, and probes it.
func ask(ctx context.Context, r Request, s *config.Server, recorded *config.Environment) (Listing, error) {
	conn, program, err := start(ctx, r, s, recorded)
	if err != nil {
		return Listing{}, err
	}
	proc, started := conn.(*upstream.Process)
	if started && r.Waiting != nil {
		told := time.AfterFunc(cmp.Or(r.silence, waitingAfter), func() { r.Waiting(waitsFor(r, s, proc)) })
		defer told.Stop()
	}
	l, err := Probe(ctx, conn)
	if started && err != nil {
		if err = ended(proc, err); errors.Is(err, errNoAnswer) {
			err = fmt.Errorf("%w\n%s", err, waitsFor(r, s, proc))
		}
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if serr := conn.Stop(stop); err == nil && serr != nil {
		err = fmt.Errorf("ending the server: %w", serr)
	}
	if started && err != nil && !errors.As(err, new(*upstream.ExitError)) { // an ExitError already includes the last lines
		for _, line := range tail(proc.Stderr(), 5) {
			err = fmt.Errorf("%w\nits standard error: %s", err, line)
		}
	}
	l.Program = program
	l.Program.Reported = Reported(l.Name, l.Version)
	return l, err
}

// waitingAfter is how long a server may be silent before the person is told
// what it may be waiting for.
const waitingAfter = 3 * time.Second

// waitsFor says what a silent server may be doing. A package runner downloads
// what is not on this machine, and says nothing if it cannot.
func waitsFor(r Request, s *config.Server, p *upstream.Process) string {
	g := launchEnv{folder: r.Folder, lookup: r.Lookup, which: exec.LookPath, image: func(string, string) []string { return nil }}
	l := g.launchOf(s.Command, s.Args)
	text := fmt.Sprintf("waiting for the first answer of %s, at most %s", s.Command, probeTimeout)
	switch l.Kind {
	case "npm package", "Python package", "container image":
		text = fmt.Sprintf("waiting for %s, which may be fetching the %s %s over the network, at most %s; where that cannot be reached, run its command by itself to see why",
			filepath.Base(s.Command), l.Kind, l.Name, probeTimeout)
	}
	if last := tail(p.Stderr(), 1); len(last) > 0 {
		text += "; it last printed: " + last[0]
	}
	return text
}

// ended says how a server ended, if that is why it did not answer.
func ended(p *upstream.Process, err error) error {
	soon := time.NewTimer(time.Second)
	defer soon.Stop()
	select {
	case <-p.Done():
	case <-soon.C:
		return err // it is still running, so there is another cause
	}
	exit := p.ExitError()
	if exit == nil {
		return err
	}
	return fmt.Errorf("the server ended before it said what it offers: %w\nrun its command by itself to see why", exit)
}

func tail(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

func start(ctx context.Context, r Request, s *config.Server, recorded *config.Environment) (upstream.Conn, config.Program, error) {
	var program config.Program
	if s.Builtin != "" {
		conn, err := workspace.Open(workspace.Config{Roots: []string{r.Folder}, Version: r.Version})
		return conn, program, err
	}
	lookup := func(name string) (string, bool) { return r.Lookup(name) }
	values := r.values
	if values == nil {
		var err error
		if values, err = s.ResolveSecrets(ctx, lookup); err != nil {
			return nil, program, err
		}
	}
	environ, missing := s.Environ(recorded, values)
	if len(missing) > 0 {
		// Same rule as in the daemon: what it would not start must not be
		// accepted either.
		return nil, program, fmt.Errorf("the environment variables %v of server %s were not recorded; run `mcpguardd accept %s` where they are set", missing, s.Name, s.Name)
	}
	secrets := redact.New(redact.Config{Secrets: slices.Sorted(maps.Values(values))})
	spec := upstream.Spec{
		Name: r.Name, Command: s.Command, Args: s.Args, Env: environ, Dir: r.Folder,
		Redact: func(line []byte) []byte { out, _ := secrets.Text(line); return out },
	}
	program = ProgramOf(s, spec)
	conn, err := upstream.Start(ctx, spec)
	return conn, program, err
}

// Apply writes the plan: recorded environment and accepted definitions first,
// the configuration last, because a running daemon acts on it.
func (p Plan) Apply(ctx context.Context, paths ipc.Paths) error {
	release, err := paths.LockConfig(ctx)
	if err != nil {
		return err
	}
	defer release()
	return apply(paths, []Plan{p}, nil)
}

// apply writes several plans at once, and further folders in which clients are
// served. The caller holds the configuration lock.
func apply(paths ipc.Paths, plans []Plan, roots []string) error {
	e, err := config.OpenEditor(paths.ConfigFile())
	if err != nil {
		return err
	}
	recorded, err := config.LoadEnvironment(paths.EnvironmentFile())
	if err != nil {
		return err
	}
	lock, err := config.LoadLock(paths.ToolsLock())
	if err != nil {
		return err
	}
	for _, p := range plans {
		if err := p.into(e, recorded, lock, paths); err != nil {
			return err
		}
	}
	for _, dir := range roots {
		if _, err := e.AddRoot(dir); err != nil {
			return err
		}
	}
	if _, err := config.Parse(paths.ConfigFile(), e.Bytes()); err != nil {
		return fmt.Errorf("what would be written does not load, so nothing was written: %w", err)
	}
	if err := recorded.Save(paths.EnvironmentFile()); err != nil {
		return err
	}
	if err := lock.Save(paths.ToolsLock()); err != nil {
		return err
	}
	if err := writeSchema(paths); err != nil {
		return err
	}
	return e.Save()
}

// into adds one server to the three files in memory.
func (p Plan) into(e *config.Editor, recorded *config.Environment, lock *config.Lock, paths ipc.Paths) error {
	if err := e.AddServer(p.Request.Name, p.Entry); err != nil {
		if errors.Is(err, config.ErrExists) {
			return fmt.Errorf("a server %q is in %s already; choose another name, or edit it there", p.Request.Name, paths.ConfigFile())
		}
		return err
	}
	if _, err := e.AddRoot(p.Request.Folder); err != nil {
		return err
	}
	recorded.Record(p.Request.Name, p.Entry.Env, p.Request.Lookup)
	lock.Remove(p.Request.Name, "")
	if p.Request.Builtin == "" && p.Listing.Program != (config.Program{}) {
		lock.PutProgram(p.Request.Name, p.Listing.Program)
	}
	return Accept(lock, p.Request.Name, p.Listing.Tools, p.Request.User, p.Request.Now)
}

// writeSchema writes the JSON Schema beside the configuration, whose first
// line refers to it for editors.
func writeSchema(paths ipc.Paths) error {
	path := filepath.Join(paths.Config, "mcpguard.schema.json")
	if err := os.WriteFile(path, configs.Schema(), 0o600); err != nil {
		return fmt.Errorf("writing the schema for editors: %w", err)
	}
	return nil
}

// Accept pins the present tool definitions.
func Accept(lock *config.Lock, server string, tools []Tool, user string, now time.Time) error {
	for _, t := range tools {
		pin := guard.Pin{Server: server, Tool: t.Name, Definition: t.Definition, AcceptedAt: now, AcceptedBy: cmp.Or(user, "unknown")}
		if err := lock.Put(pin); err != nil {
			return err
		}
	}
	return nil
}
