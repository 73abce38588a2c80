package daemon

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// clientTools holds the sessions of clients' own tools, one per run, and what
// the clients' hooks have reported. It is safe for concurrent use.
type clientTools struct {
	opening sync.Mutex // held while a session is opened

	mu      sync.Mutex
	runs    map[guard.RunID][]*clientToolsRun // the newest last
	clients map[ipc.ClientRef]*clientToolsRun // the newest
	uses    map[useKey]*use
	order   []useKey                   // keys of uses, the oldest first
	quiet   map[guard.UpstreamRef]bool // clients in which nothing begun under an earlier daemon runs any more
	names   map[nameKey]*name          // what clients call servers
}

// clientToolsRun is one such session.
type clientToolsRun struct {
	*session
	client ipc.Proc
	tools  *clienttools.Session
	hooked atomic.Bool // the client has hooks, so it will report
	// prompters counts its connections for permission prompts.
	prompters atomic.Int32

	mu      sync.Mutex
	prompts map[string]digest.Digest
	recent  []string
	bash    map[string]bashUse // by tool use
}

// useKey identifies a tool use. Its id is chosen by the client.
type useKey struct {
	run guard.RunID
	id  string
}

// use is what the hook before a tool use said of it. The id alone proves
// nothing: any process that the client starts can send it again.
type use struct {
	context guard.Context
	tool    string        // as the hook names it
	input   digest.Digest // of its canonical form; zero where it has none
	name    nameKey       // of the server, for a tool of one
	servers []string      // of the guard, one of which would ask: it was let through for them
	seen    bool          // a session of one of them has seen that very call
}

func newUse(c guard.Context, e hook.Event, name nameKey, servers []string) use {
	u := use{context: c, tool: e.Tool, name: name, servers: servers}
	if canonical, err := jsonvalue.Canonical(e.Input); err == nil {
		u.input = digest.Sum(canonical)
	}
	return u
}

// is reports whether a call received by the session of a server is this tool
// use.
func (u *use) is(c guard.ToolCall) bool {
	if c.Session.Server == config.NativeServer {
		return len(u.servers) == 0 && u.tool == c.Tool
	}
	word := hook.ServerWord(c.Tool)
	return slices.Contains(u.servers, c.Session.Server) && !u.input.IsZero() && u.input == digest.Sum(c.ArgsCanonical) &&
		strings.HasPrefix(u.tool, "mcp__"+u.name.word+"__") && strings.HasSuffix(u.tool, "__"+word)
}

func newClientTools() *clientTools {
	return &clientTools{
		runs: map[guard.RunID][]*clientToolsRun{}, clients: map[ipc.ClientRef]*clientToolsRun{},
		uses: map[useKey]*use{}, quiet: map[guard.UpstreamRef]bool{}, names: map[nameKey]*name{},
	}
}

// remember stores what a hook said about a tool use.
func (n *clientTools) remember(k useKey, u use) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.uses[k]; !known {
		n.order = append(n.order, k)
	}
	n.uses[k] = &u
	for len(n.order) > maxUses {
		delete(n.uses, n.order[0])
		n.order = n.order[1:]
	}
}

// isQuiet reports whether a client has told this daemon that nothing begun
// under an earlier daemon runs any more.
func (n *clientTools) isQuiet(u guard.UpstreamRef) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.quiet[u]
}

func (n *clientTools) has(k useKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.uses[k] != nil
}

// calm records that nothing begun by a client under an earlier daemon runs any
// more.
func (n *clientTools) calm(ref guard.UpstreamRef) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.quiet[ref] = true
}

// prompt stores the hash of what the user said.
func (r *clientToolsRun) prompt(id string, sum digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.prompts == nil {
		r.prompts = map[string]digest.Digest{}
	}
	r.prompts[id] = sum
	r.recent = append(r.recent, id)
	if len(r.recent) > maxPromptIDs {
		delete(r.prompts, r.recent[0])
		r.recent = r.recent[1:]
	}
}

// contextOf returns the context of a question.
func (r *clientToolsRun) contextOf(e hook.Event) guard.Context {
	c := guard.Context{ClientSession: e.SessionID}
	c.Worktree, c.Branch = checkout(e.Cwd)
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Prompt = r.prompts[e.PromptID]
	return c
}

func (n *clientTools) forget(r *clientToolsRun, client ipc.ClientRef) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.runs[r.RunID] = slices.DeleteFunc(n.runs[r.RunID], func(x *clientToolsRun) bool { return x == r })
	if len(n.runs[r.RunID]) == 0 {
		delete(n.runs, r.RunID)
	}
	if n.clients[client] == r {
		delete(n.clients, client)
		maps.DeleteFunc(n.names, func(k nameKey, _ *name) bool { return k.client == client })
	}
}
