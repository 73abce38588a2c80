package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/onboard"
)

// A hook names a tool of an MCP server by the client's name for that server.
// The call is allowed here only if that very server is guarded, because its
// session then asks; asking in both places would need two approvals for one
// action. A name alone proves nothing, since another server of the client may
// have it.

// nameKey is one client's name for a server, as it appears in tool names.
type nameKey struct {
	client ipc.ClientRef
	word   string
}

// name is what is known about a name.
type name struct {
	session guard.SessionID // the guarded session that has seen a call under it
	past    bool            // a call under it never came to a guarded session
}

// nameOf returns the name under which the client has the server of a tool. Its
// word is empty if the tool belongs to no server.
func (r *clientToolsRun) nameOf(e hook.Event) nameKey {
	k := nameKey{client: r.client.Ref()}
	switch rest, ok := strings.CutPrefix(e.Tool, "mcp__"); {
	case !ok:
	case e.Server != "":
		k.word = hook.ServerWord(e.Server)
	default:
		k.word, _, _ = strings.Cut(rest, "__")
	}
	return k
}

// guarded returns the guarded servers that a tool may belong to, as this
// client reaches them; none if the tool is not known to be guarded. Only
// sessions handed over by one of the guard's own programs count.
func (d *daemon) guarded(r *clientToolsRun, e hook.Event) (servers []string) {
	rest, ok := strings.CutPrefix(e.Tool, "mcp__")
	if !ok {
		return nil
	}
	if strings.HasSuffix(rest, "__approve") && r.prompters.Load() > 0 && d.starts(r, e, config.PermissionServer) {
		return []string{config.PermissionServer}
	}
	var live []*session
	for _, s := range d.sessions.all() {
		if s.Server != config.NativeServer && s.ours && slices.Contains(s.clients, r.client.Ref()) {
			live = append(live, s)
		}
	}
	k := r.nameOf(e)
	known := d.natives.named(k)
	if known.past {
		return nil // fail closed: the server of this name is not guarded
	}
	for _, s := range live {
		if s.ID == known.session {
			return []string{s.Server}
		}
	}
	found := d.entries(r, e)
	if found.Past {
		return nil // fail closed: an entry of the name that starts something else may be the one
	}
	for _, s := range live {
		if d.isEntry(r, e, k, rest, s, found.Servers) && !slices.Contains(servers, s.Server) {
			servers = append(servers, s.Server)
		}
	}
	return servers
}

// isEntry reports whether a session belongs to the server that a tool names.
// This is decided by the servers that the client's entries of that name start,
// or else by the name that the entry or the guard uses.
func (d *daemon) isEntry(r *clientToolsRun, e hook.Event, k nameKey, rest string, s *session, started []string) bool {
	if len(started) > 0 {
		return slices.Contains(started, s.Server)
	}
	if !calledSo(s, e, rest) {
		return false
	}
	if s.as != "" || strings.HasPrefix(k.word, "plugin_") {
		return true
	}
	// fail closed: a session that the client has under another name does not
	// count
	names := d.lookup(r).Names(s.Server)
	return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return hook.ServerWord(n) == k.word })
}

// calledSo is isEntry if no configuration of the client decides: it compares
// the name that the shim was given, or else the guard's own name.
func calledSo(s *session, e hook.Event, rest string) bool {
	var words []string
	switch plugin, ok := strings.CutPrefix(e.Server, "plugin:mcpguard:"); {
	case s.as != "":
		words = []string{hook.ServerWord(s.as)}
	case ok: // the guard's own plugin
		return plugin == s.Server
	case e.Server != "":
		words = []string{hook.ServerWord(s.Server)}
	default:
		words = []string{hook.ServerWord(s.Server), "plugin_mcpguard_" + hook.ServerWord(s.Server)}
	}
	return slices.ContainsFunc(words, func(w string) bool {
		if e.Server != "" {
			return hook.ServerWord(e.Server) == w
		}
		return strings.HasPrefix(rest, w+"__")
	})
}

// starts reports whether the client's configuration, if it has the name at
// all, starts this guarded server under it.
func (d *daemon) starts(r *clientToolsRun, e hook.Event, server string) bool {
	found := d.entries(r, e)
	return !found.Past && (len(found.Servers) == 0 || slices.Contains(found.Servers, server))
}

// entries looks into the client's configuration for the server of a tool.
func (d *daemon) entries(r *clientToolsRun, e hook.Event) onboard.Named {
	server := e.Server
	if server == "" {
		server = r.nameOf(e).word
	}
	return d.lookup(r).Entries(e.Source, server)
}

// lookup describes where the client's configuration is, and which of its
// entries start this guard.
func (d *daemon) lookup(r *clientToolsRun) onboard.Lookup {
	environ := ipc.Environ(r.client.PID)
	env := func(name string) (string, bool) {
		if v, ok := environ[name]; ok {
			return v, true
		}
		return os.LookupEnv(name)
	}
	return onboard.Lookup{
		Folder: r.Origin.Folder, Extra: hook.Given(r.client.Cmdline, "--mcp-config"), Env: env,
		Ours: func(e *onboard.Entry) bool { return d.startsGuard(e, r.Origin.Folder, env) },
	}
}

// startsGuard reports whether an entry of a client's configuration starts one
// of the guard's own programs, unmodified and for this guard.
func (d *daemon) startsGuard(e *onboard.Entry, folder string, env func(string) (string, bool)) bool {
	own := map[string]string{}
	for _, v := range e.Env {
		own[v.Name] = v.Value
		if strings.HasPrefix(v.Name, "LD_") || strings.HasPrefix(v.Name, "DYLD_") || strings.Contains(v.Value, "${") {
			return false // fail closed: another program may run instead
		}
	}
	get := func(name string) string {
		if v, ok := own[name]; ok {
			return v
		}
		v, _ := env(name)
		return v
	}
	paths, err := ipc.PathsOf(get)
	if err != nil || !sameFolder(paths.State, d.cfg.Paths.State) {
		return false // it uses another guard
	}
	return d.programs.Is(commandFile(e.Command, folder, get("PATH")))
}

func sameFolder(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// commandFile returns the file that a client in a folder starts for a command;
// "" if unknown.
func commandFile(command, folder, path string) string {
	switch {
	case command == "" || strings.Contains(command, "$"): // the client expands variables
		return ""
	case filepath.IsAbs(command):
		return command
	case strings.Contains(command, "/"):
		return filepath.Join(folder, command)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(folder, dir)
		}
		file := filepath.Join(dir, command)
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

// unknownServer explains, after a refusal, why a tool of an MCP server was
// asked about here.
func unknownServer(e hook.Event) string {
	rest, ok := strings.CutPrefix(e.Tool, "mcp__")
	if !ok {
		return ""
	}
	server := e.Server
	if server == "" {
		server, _, _ = strings.Cut(rest, "__")
	}
	return " The client's server " + server + " is not known to pass the guard: guard it with `mcpguardd import`, or, if its entry starts `mcpguard stdio`, add `--as " + server + "` there; then start the client again."
}

func (n *clientTools) named(k nameKey) name {
	n.mu.Lock()
	defer n.mu.Unlock()
	if got := n.names[k]; got != nil && k.word != "" {
		return *got
	}
	return name{}
}

// context returns proxy.Config.Context for a session. A call gets the context
// of the tool use that it is; a call that only repeats the id of another tool
// use gets none.
func (n *clientTools) context(s *session) func(guard.ToolCall) guard.Context {
	return func(c guard.ToolCall) guard.Context {
		n.mu.Lock()
		defer n.mu.Unlock()
		u := n.uses[useKey{s.RunID, c.CorrelationID}]
		if u == nil || !u.is(c) || !s.ours && s.Server != config.NativeServer {
			return guard.Context{}
		}
		u.seen = true
		if len(u.servers) > 0 && u.name.word != "" {
			n.names[u.name] = &name{session: s.ID}
		}
		return u.context
	}
}

// wentPast reports whether a tool use was allowed for a guarded server that
// never received it. If the tool has run, it records this for the name of the
// server.
func (n *clientTools) wentPast(k useKey, ran bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	u := n.uses[k]
	if u == nil || len(u.servers) == 0 || u.seen {
		return false
	}
	if ran && u.name.word != "" {
		n.names[u.name] = &name{past: true}
	}
	return true
}
