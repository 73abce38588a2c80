package onboard

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// TakeFrom fills command, arguments and environment from the entry r.Name of a
// file in the form of .mcp.json. Values of its environment stand in for those
// of the shell; ${VAR} and ${VAR:-default} are expanded as the client does.
func (r *Request) TakeFrom(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the client's configuration: %w", err)
	}
	var f struct {
		Servers map[string]struct {
			Type    string            `json:"type"`
			Command string            `json:"command"`
			Args    []string          `json:"args"`
			Env     map[string]string `json:"env"`
			URL     string            `json:"url"`
		} `json:"mcpServers"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	e, ok := f.Servers[r.Name]
	if !ok {
		return fmt.Errorf("%s has no server %q; it has %s", path, r.Name, strings.Join(slices.Sorted(maps.Keys(f.Servers)), ", "))
	}
	if e.URL != "" || (e.Type != "" && e.Type != "stdio") {
		return fmt.Errorf("the server %q in %s is not a command on standard input and output; only those can be guarded", r.Name, path)
	}
	shell := r.Lookup
	r.Command = expandVars(e.Command, shell)
	for _, a := range e.Args {
		r.Args = append(r.Args, expandVars(a, shell))
	}
	values := map[string]string{}
	for name, v := range e.Env {
		values[name] = expandVars(v, shell)
	}
	r.Env = append(r.Env, slices.Sorted(maps.Keys(values))...)
	r.Lookup = func(name string) (string, bool) {
		if v, ok := values[name]; ok {
			return v, true
		}
		return shell(name)
	}
	return nil
}

// expandVars replaces ${NAME} and ${NAME:-default}; a name without a value
// stays as it is written.
func expandVars(s string, lookup func(string) (string, bool)) string {
	var out strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		j := strings.IndexByte(s[i:], '}')
		if j < 0 {
			break
		}
		name, fallback, has := strings.Cut(s[i+2:i+j], ":-")
		out.WriteString(s[:i])
		if v, ok := lookup(name); ok {
			out.WriteString(v)
		} else if has {
			out.WriteString(fallback)
		} else {
			out.WriteString(s[i : i+j+1])
		}
		s = s[i+j+1:]
	}
	out.WriteString(s)
	return out.String()
}
