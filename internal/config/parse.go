package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/configs"
)

// bom is the byte order mark that some editors write. It is not part of the
// configuration, but edits keep it.
var bom = []byte("\ufeff")

// Parse reads a configuration from data; file is its name in messages. The only I/O
// is resolving the folders that the file names. The error is an *Error with every
// problem found.
func Parse(file string, data []byte) (*Config, error) {
	d := newDecoder()
	data = bytes.TrimPrefix(data, bom)
	root := parseYAML(file, data, d.report)
	if root == nil {
		return nil, NewError(d.diagnostics)
	}
	findSecrets(root, d.report)
	liftNative(root, d)
	applyPresets(root, d)
	c := &Config{file: file}
	decodeInto(d, root, c, "")
	c.Native = c.Servers[NativeServer]
	c.places = d.locations
	unconfirmed(c, data)
	c.fill()
	c.check(d)
	if err := NewError(d.diagnostics); err != nil {
		return nil, err
	}
	return c, nil
}

func (Config) displayName() string { return "the configuration" }

// applyPresets merges the preset of each server under the server's own settings.
func applyPresets(root *node, d *decoder) {
	servers := root.get("servers")
	if servers == nil || servers.kind != kindMap {
		return
	}
	_, presetOnly := presetKeys()
	for i, s := range servers.items {
		if s.kind != kindMap {
			continue
		}
		for _, k := range s.keys {
			if slices.Contains(presetOnly, k.name) {
				d.report(k.pos, fmt.Sprintf("%q can only be said by a preset", k.name), "")
			}
		}
		if p := presetFor(s, d); p != nil {
			servers.items[i] = merge(p, s, nil)
		}
	}
}

// presetFor returns the tree of a server's preset. The built-in server has its own
// unless the file names another.
func presetFor(s *node, d *decoder) *node {
	name := s.get("preset")
	if name == nil {
		if b := s.get("builtin"); b != nil && b.kind == kindString && b.text == "workspace" {
			name = &node{kind: kindString, text: "workspace", pos: b.pos}
		} else {
			return nil
		}
	}
	if name.kind != kindString {
		return nil // reported when the server is decoded
	}
	data, ok := configs.Preset(name.text)
	if !ok {
		d.report(name.pos, fmt.Sprintf("there is no preset %q", clip(name.text)), didYouMean(name.text, configs.Presets()))
		return nil
	}
	return parseYAML("presets/"+name.text+".yaml", data, d.report)
}

// presetKeys returns the keys of a server, and those that only a preset may have.
func presetKeys() (all, only []string) { return serverKeys() }

var serverKeys = sync.OnceValues(func() (all, only []string) {
	t := typeOf[Server]()
	all, index := fields(t)
	for _, name := range all {
		if t.Field(index[name]).Tag.Get("preset") == "only" {
			only = append(only, name)
		}
	}
	return all, only
})

// merge returns base with over merged on top. Mappings are merged by member and
// other values replaced, except that protective lists grow: a preset's deny rules,
// sensitive conditions, side effects and labels stay in force, and its tier
// conditions are tried after the file's own.
func merge(base, over *node, path []string) *node {
	last := ""
	if len(path) > 0 {
		last = path[len(path)-1]
	}
	switch {
	case len(path) == 3 && path[0] == "tools" && base.kind == kindList && over.kind == kindList:
		list := *over
		switch last {
		case "deny", "sensitive", "side_effects", "labels":
			list.items = slices.Concat(base.items, over.items)
			return &list
		case "tiers_when":
			list.items = slices.Concat(over.items, base.items)
			return &list
		}
		return over
	case base.kind != kindMap || over.kind != kindMap, last == "effect":
		return over
	}
	out := *over
	out.keys, out.items = slices.Clone(over.keys), slices.Clone(over.items)
	for i, k := range base.keys {
		at := slices.IndexFunc(over.keys, func(x key) bool { return x.name == k.name })
		if at < 0 {
			out.keys, out.items = append(out.keys, k), append(out.items, base.items[i])
			continue
		}
		out.items[at] = merge(base.items[i], over.items[at], append(slices.Clone(path), k.name))
	}
	return &out
}

// Defaults for settings that the file omits.
const (
	defaultHeld         = 256 << 20 // bytes
	defaultHeldCalls    = 256
	defaultSessions     = 64
	defaultHold         = 50 * time.Second // below the 60 s of the common client library
	defaultStartTimeout = 30 * time.Second
	defaultTimeout      = 5 * time.Minute
	implicitTenant      = "local"
	implicitEnvironment = "dev"
)

// fill sets the defaults.
func (c *Config) fill() {
	c.Implicit = len(c.Profiles) == 0
	if c.Implicit {
		c.Profiles = map[string]Profile{}
		if len(c.Roots) > 0 {
			c.Profiles["default"] = Profile{Path: "roots", Roots: c.Roots, Tenant: implicitTenant, Environment: implicitEnvironment}
		}
	}
	for name, p := range c.Profiles {
		p.Roots = expandAll(p.Roots)
		c.Profiles[name] = p
	}
	if !c.Hold.Default.Wait && c.Hold.Default.Limit == 0 {
		c.Hold.Default.Limit = defaultHold
	}
	if c.Hold.Clients == nil {
		c.Hold.Clients = map[string]HoldTime{}
	}
	if _, ok := c.Hold.Clients["claude-code"]; !ok {
		c.Hold.Clients["claude-code"] = HoldTime{Wait: true}
	}
	setDefault(&c.Quotas.Held, defaultHeld)
	setDefault(&c.Quotas.HeldCalls, defaultHeldCalls)
	setDefault(&c.Quotas.Sessions, defaultSessions)
	setDefault(&c.Audit.Reads, "strict")
	setDefault(&c.Approvers.Unsigned, "terminal")
	for name, s := range c.Servers {
		if s != nil {
			s.fill(name, c.Implicit)
		}
	}
}

func (s *Server) fill(name string, implicit bool) {
	s.Name = name
	setDefault(&s.Cwd, "client")
	s.Cwd = expand(s.Cwd)
	if len(s.Workspaces) == 0 {
		s.Workspaces = []string{"client"}
	}
	s.Workspaces = expandAll(s.Workspaces)
	setDefault(&s.Prompts, AccessDeny)
	setDefault(&s.Resources, AccessDeny)
	setDefault(&s.Sampling, AccessDeny)
	setDefault(&s.Elicitation, AccessAllow)
	setDefault(&s.StartTimeout, Duration(defaultStartTimeout))
	setDefault(&s.Timeout, Duration(defaultTimeout))
	if s.Builtin != "" && s.Preset == "" {
		s.Preset = s.Builtin
	}
	if implicit && s.Tenants == nil {
		s.Tenants = []string{implicitTenant}
	}
	if implicit && s.Environments == nil {
		s.Environments = []string{implicitEnvironment}
	}
	for name, t := range s.Tools {
		if t == nil {
			continue
		}
		t.Name = name
		slices.Sort(t.Labels) // order does not matter, and a preset may repeat a label
		t.Labels = slices.Compact(t.Labels)
		if t.Tenants == nil {
			t.Tenants = s.Tenants
		}
		if t.Environments == nil {
			t.Environments = s.Environments
		}
		if t.Workflows == nil {
			t.Workflows = s.Workflows
		}
		setDefault(&t.Schema.ExtraMembers, "deny")
		setDefault(&t.Limits.Timeout, s.Timeout)
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// expand replaces a leading ~ with the home folder and cleans absolute paths.
func expand(p string) string {
	if p == "~" || strings.HasPrefix(p, "~/") {
		if home, err := os.UserHomeDir(); err == nil {
			p = filepath.Join(home, p[1:])
		}
	}
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return p
}

func expandAll(list []string) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = expand(p)
	}
	return out
}

// claim is the comment that marks a tier as copied from a server's annotation.
const claim = "server's claim, unconfirmed"

// unconfirmed marks the tools whose tier still has that comment.
func unconfirmed(c *Config, data []byte) {
	if !bytes.Contains(data, []byte(claim)) {
		return
	}
	lines := strings.Split(string(data), "\n")
	for _, s := range c.Servers {
		if s == nil {
			continue
		}
		for _, t := range s.Tools {
			if t == nil {
				continue
			}
			p, ok := c.places[t.Path+".tier"]
			if ok && p.File == c.file && p.Line <= len(lines) && strings.Contains(lines[p.Line-1], claim) {
				t.Unconfirmed = true
			}
		}
	}
}

// Unconfirmed lists the tools whose tier is only their server's claim, as
// "server/tool", sorted.
func (c *Config) Unconfirmed() []string {
	var list []string
	for _, s := range c.Servers {
		for _, t := range s.Tools {
			if t.Unconfirmed {
				list = append(list, s.Name+"/"+t.Name)
			}
		}
	}
	slices.Sort(list)
	return list
}
