package onboard

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/redact"
)

// planner holds what the plans of one import share.
type planner struct {
	im       *Import
	cfg      *config.Config
	recorded *config.Environment
	redactor *redact.Redactor
	known    []*ClientFile
}

func (p *planner) launchEnv() launchEnv {
	r := p.im.Request
	home, _ := r.Lookup("HOME")
	return launchEnv{folder: r.Folder, home: home, lookup: r.Lookup, which: r.which, image: r.image}
}

// imageTimeout bounds one query of the container engine on this machine.
const imageTimeout = 5 * time.Second

func repoDigests(program, image string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), imageTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "image", "inspect", "--format", "{{json .RepoDigests}}", image).Output()
	var list []string
	if err != nil || json.Unmarshal(out, &list) != nil {
		return nil
	}
	return list
}

// item plans one entry up to the point where the server itself must be asked.
func (p *planner) item(e *Entry) *Item {
	it := &Item{Entry: e}
	if server, ok := e.guarded(); ok {
		it.Server, it.Already = server, true
		if _, ok := p.cfg.Servers[server]; !ok {
			it.Notes = append(it.Notes, fmt.Sprintf("the guard has no server %q, so this entry does not work", server))
		}
		return it
	}
	if it.Refused = p.refuse(e); it.Refused != "" {
		return it
	}
	lookup := p.im.Request.Lookup
	it.command = expandVars(e.Command, lookup)
	var args []string
	for _, a := range e.Args {
		args = append(args, expandVars(a, lookup))
	}
	vars := e.Env
	if base := filepath.Base(it.command); base == "docker" || base == "podman" {
		if at := imageIndex(args); at >= 0 {
			var more []Variable
			args, more = containerSecrets(p.redactor, args, at)
			vars = merged(vars, more)
		}
	}
	var err error
	if it.Env, err = handlings(p.redactor, vars, lookup); err != nil {
		it.Refused = err.Error()
		return it
	}
	it.Launch = p.launchEnv().launchOf(it.command, args)
	p.name(it)
	if it.Same == "" && it.Refused == "" {
		p.plan(it)
	}
	if it.Refused == "" {
		if _, err := e.edits(p.im.Request.Program, it.Server, p.im.Request.GuardHome); err != nil {
			it.Server, it.Same, it.Refused = "", "", err.Error()
		}
	}
	if it.Refused == "" {
		p.notes(it)
	}
	return it
}

// merged adds variables; those that came with the command's words count.
func merged(vars, more []Variable) []Variable {
	out := slices.Clone(vars)
	for _, v := range more {
		out = slices.DeleteFunc(out, func(o Variable) bool { return o.Name == v.Name })
		out = append(out, v)
	}
	return out
}

// refuse says, in a sentence for its owner, why an entry cannot be guarded.
func (p *planner) refuse(e *Entry) string {
	lookup := p.im.Request.Lookup
	switch {
	case e.Problem != "":
		return "the entry cannot be read: " + e.Problem
	case e.remote():
		return "it " + e.wayIn(cmp.Or(slugOf(e), "NAME"))
	case e.Command == "":
		return "it has no command"
	case slugOf(e) == "":
		return "its name has no letter or digit that the guard could call it by; rename it"
	}
	if word, ok := windows(e.Command, e.Args); ok {
		return fmt.Sprintf("%q belongs to Windows; the guard starts servers on Linux and macOS (in WSL: with the Linux command and /mnt/c/… paths)", word)
	}
	for _, w := range append([]string{e.Command}, e.Args...) {
		if m := input.FindString(w); m != "" {
			return fmt.Sprintf("its command line refers to %s, which only its own client can fill in", m)
		}
		missing := slices.DeleteFunc(unset(w, lookup), e.sets)
		if len(missing) > 0 {
			return fmt.Sprintf("its command line refers to ${%s}, which is not set in this shell; run it where it is set", missing[0])
		}
	}
	return ""
}

// sets reports whether the entry itself gives the server a variable. Claude Code
// expands no reference with it: the words stay as they are written, and the
// server, which has the variable, fills them in.
func (e *Entry) sets(name string) bool {
	return slices.ContainsFunc(e.Env, func(v Variable) bool { return v.Name == name })
}

func slugOf(e *Entry) string { return slug(e.Name) }

// name finds a name in the guard that is free or already belongs to this
// server.
func (p *planner) name(it *Item) {
	base := slugOf(it.Entry)
	suffix := "user"
	switch it.Entry.Scope {
	case Local:
		suffix = slug(filepath.Base(it.Entry.Project))
	case Project:
		suffix = slug(filepath.Base(filepath.Dir(it.Entry.File.Path)))
	case File:
		suffix = slug(strings.TrimSuffix(filepath.Base(it.Entry.File.Path), ".json"))
	}
	candidates := []string{base}
	if suffix != "" {
		candidates = append(candidates, base+"-"+suffix)
	}
	for n := 2; n < 100; n++ {
		candidates = append(candidates, fmt.Sprintf("%s-%d", base, n))
	}
	for _, name := range candidates {
		if name == config.NativeServer || name == config.PermissionServer {
			continue // the guard's own
		}
		if s, ok := p.cfg.Servers[name]; ok {
			if p.configured(s, it) {
				it.Server, it.Same = name, "config.yaml"
				return
			}
			continue
		}
		at := slices.IndexFunc(p.im.Items, func(o *Item) bool { return o.Server == name && !o.Already })
		if at < 0 {
			it.Server = name
			return
		}
		if o := p.im.Items[at]; o.Same == "" && sameServer(o, it) {
			it.Server, it.Same = name, fmt.Sprintf("%s (%s)", o.Entry.Name, o.Entry.Scope)
			return
		}
	}
	it.Refused = "the guard has too many servers of this name"
}

// sameServer reports whether two entries start the same program with the same
// arguments and environment.
func sameServer(a, b *Item) bool {
	return a.command == b.command && slices.Equal(a.Launch.Args, b.Launch.Args) &&
		slices.EqualFunc(a.Env, b.Env, func(x, y Handling) bool { return x.Name == y.Name && x.value == y.value })
}

// configured reports whether a server of the guard is what the entry starts.
func (p *planner) configured(s *config.Server, it *Item) bool {
	if s.Command != it.command || !slices.Equal(s.Args, it.Launch.Args) {
		return false
	}
	for _, h := range it.Env {
		if v, ok := p.recorded.Lookup(s.Name, h.Name); ok && slices.Contains(s.Env, h.Name) {
			if v != h.value {
				return false
			}
			continue
		}
		ref, ok := s.Secrets[h.Name]
		if !ok || ref.Scheme != "file" {
			return false
		}
		data, err := os.ReadFile(ref.Value)
		if err != nil || strings.TrimRight(string(data), "\r\n") != h.value {
			return false
		}
	}
	return true
}

// notes adds what else the reader of the plan should know.
func (p *planner) notes(it *Item) {
	note := func(format string, args ...any) { it.Notes = append(it.Notes, fmt.Sprintf(format, args...)) }
	if it.Server != it.Entry.Name && it.Server != "" && it.Same == "" {
		note("the guard calls it %s; the client's name for it and for its tools stays", it.Server)
	}
	if it.Launch.Advice != "" {
		note("%s", it.Launch.Advice)
	}
	for _, w := range it.Entry.Args {
		for _, name := range unset(w, p.im.Request.Lookup) {
			note("${%s} stays in its arguments as it is written, as with Claude Code; the server has the variable, and fills it in", name)
		}
	}
	if it.Entry.Timeout > 0 && it.Entry.Timeout < (20*time.Minute).Milliseconds() {
		note("the entry's timeout of %s ends a call that still waits for you; take it out, or raise it", time.Duration(it.Entry.Timeout)*time.Millisecond)
	}
	if it.Entry.Scope == Project && slices.ContainsFunc(it.Env, func(h Handling) bool { return h.Secret && !h.elsewhere }) {
		note("if %s was ever committed with the secret in it, replace the secret", filepath.Base(it.Entry.File.Path))
	}
}

// plan makes the part that does not need the server.
func (p *planner) plan(it *Item) {
	r := p.request(it)
	var err error
	if it.Plan, err = newPlan(r); err != nil {
		it.Server = ""
		var bad *config.Error
		if errors.As(err, &bad) && len(bad.Diagnostics) > 0 {
			it.Refused = bad.Diagnostics[0].Message
			if strings.Contains(it.Refused, "looks like a secret") {
				it.Refused = "one of its arguments looks like a secret, and the guard keeps none in its configuration: give it to the server through an environment variable"
			}
			return
		}
		it.Refused = err.Error()
	}
}

// request is what `add` would be asked for this entry.
func (p *planner) request(it *Item) Request {
	r := p.im.Request
	values := map[string]string{}
	out := Request{
		Name: it.Server, Command: it.command, Args: it.Launch.Args, Secrets: map[string]string{}, values: map[string]string{},
		Folder: r.Folder, User: r.User, Version: r.Version, Now: r.Now, Waiting: r.Waiting,
		Lookup: func(name string) (string, bool) {
			if v, ok := values[name]; ok {
				return v, true
			}
			return r.Lookup(name)
		},
	}
	for _, h := range it.Env {
		if h.Secret {
			out.Secrets[h.Name] = "file:" + secretFile(r.Paths.State, it.Server, h.Name)
			out.values[h.Name] = h.value
			continue
		}
		out.Env = append(out.Env, h.Name)
		values[h.Name] = h.value
	}
	out.Preset = presetOf(it.Launch)
	return out
}

// presetOf returns the preset for what is started, or "".
func presetOf(l Launch) string {
	switch l.Kind {
	case "npm package":
		return config.PresetFor(config.RegistryNPM, l.Name)
	case "Python package", "Python module":
		return config.PresetFor(config.RegistryPyPI, l.Name)
	case "container image":
		return config.PresetFor(config.RegistryOCI, l.Name)
	}
	return ""
}
