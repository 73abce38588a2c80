package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
)

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	envName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`)
)

var environments = []string{"dev", "staging", "prod"}

// Limits of a time box: short-lived, but long enough to be read.
const (
	minTTL, maxTTL             = 5 * time.Second, 24 * time.Hour
	minUseWithin, maxUseWithin = time.Second, time.Hour
)

// check reports everything that is well-formed but must not load.
func (c *Config) check(d *decoder) {
	if _, ok := d.locations["version"]; !ok {
		d.errorf("", `write "version: 1"`, "the version of the configuration is missing")
	} else if c.Version != 1 {
		d.errorf("version", `write "version: 1"`, "this program reads version 1 of the configuration, not %d", c.Version)
	}
	c.checkProfiles(d)
	oneOf(d, "audit.reads", "a way to record reads", c.Audit.Reads, "strict", "relaxed")
	oneOf(d, "approvers.unsigned", "a place for unsigned decisions", c.Approvers.Unsigned, "terminal", "any", "never")
	c.checkCommands(d)
	for t, w := range c.TimeBoxes {
		path := "time_boxes." + t.String()
		if t == guard.Never {
			d.errorf(path, "", "nothing is approved at tier NEVER, so it has no time box")
		}
		checkBox(d, path, w.TTL, w.UseWithin)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Servers)) {
		c.checkServer(d, c.Servers[name], name)
	}
}

func oneOf(d *decoder, path, what, word string, known ...string) {
	if word != "" && !slices.Contains(known, word) {
		d.errorf(path, didYouMean(word, known), "%q is not %s", clip(word), what)
	}
}

func checkBox(d *decoder, path string, ttl, use Duration) {
	if v := time.Duration(ttl); ttl != 0 && (v < minTTL || v > maxTTL) {
		d.errorf(path+".ttl", "", "an approval may wait from %s to %s", minTTL, maxTTL)
	}
	if v := time.Duration(use); use != 0 && (v < minUseWithin || v > maxUseWithin) {
		d.errorf(path+".use_within", "", "an approved call may be used within %s to %s", minUseWithin, maxUseWithin)
	}
}

func (c *Config) checkProfiles(d *decoder) {
	if len(c.Roots) > 0 && !c.Implicit {
		d.errorf("roots", "move the folders into a profile", "'roots' stands for a single profile and cannot be used beside 'profiles'")
	}
	if c.Implicit && len(c.Roots) == 0 && len(c.Servers) > 0 {
		d.errorf("servers", `write "roots: [/folder/of/your/project]", or profiles`, "no folder is served: neither 'roots' nor 'profiles' is written")
	}
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Profiles)) {
		p := c.Profiles[name]
		path := p.Path
		if !c.Implicit {
			checkName(d, path, "profile", name)
			if p.Tenant == "" {
				d.errorf(path, "", "profile %q has no tenant", name)
			} else if !plainName.MatchString(p.Tenant) {
				d.errorf(path+".tenant", "use letters, digits, dots, dashes and underscores", "%q cannot be the name of a tenant", clip(p.Tenant))
			}
			if p.Environment == "" {
				d.errorf(path, "write dev, staging or prod", "profile %q has no environment", name)
			}
			oneOf(d, path+".environment", "an environment", p.Environment, environments...)
			if len(p.Roots) == 0 {
				d.errorf(path, "", "profile %q has no roots", name)
			}
			path += ".roots"
		}
		for i, r := range p.Roots {
			at := fmt.Sprintf("%s[%d]", path, i)
			if !filepath.IsAbs(r) {
				d.errorf(at, "write the absolute folder, or one that begins with ~/", "%q is not an absolute folder", clip(r))
			} else if other, ok := owner[r]; ok && other != name {
				d.errorf(at, "", "the folder belongs to profile %q already", other)
			}
			owner[r] = name
		}
	}
}

func checkName(d *decoder, path, what, name string) {
	if !plainName.MatchString(name) {
		d.errorf(path, "use letters, digits, dots, dashes and underscores, at most 64", "%q cannot be the name of a %s", clip(name), what)
	}
}

func (c *Config) checkServer(d *decoder, s *Server, name string) {
	if s == nil {
		d.errorf("servers."+name, "", "server %q says nothing", name)
		return
	}
	path := join("servers", name)
	s.Path = path
	checkName(d, path, "server", name)
	switch {
	case name == PermissionServer, name == NativeServer && s.Builtin != NativeServer:
		d.errorf(path, "choose another name", "%q is a name that the guard uses itself", name)
	case s.Builtin == NativeServer && name == NativeServer:
		checkNative(d, s, path)
	default:
		oneOf(d, path+".builtin", "a built-in server", s.Builtin, "workspace")
	}
	switch {
	case s.Builtin != "" && (s.Command != "" || len(s.Args) > 0):
		d.errorf(path+".command", "remove one of them", "a built-in server has no command")
	case s.Builtin == "" && s.Command == "":
		d.errorf(path, `write "command: …", or "builtin: workspace"`, "server %q has no command", name)
	}
	for i, e := range s.Env {
		at := fmt.Sprintf("%s.env[%d]", path, i)
		if !envName.MatchString(e) {
			d.errorf(at, "write the name alone; the value is taken from the environment recorded by 'mcpguardd add'", "'env' lists names of environment variables, nothing else")
		} else if _, ok := s.Secrets[e]; ok {
			d.errorf(at, "remove one of them", "%s is named by 'env' and by 'secrets'", e)
		}
	}
	for _, e := range slices.Sorted(maps.Keys(s.Secrets)) {
		if !envName.MatchString(e) {
			d.errorf(path+".secrets."+e, "", "%q cannot be the name of an environment variable", clip(e))
		}
	}
	if s.Cwd != "client" && !filepath.IsAbs(s.Cwd) {
		d.errorf(path+".cwd", "", "'cwd' is 'client' or an absolute folder")
	}
	for i, w := range s.Workspaces {
		if w != "client" && !filepath.IsAbs(w) {
			d.errorf(fmt.Sprintf("%s.workspaces[%d]", path, i), "", "a workspace is 'client' or an absolute folder")
		}
	}
	if s.Limits.Concurrency < 0 {
		d.errorf(path+".limits.concurrency", "", "a limit is at least 1")
	}
	if s.Limits.Output < 0 {
		d.errorf(path+".limits.output", "", "a limit is at least 1 byte")
	}
	for _, m := range slices.Sorted(maps.Keys(s.Methods)) {
		if strings.HasPrefix(m, "tools/") || m == "initialize" || m == "roots/list" || m == "" {
			d.errorf(path+".methods."+m, "", "the guard handles %q itself; it cannot be named here", clip(m))
		}
	}
	c.checkWho(d, path, s.Tenants, s.Environments, s.Workflows)
	checkHosts(d, path+".resource_hosts", s.Hosts)
	for _, t := range slices.Sorted(maps.Keys(s.Tools)) {
		c.checkTool(d, s, s.Tools[t], t)
	}
	c.noteUncallable(s, path)
	if len(s.Tools) == 0 {
		c.note(path, fmt.Sprintf("server %q has no tools, so none can be called", name), "")
	}
}

// noteUncallable names the tools of a server that have no tenant or environment. It
// is one note at the server, since a preset brings many tools.
func (c *Config) noteUncallable(s *Server, path string) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.Tools)) {
		t := s.Tools[name]
		if t != nil && t.Tier.Valid() && t.Tier != guard.Never && (len(t.Tenants) == 0 || len(t.Environments) == 0) {
			names = append(names, name)
		}
	}
	switch n := len(names); {
	case n == 1:
		c.note(s.Tools[names[0]].Path, fmt.Sprintf("tool %q names no tenants or no environments, so nobody can call it", names[0]), "add them to the tool or to its server")
	case n > 1:
		c.note(path, fmt.Sprintf("%d tools of server %q name no tenants or no environments, so nobody can call them: %s", n, s.Name, strings.Join(names, ", ")),
			"add 'tenants' and 'environments' to the server, or to the tools that are meant")
	}
}

func (c *Config) note(path, message, suggestion string) {
	c.Notes = append(c.Notes, Diagnostic{Pos: c.Pos(path), Message: message, Suggestion: suggestion})
}

// noteWider reports what a tool allows but its server does not: the server decides
// first.
func (c *Config) noteWider(s *Server, t *Tool) {
	wider := func(key string, server, tool []string) {
		for _, x := range tool {
			if server != nil && !slices.Contains(server, x) {
				c.note(t.Path, fmt.Sprintf("%q is among the %s of tool %q but not of its server, which decides first", x, key, t.Name),
					"add it to the server's "+key+", or take it from the tool")
			}
		}
	}
	wider("tenants", s.Tenants, t.Tenants)
	wider("environments", s.Environments, t.Environments)
	wider("workflows", s.Workflows, t.Workflows)
}

// hostName is a host of resource_hosts: a name or an address, or *. before a name.
var hostName = regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9._-]*[a-z0-9])?$|^\[?[0-9a-f:]+\]?$`)

func checkHosts(d *decoder, path string, hosts []string) {
	for i, h := range hosts {
		if !hostName.MatchString(h) {
			d.errorf(fmt.Sprintf("%s[%d]", path, i), "write the name in lower case without scheme or port, or '*.NAME'", "%q is no host", clip(h))
		}
	}
}

// checkWho checks tenants, environments and workflows.
func (c *Config) checkWho(d *decoder, path string, tenants, envs, workflows []string) {
	known, labels := map[string]bool{}, map[string]bool{}
	for _, p := range c.Profiles {
		known[p.Tenant], labels[p.Workflow] = true, true
	}
	delete(labels, "")
	for i, t := range tenants {
		if !known[t] && len(known) > 0 {
			d.errorf(fmt.Sprintf("%s.tenants[%d]", path, i), didYouMean(t, slices.Sorted(maps.Keys(known))), "no profile has the tenant %q", clip(t))
		}
	}
	for i, w := range workflows {
		if !labels[w] {
			d.errorf(fmt.Sprintf("%s.workflows[%d]", path, i), didYouMean(w, slices.Sorted(maps.Keys(labels))), "no profile has the workflow %q", clip(w))
		}
	}
	for i, e := range envs {
		oneOf(d, fmt.Sprintf("%s.environments[%d]", path, i), "an environment", e, environments...)
	}
}

func (c *Config) checkTool(d *decoder, s *Server, t *Tool, name string) {
	if t == nil {
		d.errorf("servers."+s.Name+".tools."+name, "write "+`"tier: …"`, "tool %q says nothing", name)
		return
	}
	path := join(s.Path+".tools", name)
	t.Path = path
	if err := CheckToolName(name); err != nil {
		d.errorf(path, "", "%q cannot be the name of a tool: %v", clip(name), err)
	}
	if _, ok := d.locations[path+".tier"]; !ok {
		d.errorf(path, "add one: "+strings.Join(tierWords, ", "), "tool %q has no tier, and a tool without a tier does not load", name)
		return
	}
	if !t.Tier.Valid() {
		return // reported already
	}
	if t.Tier != guard.Never && t.Says != "" {
		d.errorf(path+".says", "", "'says' belongs to tier NEVER")
	}
	c.checkWho(d, path, t.Tenants, t.Environments, t.Workflows)
	c.noteWider(s, t)
	checkEffect(d, t, path)
	c.checkRecord(d, s, t)
	checkReceipts(d, t, path)
	checkUndo(d, s, t, path+".undo")
	checkApproval(d, t, path)
	checkRules(d, t, path)
	oneOf(d, path+".schema.extra_members", "an answer here", t.Schema.ExtraMembers, "allow", "deny")
	switch {
	case t.Sandbox == "client" && s.Name != NativeServer && s.Dialect != "claude-code":
		d.errorf(path+".sandbox", `write "sandbox: none" to accept that commands run without one`, "only the client's own tools run in the client's sandbox")
	case t.Sandbox == "overlay" && s.Builtin == "" && s.Dialect != "workspace":
		d.errorf(path+".sandbox", `write "sandbox: none" to accept that commands run without one`, "only commands of the built-in server run in the guard's own sandbox")
	case t.Sandbox != "" && t.Sandbox != "none" && t.Sandbox != "client" && t.Sandbox != "overlay":
		d.errorf(path+".sandbox", `write "sandbox: none" to accept that commands run without one`, "%q is no sandbox that this version knows", clip(t.Sandbox))
	}
	for limit, v := range map[string]int{"calls_per_run": t.Limits.CallsPerRun, "concurrency": t.Limits.Concurrency} {
		if _, written := d.locations[path+".limits."+limit]; written && v < 1 {
			d.errorf(path+".limits."+limit, "", "a limit is at least 1; to forbid a tool use tier NEVER")
		}
	}
	if time.Duration(t.Limits.Timeout) > 24*time.Hour {
		d.errorf(path+".limits.timeout", "", "a call may take at most 24h")
	}
}

// maxToolName is the maximum length of a tool name, in bytes.
const maxToolName = 128

// CheckToolName says why a text cannot be a tool name, or returns nil.
func CheckToolName(s string) error {
	switch {
	case s == "":
		return errors.New("it is empty")
	case len(s) > maxToolName:
		return fmt.Errorf("it has %d bytes; at most %d are taken", len(s), maxToolName)
	case !utf8.ValidString(s):
		return errors.New("it is not valid UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		return errors.New("it has a blank or a control character")
	case strings.Contains(s, "*"):
		// fail closed: the rules of clients read it as "every tool"
		return errors.New("it has a '*', which clients read as every tool")
	}
	return nil
}

// highest returns the highest tier below NEVER that a call may get.
func (t *Tool) highest() guard.Tier {
	h := t.Tier
	for _, w := range t.TiersWhen {
		if w.Tier != guard.Never && w.Tier > h {
			h = w.Tier
		}
	}
	return h
}

func checkEffect(d *decoder, t *Tool, path string) {
	at, kind := path+".effect", t.Effect.Kind
	if _, written := d.locations[at]; written && kind == "" {
		return // reported already
	}
	about, _ := effect.Lookup(kind)
	writes := kind != "" && !about.ReadOnly
	switch {
	case t.Tier == guard.Never:
	case t.Tier == guard.T0Read && writes:
		d.errorf(at, "use file.read for the paths that it reads, or a higher tier", "a tool at T0_READ changes nothing, so its effect cannot be %s", kind)
	case t.Tier != guard.T0Read && about.ReadOnly:
		d.errorf(at, `write what a call changes, or "opaque"`, "%s is for tools at T0_READ", kind)
	case kind == "" && t.highest() != guard.Never && t.highest() >= guard.T2IrreversibleWrite:
		d.errorf(path, `write "effect: opaque" to approve its arguments`, "from T2 up a tool must say its effect, and %q says none", t.Name)
	}
	for i, w := range t.TiersWhen {
		// The text of SQL shows what it does; the policy raises the tier of writes.
		if w.Tier == guard.T0Read && writes && !about.MayRead {
			d.errorf(fmt.Sprintf("%s.tiers_when[%d].tier", path, i), "", "a call that changes files cannot be T0_READ")
		}
	}
}

func checkApproval(d *decoder, t *Tool, path string) {
	a, at := t.Approval, path+".approval"
	if a.Required != nil && !*a.Required {
		if h := t.highest(); h != guard.Never && h >= guard.T2IrreversibleWrite {
			d.errorf(at+".required", "remove it, or use T1_REVERSIBLE_WRITE if a call can be undone", "approval cannot be switched off for %s", h)
		}
	}
	switch a.Mode {
	case "", "ask":
	case "post":
		switch {
		case t.Tier != guard.T1ReversibleWrite:
			d.errorf(at+".mode", `write "mode: ask"`, "'post' (run first, show then) is for T1_REVERSIBLE_WRITE alone")
		case a.Required != nil && !*a.Required:
			d.errorf(at+".mode", "remove one of them", "'post' shows what ran, and 'required: false' does not")
		}
	default:
		oneOf(d, at+".mode", "a mode of approval", a.Mode, "ask", "post")
	}
	if a.Approvers != nil && *a.Approvers != 1 {
		if *a.Approvers > 1 {
			d.errorf(at+".approvers", "write 1, or remove it", "more than one approver is not enforced in this version, so it does not load")
		} else {
			d.errorf(at+".approvers", "write 1, or remove it", "at least one approver is needed")
		}
	}
	checkBox(d, at, a.TTL, a.UseWithin)
}

func checkRules(d *decoder, t *Tool, path string) {
	needWhen := func(list string, i int, when string) {
		if strings.TrimSpace(when) == "" {
			d.errorf(fmt.Sprintf("%s.%s[%d]", path, list, i), `add "when: …"`, "an entry of %s needs a condition", list)
		}
	}
	for i, w := range t.TiersWhen {
		needWhen("tiers_when", i, w.When)
		if !w.Tier.Valid() {
			if _, written := d.locations[fmt.Sprintf("%s.tiers_when[%d].tier", path, i)]; !written {
				d.errorf(fmt.Sprintf("%s.tiers_when[%d]", path, i), "", "an entry of tiers_when needs a tier")
			}
		}
	}
	for list, rules := range map[string][]Rule{"deny": t.Deny, "allow": t.Allow, "sensitive": t.Sensitive.When} {
		for i, r := range rules {
			needWhen(list, i, r.When)
		}
	}
	for i, s := range t.SideEffects {
		if strings.TrimSpace(s.Says) == "" {
			d.errorf(fmt.Sprintf("%s.side_effects[%d]", path, i), `add "says: …"`, "a side effect needs a sentence")
		}
	}
}
