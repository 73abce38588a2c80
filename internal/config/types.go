package config

import (
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// Config is a whole configuration with presets and defaults applied. It is
// read-only after loading and may be shared.
//
// The struct tags are the only source of the keys: `yaml` names a key, and editors
// show `doc` for it. In every type, Path is the location of the value, such as
// "servers.files.tools.write_file"; it is not part of the configuration or of any
// hash.
type Config struct {
	Version   int                         `yaml:"version" doc:"Version of this format: 1."`
	Roots     []string                    `yaml:"roots" doc:"Folders in which the guard serves clients when there are no profiles; the tenant is then 'local' and the environment 'dev'."`
	Profiles  map[string]Profile          `yaml:"profiles" doc:"Who works where. Chosen by the daemon from the client's folder, never by the client."`
	Servers   map[string]*Server          `yaml:"servers" doc:"The MCP servers behind the guard, by the name that clients use."`
	Native    *Server                     `yaml:"native" json:"-" doc:"The client's own tools (Write, Edit, Bash …), which its hooks send through the guard; like a server, with the preset claude-native."`
	Hold      Hold                        `yaml:"hold" doc:"How long a call is held open while it waits for an approval, before it is answered with the approval's id."`
	Audit     Audit                       `yaml:"audit" doc:"How the audit log is kept."`
	Approvers Approvers                   `yaml:"approvers" doc:"Who may decide."`
	TimeBoxes map[guard.Tier]TimeBoxTexts `yaml:"time_boxes" doc:"How long an approval may wait and be used, by tier."`
	Quotas    Quotas                      `yaml:"quotas" doc:"How much clients may hold open in the guard."`
	Retention Retention                   `yaml:"retention" doc:"How long decided approvals keep their content."`
	Commands  Commands                    `yaml:"commands" doc:"How commands are run in a sandbox to see what they change."`

	// Implicit is true if no profiles are written: roots, tenant local, environment
	// dev.
	Implicit bool `yaml:"-"`
	// Notes are problems that do not prevent loading.
	Notes []Diagnostic `yaml:"-" json:"-"`

	file   string
	places map[string]location
}

// Profile says who works in a set of folders.
type Profile struct {
	Path        string   `yaml:"-" json:"-"`
	Roots       []string `yaml:"roots" doc:"Absolute folders; a client belongs to the profile whose folder is nearest above its own."`
	Tenant      string   `yaml:"tenant" doc:"Who the work is for. Limits, approvals and audit records are kept apart by it."`
	Environment string   `yaml:"environment" doc:"What the work touches." enum:"dev,staging,prod"`
	Workflow    string   `yaml:"workflow" doc:"A label for the kind of work, kept in the audit log."`
}

func (Profile) displayName() string { return "a profile" }

// Server is one upstream.
type Server struct {
	Path         string               `yaml:"-" json:"-"`
	Name         string               `yaml:"-"`
	Preset       string               `yaml:"preset" doc:"Tiers, effects and rules for a known server; what is written here refines them."`
	Builtin      string               `yaml:"builtin" doc:"The server that is part of the guard, instead of a command." enum:"workspace"`
	Command      string               `yaml:"command" doc:"The program to start."`
	Args         []string             `yaml:"args" doc:"Its arguments."`
	Env          []string             `yaml:"env" doc:"Names of environment variables; the values are those recorded by 'mcpguardd add'. Nothing else is passed."`
	Cwd          string               `yaml:"cwd" doc:"Folder to start in: 'client' for the client's own (default), or an absolute folder."`
	Secrets      map[string]SecretRef `yaml:"secrets" doc:"Environment variables whose values the daemon fetches: file:PATH, env:NAME or cmd:COMMAND."`
	Workspaces   []string             `yaml:"workspaces" doc:"Folders that the server may touch: 'client' for the client's own, or absolute folders. Default: [client]."`
	Tenants      []string             `yaml:"tenants" doc:"Tenants that may use the server at all; its tools may narrow them. Default: those that its tools name."`
	Environments []string             `yaml:"environments" doc:"Environments in which the server may be used at all; its tools may narrow them. Default: those that its tools name." enum:"dev,staging,prod"`
	Workflows    []string             `yaml:"workflows" json:",omitempty" doc:"Workflows in which the server may be used at all; its tools may narrow them. Default: every workflow."`
	Prompts      Access               `yaml:"prompts" doc:"Whether prompts may be listed and read. Default: deny."`
	Resources    Access               `yaml:"resources" doc:"Whether resources may be listed, read and subscribed to. Default: deny."`
	Hosts        []string             `yaml:"resource_hosts" json:",omitempty" doc:"Hosts from which resources with a network address may be read: names, or '*.NAME' for all below one. Default: none."`
	Sampling     Access               `yaml:"sampling" doc:"Whether the server may ask the client's model. Default: deny."`
	Elicitation  Access               `yaml:"elicitation" doc:"Whether the server may ask the user. Default: allow."`
	Methods      map[string]Access    `yaml:"methods" doc:"Other protocol methods by name."`
	StartTimeout Duration             `yaml:"start_timeout" doc:"How long the server may take to start. Default: 30s."`
	Timeout      Duration             `yaml:"timeout" doc:"How long a call may take, unless its tool says otherwise. Default: 5m."`
	Limits       ServerLimits         `yaml:"limits" doc:"Limits of the whole server."`
	Tools        map[string]*Tool     `yaml:"tools" doc:"The tools that exist for clients, by literal name. A tool that is not here is neither listed nor callable."`

	// Keys that only a preset may have.
	About    string   `yaml:"about" preset:"only" doc:"What the preset is for."`
	Basis    string   `yaml:"basis" preset:"only" doc:"What it rests on: 'run' (called by the tests), 'listed' (its package lists these tools; no call was made) or 'published' (its published definitions, not run)." enum:"run,listed,published"`
	Package  string   `yaml:"package" preset:"only" doc:"Name of the npm package that the effects were proven with."`
	Versions []string `yaml:"versions" preset:"only" doc:"Versions of the package that the effects were proven with."`
	Also     []string `yaml:"also" preset:"only" doc:"Other packages that start this server: npm:NAME, pypi:NAME or oci:IMAGE."`
	Dialect  string   `yaml:"dialect" preset:"only" doc:"Whose way of applying edits the effects follow."`

	// Detected is the package that the command starts, if known.
	Detected Package `yaml:"-"`
}

func (Server) displayName() string { return "a server" }

// Proven reports whether the effects of the server's tools were checked with the
// exact package and version that its command starts. For a server without a preset
// that names a package, the owner vouches for it.
func (s *Server) Proven() bool { return s.ProvenWith(s.Detected) }

// ProvenWith is Proven for a server that was started from package p.
func (s *Server) ProvenWith(p Package) bool {
	if s.Package == "" || s.Builtin != "" {
		return true
	}
	for _, v := range s.Versions {
		if p.Name == s.Package && p.Version == v {
			return true
		}
	}
	return false
}

// Package names a package and its version.
type Package struct {
	Name, Version string
}

// ServerLimits bound a whole server. Zero means no limit.
type ServerLimits struct {
	Concurrency int  `yaml:"concurrency" doc:"Calls in flight at once, over all tools and sessions."`
	Rate        Rate `yaml:"rate" json:",omitzero" doc:"Requests per time for what is no tool (resources, prompts, completion), by method. Default: 1000/m."`
	Output      Size `yaml:"output" json:",omitempty" doc:"Size of an answer to what is no tool, such as 1MiB. A larger one is withheld as a whole."`
}

func (ServerLimits) displayName() string { return "a server's limits" }

func (ServerLimits) unknownKey(name string) (string, string) {
	return unenforcedLimit(name, []string{"concurrency", "rate", "output"})
}

// Tool is the policy of one tool.
type Tool struct {
	Path         string                `yaml:"-" json:"-"`
	Name         string                `yaml:"-"`
	Tier         guard.Tier            `yaml:"tier" doc:"How much harm a call can do. Required."`
	TiersWhen    []TierWhen            `yaml:"tiers_when" doc:"Other tiers under conditions; the first that holds wins."`
	Effect       Effect                `yaml:"effect" doc:"What a call changes: one kind with its parameters as expressions, or 'opaque'."`
	Deny         []Rule                `yaml:"deny" doc:"A call is refused if any of these holds for any of its targets."`
	Allow        []Rule                `yaml:"allow" doc:"If given, a call is refused unless one of these holds for each of its targets."`
	Tenants      []string              `yaml:"tenants" doc:"Tenants that may call it. Default: none, or [local] without profiles."`
	Environments []string              `yaml:"environments" doc:"Environments in which it may be called. Default: none, or [dev] without profiles." enum:"dev,staging,prod"`
	Workflows    []string              `yaml:"workflows" json:",omitempty" doc:"Workflows in which it may be called. Default: the server's, or every workflow."`
	Approval     Approval              `yaml:"approval" doc:"How a call is approved."`
	Limits       Limits                `yaml:"limits" doc:"Limits of the tool. A limit that is not enforced does not load."`
	SideEffects  []SideEffect          `yaml:"side_effects" doc:"What else follows from a call, shown to the reviewer."`
	Sensitive    Sensitive             `yaml:"sensitive" doc:"Whether what is read is sensitive: true, or conditions."`
	Labels       []Label               `yaml:"labels" doc:"What the tool is a source or a sink of: untrusted (its answer is text that strangers wrote), private (its answer is not for everyone), outbound (a call carries data to others). Descriptive only: nothing is enforced by them."`
	Receipts     map[string]Expression `yaml:"receipts" json:",omitempty" doc:"What of a call's answer is kept: record, message, file, commit or other, each an expression over 'answer' that yields a text or a list of texts."`
	Undo         Undo                  `yaml:"undo" json:",omitzero" doc:"For json.* effects: the call of the same server that takes a change back, for approve undo. Default: the tool itself, where its effect hands on one argument as it came."`
	Claim        Expression            `yaml:"claim" json:",omitempty" doc:"Where the agent states why it makes a call: an expression that yields a text, such as args.description. It is shown to the reviewer as the agent's claim, and nothing is decided by it."`
	Schema       Schema                `yaml:"schema" doc:"How arguments are checked against the tool's own schema."`
	Sandbox      string                `yaml:"sandbox" doc:"For T3_EXECUTE: 'none' accepts that commands run without a sandbox; each approval says so. 'client', of the client's own tools, accepts the client's sandbox, and that it may be off; each approval says so where it is. 'overlay', of the built-in server, runs commands in the guard's own sandbox first; one that wants more than it gets there is asked about by its text, and runs without." enum:"none,client,overlay"`
	Signed       Unsigned              `yaml:"signed" doc:"For T4_IDENTITY_MONEY_OUTBOUND: 'no' accepts decisions without a signature; each approval says so."`
	Says         string                `yaml:"says" doc:"For NEVER: what the agent is told instead."`

	// Unconfirmed is true if the tier still has the comment that it is only the
	// server's claim.
	Unconfirmed bool `yaml:"-" json:"-"`
}

func (Tool) displayName() string { return "a tool" }

// TierWhen gives a call another tier while a condition holds.
type TierWhen struct {
	Path string     `yaml:"-" json:"-"`
	When string     `yaml:"when" doc:"Condition (CEL)."`
	Tier guard.Tier `yaml:"tier" doc:"The tier while it holds."`
}

func (TierWhen) displayName() string { return "an entry of tiers_when" }

// Rule is a condition with a sentence for the agent.
type Rule struct {
	Path string `yaml:"-" json:"-"` // its name in decisions and in the audit log
	When string `yaml:"when" doc:"Condition (CEL)."`
	Says string `yaml:"says" doc:"What the agent is told when the rule decides."`
}

func (Rule) displayName() string { return "a rule" }

// Undo is the call that takes a change of a record back.
type Undo struct {
	When Expression            `yaml:"when" json:",omitempty" doc:"Condition over args and record. Where it does not hold there is no way back. Default: always."`
	Tool string                `yaml:"tool" doc:"A tool of the same server that writes."`
	Args map[string]Expression `yaml:"args" doc:"Its arguments, as expressions over args, those of the call, and record, the record before it (null where there was none)."`
}

func (Undo) displayName() string { return "undo" }

// Set reports whether a way back is named.
func (u Undo) Set() bool { return u.Tool != "" || u.When != "" || len(u.Args) > 0 }

// SideEffect is a sentence shown to the reviewer. Expressions in braces are
// replaced by their values.
type SideEffect struct {
	Path string `yaml:"-" json:"-"`
	When string `yaml:"when" doc:"Condition (CEL). Default: always."`
	Says string `yaml:"says" doc:"The sentence; {expression} is replaced by its value."`
}

func (SideEffect) displayName() string { return "a side effect" }

// Approval says how calls are approved.
type Approval struct {
	Path      string   `yaml:"-" json:"-"`
	Required  *bool    `yaml:"required" doc:"Whether a call waits for a human. Cannot be false from T2 up, and is not honoured in prod."`
	Mode      string   `yaml:"mode" doc:"'ask': before the call. 'post', for T1 alone: run, then show. A call with a hazard, or in prod, asks all the same." enum:"ask,post"`
	TTL       Duration `yaml:"ttl" doc:"How long an approval may wait for a decision."`
	UseWithin Duration `yaml:"use_within" doc:"How long after the decision the call may still run."`
	Approvers *int     `yaml:"approvers" doc:"How many people must approve: 1."`
}

func (Approval) displayName() string { return "approval" }

// Limits bound one tool. Zero means the default.
type Limits struct {
	CallsPerRun int      `yaml:"calls_per_run" doc:"Calls in one run of the client."`
	Rate        Rate     `yaml:"rate" doc:"Calls per time, such as 30/m. Default: 60/m for writes, 1000/m for reads."`
	Timeout     Duration `yaml:"timeout" doc:"How long a call may take."`
	Concurrency int      `yaml:"concurrency" doc:"Calls in flight at once."`
	Output      Size     `yaml:"output" doc:"Size of a result, such as 1MiB. A larger one is withheld as a whole, and the agent is told its size."`
}

func (Limits) displayName() string { return "a tool's limits" }

func (Limits) unknownKey(name string) (string, string) {
	return unenforcedLimit(name, []string{"calls_per_run", "rate", "timeout", "concurrency", "output"})
}

// Schema says how strictly arguments are checked.
type Schema struct {
	ExtraMembers string `yaml:"extra_members" doc:"Whether members that the tool's schema does not name may be sent. Default: deny." enum:"allow,deny"`
}

func (Schema) displayName() string { return "schema" }

// Hold says how long calls are held open.
type Hold struct {
	Default HoldTime            `yaml:"default" doc:"For clients that are not listed. Default: 50s."`
	Clients map[string]HoldTime `yaml:"clients" doc:"By the client's name; 'wait' holds until the decision. claude-code waits by default."`
}

func (Hold) displayName() string { return "hold" }

// For returns how long a call of a client is held, and whether it is held
// until the decision instead. The name is the client's own claim; all it can
// gain is when it is answered.
func (h Hold) For(client string) (d time.Duration, untilDecided bool) {
	t, ok := h.Clients[client]
	if !ok {
		t = h.Default
	}
	return t.Limit, t.Wait
}

// Audit says how the audit log is kept.
type Audit struct {
	Reads string `yaml:"reads" doc:"'strict': a read's answer waits for its record. 'relaxed': the record follows within 50 ms." enum:"strict,relaxed"`
}

func (Audit) displayName() string { return "audit" }

// Approvers says who may decide.
type Approvers struct {
	Unsigned string `yaml:"unsigned" doc:"Where a decision without a signature may come from: a terminal of this user (default), anywhere (closed test set-ups), or nowhere." enum:"terminal,any,never"`
}

func (Approvers) displayName() string { return "approvers" }

// TimeBoxTexts bounds the approvals of a tier.
type TimeBoxTexts struct {
	TTL       Duration `yaml:"ttl" doc:"How long an approval may wait for a decision."`
	UseWithin Duration `yaml:"use_within" doc:"How long after the decision the call may still run."`
}

func (TimeBoxTexts) displayName() string { return "a time box" }

// Quotas bound what clients may hold open, so that none of them can exhaust the
// guard.
type Quotas struct {
	Held      Size `yaml:"held" doc:"Size of all calls that have not ended, those that wait for an approval included; a call beyond it is refused. Default: 256MiB."`
	HeldCalls int  `yaml:"held_calls" doc:"Calls of one client that wait for an approval at once. Default: 256."`
	Sessions  int  `yaml:"sessions" doc:"Sessions that one client may have open at once. Default: 64."`
}

func (Quotas) displayName() string { return "quotas" }

// Retention says how long the content of decided approvals is kept.
type Retention struct {
	Payloads Duration `yaml:"payloads" doc:"Arguments and diffs of approvals that ended, such as 30d. Default: 90d. The audit log is never shortened."`
}

// DefaultPayloads is how long contents are kept where the file does not say.
const DefaultPayloads = 90 * 24 * time.Hour

// Keep returns how long the contents of approvals that ended are kept.
func (r Retention) Keep() time.Duration {
	if r.Payloads == 0 {
		return DefaultPayloads
	}
	return time.Duration(r.Payloads)
}

func (Retention) displayName() string { return "retention" }

// Box returns the time box of a tier: what the file says, else the default.
func (c *Config) Box(t guard.Tier) guard.TimeBox {
	box := guard.DefaultTimeBox(t)
	w := c.TimeBoxes[t]
	if w.TTL > 0 {
		box.TTL = time.Duration(w.TTL)
	}
	if w.UseWithin > 0 {
		box.UseWithin = time.Duration(w.UseWithin)
	}
	return box
}

// File returns the name of the file that was read.
func (c *Config) File() string { return c.file }

// Pos returns where a value stands, by its path; the nearest parent's place if
// the value itself is not written.
func (c *Config) Pos(path string) Pos {
	d := decoder{locations: c.places}
	return d.at(path)
}

// PosIn returns the place of a line and column, both from 1, inside the text
// at path.
func (c *Config) PosIn(path string, line, col int) Pos {
	p, ok := c.places[path]
	switch {
	case !ok:
		return c.Pos(path)
	case p.inner < 0:
		return Pos{p.File, p.Line + line, col}
	case line > 1:
		return p.Pos
	}
	return Pos{p.File, p.Line, p.Col + p.inner + col - 1}
}
