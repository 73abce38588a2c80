package daemon

import (
	"os"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/onboard"
)

// A hook names a tool of an MCP server by the client's name for that server. Its
// call is let through only where that very server passes the guard, whose session
// then asks: asked in both places, one action would need two approvals. A name
// alone proves nothing, since another server of the client may bear it.

// nameKey is one client's name for a server, as it is spelt in names of tools.
type nameKey struct {
	client ipc.ClientRef
	word   string
}

// name is what was learnt of one.
type name struct {
	session guard.SessionID // the guarded session that has seen a call under it
	past    bool            // a call under it never came to a guarded session
}

// nameOf is the name under which the client has the server of a tool; its word
// is empty where the tool belongs to none.
func (r *nativeRun) nameOf(e hook.Event) nameKey {
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

// guarded reports whether a tool belongs to an MCP server that this client
// reaches through the guard.
func (d *daemon) guarded(r *nativeRun, e hook.Event) bool {
	rest, ok := strings.CutPrefix(e.Tool, "mcp__")
	if !ok {
		return false
	}
	if strings.HasSuffix(rest, "__approve") && r.prompters.Load() > 0 && d.starts(r, e, config.PermissionServer) {
		return true
	}
	var live []*session
	for _, s := range d.sessions.all() {
		if s.Server != config.NativeServer && slices.Contains(s.clients, r.client.Ref()) {
			live = append(live, s)
		}
	}
	k := r.nameOf(e)
	known := d.natives.named(k)
	if known.past {
		return false // fail closed: what has this name does not pass the guard
	}
	if slices.ContainsFunc(live, func(s *session) bool { return s.ID == known.session }) {
		return true
	}
	found := d.entries(r, e)
	if len(found.Servers) > 0 || found.Past {
		// fail closed: an entry of the name that starts something else may be the one
		return !found.Past && slices.ContainsFunc(live, func(s *session) bool { return slices.Contains(found.Servers, s.Server) })
	}
	return slices.ContainsFunc(live, func(s *session) bool {
		if !calledSo(s, e, rest) {
			return false
		}
		if s.as != "" || strings.HasPrefix(k.word, "plugin_") {
			return true
		}
		// fail closed: a session that the client has by another name is not the one
		names := r.lookup().Names(s.Server)
		return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return hook.ServerWord(n) == k.word })
	})
}

// calledSo reports whether a session is of the server that a tool names, where
// no configuration of the client says so: by what the shim was told, else by
// the guard's own name.
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

// starts reports whether the client's configuration, where it has the name at
// all, starts this server of the guard under it.
func (d *daemon) starts(r *nativeRun, e hook.Event, server string) bool {
	found := d.entries(r, e)
	return !found.Past && (len(found.Servers) == 0 || slices.Contains(found.Servers, server))
}

// entries looks into the client's configuration for the server of a tool.
func (d *daemon) entries(r *nativeRun, e hook.Event) onboard.Named {
	server := e.Server
	if server == "" {
		server = r.nameOf(e).word
	}
	return r.lookup().Entries(e.Source, server)
}

// lookup is where the client's configuration is.
func (r *nativeRun) lookup() onboard.Lookup {
	environ := ipc.Environ(r.client.PID)
	return onboard.Lookup{
		Folder: r.Origin.Folder, Extra: hook.Given(r.client.Cmdline, "--mcp-config"),
		Env: func(name string) (string, bool) {
			if v, ok := environ[name]; ok {
				return v, true
			}
			return os.LookupEnv(name)
		},
	}
}

// unknownServer says, after a refusal, why a tool of an MCP server was asked
// about here at all.
func unknownServer(e hook.Event) string {
	rest, ok := strings.CutPrefix(e.Tool, "mcp__")
	if !ok {
		return ""
	}
	server := e.Server
	if server == "" {
		server, _, _ = strings.Cut(rest, "__")
	}
	return " The client's server " + server + " is not known to pass the guard: guard it with `mcpguardd import`, or, if its entry starts `mcpguardd stdio`, add `--as " + server + "` there; then start the client again."
}

func (n *natives) named(k nameKey) name {
	n.mu.Lock()
	defer n.mu.Unlock()
	if got := n.names[k]; got != nil && k.word != "" {
		return *got
	}
	return name{}
}

// context returns proxy.Config.Context for a session. What the session is asked
// for, the client knows it by.
func (n *natives) context(s guard.Session) func(id string) guard.Context {
	return func(id string) guard.Context {
		n.mu.Lock()
		defer n.mu.Unlock()
		u := n.uses[useKey{s.RunID, id}]
		if u == nil {
			return guard.Context{}
		}
		u.seen = true
		if u.foreign && u.name.word != "" {
			n.names[u.name] = &name{session: s.ID}
		}
		return u.context
	}
}

// wentPast reports whether a tool use was let through for a guarded server that
// never got it, and remembers that of the server's name where the tool has run.
func (n *natives) wentPast(k useKey, ran bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	u := n.uses[k]
	if u == nil || !u.foreign || u.seen {
		return false
	}
	if ran && u.name.word != "" {
		n.names[u.name] = &name{past: true}
	}
	return true
}
