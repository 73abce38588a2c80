package policy

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Set is a policy in force. It is immutable and safe for concurrent use.
type Set struct {
	cfg      *config.Config
	lock     *config.Lock
	hash     string
	servers  map[string]*Server
	profiles []root
}

// Profile says who works in a folder.
type Profile struct {
	Name, Tenant, Environment, Workflow string
}

// root is one folder of a profile, as written and with links resolved.
type root struct {
	folders []string
	profile Profile
}

// Server is the policy of one upstream.
type Server struct {
	Name   string
	Config *config.Server
	tools  map[string]*Tool
	sorted []*Tool
	hold   config.Hold
}

// Compile checks every expression and effect of cfg. The error is a *config.Error
// with the location of each problem. A nil lock accepts no tool. Neither argument
// may change afterwards.
func Compile(cfg *config.Config, lock *config.Lock) (*Set, error) {
	env, err := expr.New()
	if err != nil {
		return nil, err
	}
	s := &Set{cfg: cfg, lock: lock, servers: map[string]*Server{}, profiles: roots(cfg)}
	c := &compiler{env: env, cfg: cfg, lock: lock}
	for _, name := range slices.Sorted(maps.Keys(cfg.Servers)) {
		s.servers[name] = c.server(cfg.Servers[name])
	}
	if err := config.NewError(c.problems); err != nil {
		return nil, err
	}
	s.hash, err = setHash(s)
	return s, err
}

func (c *compiler) server(sc *config.Server) *Server {
	sv := &Server{Name: sc.Name, Config: sc, tools: map[string]*Tool{}, hold: c.cfg.Hold}
	for _, tool := range slices.Sorted(maps.Keys(sc.Tools)) {
		t := c.tool(sc, sc.Tools[tool])
		t.of = sv
		sv.tools[tool] = t
		sv.sorted = append(sv.sorted, t)
	}
	return sv
}

// Unproven returns the set for a process of a server whose version is not one that
// the effects were proven with, whatever is installed now. It keeps the hash of s;
// the hashes of the server's tools differ.
func (s *Set) Unproven(server string) *Set {
	out := *s
	out.servers = maps.Clone(s.servers)
	delete(out.servers, server)
	sv, ok := s.servers[server]
	if !ok {
		return &out
	}
	env, err := expr.New()
	if err != nil {
		return &out // fail closed: what cannot be compiled allows nothing
	}
	sc := *sv.Config
	sc.Detected = config.Package{}
	c := &compiler{env: env, cfg: s.cfg, lock: s.lock}
	if sv = c.server(&sc); len(c.problems) > 0 {
		return &out // fail closed: likewise
	}
	out.servers[server] = sv
	return &out
}

func roots(cfg *config.Config) []root {
	var list []root
	for _, name := range slices.Sorted(maps.Keys(cfg.Profiles)) {
		p := cfg.Profiles[name]
		for _, folder := range p.Roots {
			r := root{folders: []string{folder}, profile: Profile{Name: name, Tenant: p.Tenant, Environment: p.Environment, Workflow: p.Workflow}}
			if real, err := filepath.EvalSymlinks(folder); err == nil && real != folder {
				r.folders = append(r.folders, real)
			}
			list = append(list, r)
		}
	}
	return list
}

// Hash identifies everything that the set was compiled from.
func (s *Set) Hash() string { return s.hash }

// Config returns the configuration, which must not be changed.
func (s *Set) Config() *config.Config { return s.cfg }

// Lock returns the accepted definitions, which must not be changed; it may be nil.
func (s *Set) Lock() *config.Lock { return s.lock }

// ProfileFor returns the profile of the nearest folder at or above the given
// absolute folder, as the daemon sees it. Without a profile a session is not
// served.
func (s *Set) ProfileFor(folder string) (Profile, bool) {
	if !filepath.IsAbs(folder) {
		return Profile{}, false
	}
	best, found := Profile{}, false
	longest := -1
	for _, r := range s.profiles {
		for _, f := range r.folders {
			if expr.Under(folder, f) && len(f) > longest {
				best, found, longest = r.profile, true, len(f)
			}
		}
	}
	return best, found
}

// Server returns the policy of an upstream.
func (s *Set) Server(name string) (*Server, bool) {
	sv, ok := s.servers[name]
	return sv, ok
}

// Program returns the program behind a server when its tools were accepted.
func (s *Set) Program(server string) (config.Program, bool) { return s.lock.Program(server) }

// Servers returns every upstream, sorted by name.
func (s *Set) Servers() []*Server {
	list := make([]*Server, 0, len(s.servers))
	for _, name := range slices.Sorted(maps.Keys(s.servers)) {
		list = append(list, s.servers[name])
	}
	return list
}

// Hold returns how long a waiting call is held open for a client, by the name it
// gives itself; 0 means until it is decided.
func (s *Set) Hold(client string) time.Duration { return hold(s.cfg.Hold, client) }

func hold(h config.Hold, client string) time.Duration {
	d, wait := h.For(client)
	if wait {
		return 0
	}
	return d
}

// Hold is Set.Hold.
func (sv *Server) Hold(client string) time.Duration { return hold(sv.hold, client) }

// Tool returns the policy of a tool. A tool that is not found is denied with
// NotListed.
func (sv *Server) Tool(name string) (*Tool, bool) {
	t, ok := sv.tools[name]
	return t, ok
}

// Tools returns every tool that the policy names, NEVER included, sorted by name.
// The slice must not be changed.
func (sv *Server) Tools() []*Tool { return sv.sorted }

// NotListed is the decision for a tool that the policy does not name.
func NotListed() guard.Decision {
	return guard.Decision{Verdict: guard.Deny, Rule: guard.RuleNotListed,
		Reason: "the policy does not name this tool", Repair: "use one of the tools that are listed"}
}

// Limits bound one tool. Zero means no limit.
type Limits struct {
	CallsPerRun int
	Rate        config.Rate // Count calls per Per
	Timeout     time.Duration
	Concurrency int
	Output      int64 // bytes of a result that are passed on
}

// Tool is the policy of one tool. It is immutable and safe for concurrent use.
type Tool struct {
	Server, Name string
	Tier         guard.Tier      // before conditions
	Hash         string          // of the policy in force for the tool
	Binding      *effect.Binding // nil for a T0 tool without an effect
	Limits       Limits
	Config       *config.Tool

	of      *Server
	pin     guard.Pin
	pinned  bool
	rules   rules
	effect  config.Effect
	sandbox bool // sandbox: none, client or overlay is written
	// askUnchanged is set if commands that change nothing need approval too.
	askUnchanged bool
	unsigned     bool // signed: no is written
	strict       bool // unknown members of arguments are refused
	boxes        map[guard.Tier]guard.TimeBox
	schemas      *schemaCache
	proven       bool
	receipts     []receipt
	undo         map[string]*expr.Program // arguments of the tool that undoes a change
	undoWhen     *expr.Program            // nil: always
	serverMax    int                      // calls in flight on the whole server
}

// Pin returns the accepted definition of the tool.
func (t *Tool) Pin() (guard.Pin, bool) { return t.pin, t.pinned }

// Proven reports whether the tool's effect was checked against this version of the
// server.
func (t *Tool) Proven() bool { return t.proven }

// rules are a tool's compiled conditions.
type rules struct {
	tiers       []tierWhen
	deny, allow []rule
	sensitive   []rule
	effects     []sideEffect
	claim       *expr.Program // nil if the agent states no reason
}

type rule struct {
	name guard.Rule
	prog *expr.Program
	says string
}

type tierWhen struct {
	prog *expr.Program
	tier guard.Tier
}

type sideEffect struct {
	prog *expr.Program // nil means always
	says template
}

// defaultWriteRate bounds writes if the policy names no rate.
var defaultWriteRate = config.Rate{Count: 60, Per: time.Minute}

// compiler collects the problems of all tools.
type compiler struct {
	env      *expr.Env
	cfg      *config.Config
	lock     *config.Lock
	problems []config.Diagnostic
}

func (c *compiler) problem(pos config.Pos, message, suggestion string) {
	c.problems = append(c.problems, config.Diagnostic{Pos: pos, Message: message, Suggestion: suggestion})
}

// expression compiles the text at path; it returns nil after a problem.
func (c *compiler) expression(path, src string, want expr.Type) *expr.Program {
	return c.expressionIn(c.env, path, src, want)
}

func (c *compiler) expressionIn(env *expr.Env, path, src string, want expr.Type) *expr.Program {
	p, err := env.Compile(src, want)
	if err == nil {
		return p
	}
	var e *expr.Error
	if errors.As(err, &e) {
		message, _, _ := strings.Cut(e.Message, " expecting {") // a list of the grammar's tokens
		c.problem(c.cfg.PosIn(path, e.Line, e.Column), "this expression does not compile: "+message, remedy(message))
	} else {
		c.problem(c.cfg.Pos(path), "this expression does not compile", "")
	}
	return nil
}

// remedy suggests a fix for common mistakes in an expression that does not compile.
func remedy(message string) string {
	switch {
	case strings.Contains(message, "mismatched input '<EOF>'"):
		return "it ends too early; complete it"
	case strings.Contains(message, "undeclared reference"):
		return "a text stands in quotes; names are args, target, targets, effect, tool, server, tenant, environment, workflow, run and client, and some functions"
	}
	return ""
}
