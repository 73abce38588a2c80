package onboard

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// TakeFrom fills in command, arguments and environment from the entry r.Name
// of a file like .mcp.json. Values of its environment override those of the
// shell; ${VAR} and ${VAR:-default} are expanded as the client does. Other
// entries of the file may be invalid.
func (r *Request) TakeFrom(path string) error {
	f, err := readClientFile(path)
	if err != nil {
		return fmt.Errorf("reading the client's configuration: %w", err)
	}
	var names []string
	var e *Entry
	for _, x := range f.Entries {
		if x.Scope == Local {
			continue // local to another project
		}
		names = append(names, x.Name)
		if x.Name == r.Name {
			e = x
		}
	}
	slices.Sort(names)
	switch {
	case e == nil:
		return fmt.Errorf("%s has no server %q; it has %s", path, r.Name, strings.Join(names, ", "))
	case e.Problem != "":
		return fmt.Errorf("the server %q in %s cannot be read: %s", r.Name, path, e.Problem)
	case e.remote():
		return fmt.Errorf("the server %q in %s %s", r.Name, path, e.wayIn(r.Name))
	}
	shell := r.Lookup
	r.Command = expandVars(e.Command, shell)
	for _, a := range e.Args {
		r.Args = append(r.Args, expandVars(a, shell))
	}
	values := map[string]string{}
	for _, v := range e.Env {
		values[v.Name] = expandVars(v.Value, shell)
		r.Env = append(r.Env, v.Name)
	}
	slices.Sort(r.Env)
	r.Lookup = func(name string) (string, bool) {
		if v, ok := values[name]; ok {
			return v, true
		}
		return shell(name)
	}
	return nil
}

// remote reports whether an entry's server is not started by a command.
func (e *Entry) remote() bool { return e.URL != "" || (e.Type != "" && e.Type != "stdio") }

// wayIn says why a remote server cannot be guarded as it is, and how it can:
// through a bridge that the guard starts. Only the host of the address is
// repeated; the rest may be a secret.
func (e *Entry) wayIn(name string) string {
	kind := cmp.Or(e.Type, "http")
	u, err := url.Parse(e.URL)
	if err != nil || u.Host == "" {
		return fmt.Sprintf("is a remote server (%s), and only commands on standard input and output can be guarded", kind)
	}
	why := fmt.Sprintf("is a remote server (%s at %s), and only commands on standard input and output can be guarded", kind, u.Host)
	if kind != "http" && kind != "sse" && kind != "streamable-http" {
		return why
	}
	way := fmt.Sprintf("mcpguardd add %s -- npx -y mcp-remote URL", name)
	if e.Headers {
		way = fmt.Sprintf("mcpguardd add %s --secret TOKEN=file:PATH -- npx -y mcp-remote URL --header 'NAME:${TOKEN}'", name)
	}
	return why + "; to guard it, take this entry out and start a bridge to its url: " + way
}

// expandVars replaces ${NAME} and ${NAME:-default} as Claude Code does: once,
// from left to right, and only with values of the client's environment. A name
// without a value stays unexpanded.
func expandVars(s string, lookup func(string) (string, bool)) string {
	return reference.ReplaceAllStringFunc(s, func(ref string) string {
		m := reference.FindStringSubmatch(ref)
		if v, ok := lookup(m[1]); ok {
			return v
		}
		if m[2] != "" {
			return strings.TrimPrefix(m[2], ":-")
		}
		return ref
	})
}
