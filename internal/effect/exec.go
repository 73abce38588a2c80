package effect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Exec runs a command. Its outcome is not predicted: the preview shows what runs,
// where, and what the text reveals.
const Exec = "exec"

// Hazards of commands.
const (
	HazardNotParsed   = "command_not_parsed"
	HazardIndirect    = "indirect_execution"
	HazardPrivileges  = "privileges"
	HazardShadowed    = "shadowed_program"
	HazardUnconfined  = "unconfined"
	HazardClientShell = "client_sandbox"
	HazardNoSandbox   = "no_sandbox"
)

type execKind struct{}

func (execKind) about() About {
	return About{Name: Exec, Lands: true, check: checkExecParams, params: []param{
		{"command", expr.String, true},  // a shell line
		{"argv", expr.StringList, true}, // or the arguments of one program
		{"folder", expr.String, true},
		{"background", expr.Bool, true},
		{"unconfined", expr.Bool, true}, // asks to run outside the client's sandbox
		{"sandbox", expr.String, true},  // "on", or why the client's sandbox does not count
	}}
}

// checkExecParams requires either a line or an argument list.
func checkExecParams(s Spec) error {
	_, line := s.Params["command"]
	_, words := s.Params["argv"]
	if line == words && (!line || s.Dialect != DialectWorkspace) {
		return errors.New(`effect exec needs either "command" or "argv"`)
	}
	return nil
}

func (execKind) resolve(_ context.Context, _ *Binding, in Input) (resolved, error) {
	return resolved{targets: []guard.Target{runTarget(Exec, in)}}, nil
}

// command is what an exec effect runs.
type command struct {
	line                   string   // for a shell
	argv                   []string // used if there is no line
	folder                 string
	background, unconfined bool
	sandbox                string // of the client: SaidOn, or why not; "" if unknown
}

// SaidOn stands in place of a reason when the client's settings say that its
// sandbox is on. It removes no hazard, because anyone who can write one of those
// settings can claim it.
const SaidOn = "on"

func (b *Binding) command(in Input) (c command, err error) {
	if prog, ok := b.params["argv"]; ok {
		if c.argv, err = prog.Strings(in.Vars); err != nil {
			return c, fmt.Errorf("effect %s, argv: %w", b.about.Name, err)
		}
	}
	if _, ok := b.params["command"]; ok {
		if c.line, err = b.text(in, "command"); err != nil {
			return c, err
		}
	}
	switch {
	case len(c.argv) == 0 && (c.line == "" && b.params["argv"] != nil || c.line == "" && b.dialect == DialectWorkspace):
		return c, refusePlan("name a program", "the command has no words")
	case len(c.argv) > 0 && c.line != "":
		return c, refusePlan("give either a line or its words", "the call gives a command in two ways")
	case len(c.argv) == 0:
		c.argv = nil
	}
	if err := b.texts(in, map[string]*string{"folder": &c.folder, "sandbox": &c.sandbox}); err != nil {
		return c, err
	}
	if c.background, err = b.flag(in, "background"); err != nil {
		return c, err
	}
	c.unconfined, err = b.flag(in, "unconfined")
	return c, err
}

// runTarget is the target for what is not a file. Identical calls of one run share
// it; others do not wait for each other.
func runTarget(kind string, in Input) guard.Target {
	sum := digest.Sum(in.Call.ArgsCanonical)
	return guard.Target{Kind: TargetOpaque, Key: kind + ":" + string(in.Call.Session.RunID) + ":" + sum.String(), Write: true}
}

// text shows what the command's text reveals. The command comes last, so it cannot
// forge the lines above it.
func (execKind) text(b *Binding, c command, at resolved) guard.Preview {
	var out strings.Builder
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&out, "%-9s %s\n", name, oneLine(value))
		}
	}
	row("folder", cmp.Or(c.folder, "the server's own"))
	var hazards []guard.Hazard
	f := guard.ExecFacts{Line: c.line, Argv: c.argv, Folder: c.folder, Parsed: true, Background: c.background, Unconfined: c.unconfined}
	name := ""
	if c.argv != nil {
		row("argv", fmt.Sprintf("%q", c.argv))
		s := readWords(c.argv)
		f.Programs, f.Environment = s.programs, s.environment
		if len(s.programs) > 1 {
			row("programs", strings.Join(s.programs, ", "))
		}
		row("sets", strings.Join(s.environment, ", "))
		hazards = s.hazards
		name = c.argv[0]
	} else {
		s := readShell(c.line)
		f.RunBy, f.Parsed = b.shell(), s.parsed
		f.Programs, f.Redirections, f.Substitutions, f.Environment = s.programs, s.redirections, s.substitutions, s.environment
		row("run by", f.RunBy)
		if !s.parsed {
			row("parsed", "no: it cannot be taken apart")
		}
		row("programs", strings.Join(s.programs, ", "))
		row("writes", strings.Join(s.files(true), ", "))
		row("reads", strings.Join(s.files(false), ", "))
		row("puts in", strings.Join(s.substitutions, ", "))
		row("sets", strings.Join(s.environment, ", "))
		hazards = s.hazards
		name = firstLine(c.line)
	}
	if c.background {
		row("waits", "no: it goes on in the background")
	}
	if c.line != "" {
		out.WriteString("command\n" + c.line)
		if !strings.HasSuffix(c.line, "\n") {
			out.WriteByte('\n')
		}
	}
	if c.unconfined {
		hazards = append(hazards, guard.Hazard{Kind: HazardUnconfined, Text: "asks to run outside of the client's sandbox"})
	} else if c.sandbox == SaidOn {
		hazards = append(hazards, guard.Hazard{Kind: HazardClientShell, Text: "the client's settings say that its own sandbox is on; whether it confines this command is not seen by the guard"})
	} else if c.sandbox == "" && b.dialect == DialectClaude {
		hazards = append(hazards, guard.Hazard{Kind: HazardClientShell, Text: "confined by the client's own sandbox alone, where that is switched on; that is not seen by the guard"})
	} else if c.sandbox != "" {
		hazards = append(hazards, guard.Hazard{Kind: HazardNoSandbox, Text: "runs without a sandbox; " + oneLine(c.sandbox)})
	}
	text := out.String()
	return guard.Preview{
		Effects: []guard.Effect{{Kind: Exec, Resource: at.targets[0], Diff: digest.Sum([]byte(text))}},
		Change:  guard.Change{Type: guard.ChangeExec, Text: text, Facts: guard.Facts{Exec: &f}},

		SideEffects: []guard.SideEffect{notReversible},
		Hazards:     append(hazards, textHazards([]byte(text))...),
		Summary:     "run " + oneLine(name),
	}
}

func (b *Binding) shell() string {
	if b.dialect == DialectClaude {
		return "the client's shell (bash or zsh), with the client's environment"
	}
	return "a shell of the server"
}

// firstLine returns the beginning of a command, for a summary.
func firstLine(s string) string {
	line, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	const limit = 100
	if r := []rune(line); len(r) > limit {
		line, more = string(r[:limit]), true
	}
	if more {
		line += " …"
	}
	return line
}

// shellText is what can be told from a shell line.
type shellText struct {
	parsed                  bool
	programs, substitutions []string
	environment             []string // names of variables that it sets
	redirections            []guard.ExecRedirection
	hazards                 []guard.Hazard

	commands          [][]shellWord // each command with its words
	defined           []string      // functions and aliases
	computed, pattern bool          // a program name is computed; there is a bracket pattern
	steps             int           // commands examined
	opaque            bool          // a nested line cannot be parsed
}

// files lists the files that the line redirects to or from.
func (s shellText) files(writes bool) []string {
	var out []string
	for _, r := range s.redirections {
		if r.Writes != writes {
			continue
		}
		name := r.File
		if name == "" {
			name = "a file whose name is computed"
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// maxCommand bounds the command text that is parsed, in bytes.
const maxCommand = 64 << 10

// maxShellItems bounds each list of findings in a line.
const maxShellItems = 50

// readShell finds the programs that a line starts, including those started through
// others (sudo, xargs, bash -c), the files that it redirects to and from, its
// expansions, and the variables that it sets. It only helps the reader: what it
// does not find may still run.
func readShell(line string) (s shellText) {
	if !s.read(line, 0) {
		return shellText{hazards: []guard.Hazard{{Kind: HazardNotParsed, Text: "the command cannot be taken apart; read it as it stands"}}}
	}
	s.parsed = true
	s.evaluate()
	return s
}

// readWords is readShell for the argument list of one program.
func readWords(argv []string) (s shellText) {
	words := make([]shellWord, len(argv))
	for i, w := range argv {
		words[i] = shellWord{w, true}
	}
	s.command(words, 0)
	s.parsed = true
	s.evaluate()
	return s
}

// read records what one line contains, and reports whether it can be parsed.
func (s *shellText) read(line string, depth int) bool {
	if len(line) > maxCommand {
		return false
	}
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(line), "")
	if err != nil {
		return false
	}
	source := func(n syntax.Node) string { return firstLine(line[n.Pos().Offset():n.End().Offset()]) }
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CallExpr:
			words := make([]shellWord, len(n.Args))
			for i, a := range n.Args {
				words[i].text, words[i].plain = literal(a)
			}
			s.command(words, depth)
			for _, a := range n.Assigns {
				if a.Name != nil {
					s.add(&s.environment, a.Name.Value)
				}
			}
		case *syntax.FuncDecl:
			if n.Name != nil {
				s.add(&s.defined, n.Name.Value)
			}
		case *syntax.DeclClause:
			for _, a := range n.Args {
				if a.Name != nil {
					s.add(&s.environment, a.Name.Value)
				}
			}
		case *syntax.Redirect:
			if r, ok := redirection(n); ok && len(s.redirections) < maxShellItems {
				s.redirections = append(s.redirections, r)
			}
		case *syntax.ExtGlob:
			s.pattern = true
		case *syntax.CmdSubst, *syntax.ProcSubst, *syntax.ParamExp, *syntax.ArithmExp:
			s.add(&s.substitutions, source(n))
		}
		return true
	})
	return true
}

// evaluate turns the findings into hazards.
func (s *shellText) evaluate() {
	indirect := func(text string) {
		s.hazards = append(s.hazards, guard.Hazard{Kind: HazardIndirect, Text: text})
	}
	if s.opaque {
		s.hazards = append(s.hazards, guard.Hazard{Kind: HazardNotParsed, Text: "a command inside of this one cannot be taken apart; read it as it stands"})
	}
	if s.computed {
		indirect("the name of a program is computed when the command runs")
	}
	if s.pattern {
		indirect("a pattern with brackets; zsh runs what such a pattern says")
	}
	var steering, shadowed []string
	for _, name := range s.environment {
		if steers(name) {
			steering = append(steering, name)
		}
	}
	if len(steering) > 0 {
		indirect("sets what decides which program or code runs: " + strings.Join(steering, ", "))
	}
	for _, name := range s.defined {
		if slices.Contains(s.programs, name) {
			shadowed = append(shadowed, name)
		}
	}
	if len(shadowed) > 0 {
		s.hazards = append(s.hazards, guard.Hazard{Kind: HazardShadowed, Text: "a function or alias of this command runs in place of a program: " + strings.Join(shadowed, ", ")})
	}
	bases := make([]string, len(s.programs))
	for i, p := range s.programs {
		bases[i] = path.Base(p)
	}
	s.hazards = append(s.hazards, runsOthers(bases)...)
}

// redirection reads a redirection of a file. Here-documents and copies of
// descriptors do not count.
func redirection(n *syntax.Redirect) (r guard.ExecRedirection, ok bool) {
	switch n.Op {
	case syntax.RdrOut, syntax.AppOut, syntax.RdrClob, syntax.RdrAll, syntax.AppAll, syntax.RdrInOut:
		r.Writes = true
	case syntax.RdrIn:
	case syntax.DplOut: // ">& file" is one if no descriptor follows
		word, literal := literal(n.Word)
		if literal && (word == "-" || strings.Trim(word, "0123456789-") == "") {
			return r, false
		}
		r.Writes = true
	default:
		return r, false
	}
	r.Op = n.Op.String()
	if n.N != nil {
		r.Op = n.N.Value + r.Op
	}
	if word, ok := literal(n.Word); ok {
		r.File = word
	}
	return r, true
}

// literal returns a word without expansions, as the shell would read it.
func literal(w *syntax.Word) (string, bool) {
	var out strings.Builder
	var parts func(list []syntax.WordPart, quoted bool) bool
	parts = func(list []syntax.WordPart, quoted bool) bool {
		for _, p := range list {
			switch p := p.(type) {
			case *syntax.Lit:
				text, ok := unescape(p.Value, quoted)
				if !ok {
					return false
				}
				out.WriteString(text)
			case *syntax.SglQuoted:
				if p.Dollar {
					return false
				}
				out.WriteString(p.Value)
			case *syntax.DblQuoted:
				if p.Dollar || !parts(p.Parts, true) {
					return false
				}
			default:
				return false
			}
		}
		return true
	}
	ok := w != nil && parts(w.Parts, false)
	return out.String(), ok
}

// unescape removes the backslashes from a part of a word, in double quotes or
// unquoted. ok is false if the shell would read it differently.
func unescape(s string, quoted bool) (string, bool) {
	if s == "[" { // the program
		return s, true
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch more := i+1 < len(s); {
		case s[i] == '\\' && more && (!quoted || strings.IndexByte("$`\"\\\n", s[i+1]) >= 0):
			i++
			if s[i] != '\n' { // a line continuation
				out.WriteByte(s[i])
			}
		case quoted:
			out.WriteByte(s[i])
		case s[i] == '{' && more && s[i+1] == '}': // as find and xargs take it
			i++
			out.WriteString("{}")
		case strings.IndexByte("\\*?[{~", s[i]) >= 0:
			return "", false
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String(), true
}

// Programs that run code from their arguments or input, and programs that run it as
// another user.
var (
	runners = []string{".", "alias", "ash", "at", "awk", "bash", "batch", "builtin", "bun", "bunx", "busybox", "choom", "chrt", "command", "coproc", "crontab", "csh", "dash",
		"dbus-run-session", "deno", "direnv", "docker", "eatmydata", "ed", "emacs", "entr", "env", "eval", "ex", "exec", "expect", "faketime", "fd", "find", "fish", "flock", "gawk", "gdb", "gtimeout", "ionice", "kubectl", "ksh", "linux32", "linux64", "ltrace", "lua", "make",
		"mawk", "nice", "node", "nohup", "npm", "npx", "osascript", "parallel", "perf", "perl", "php", "pnpm", "podman", "prlimit", "pwsh", "python", "ruby", "script", "setarch", "setpriv", "setsid",
		"sh", "source", "ssh", "ssh-agent", "stdbuf", "strace", "systemd-run", "taskset", "tclsh", "timeout", "toybox", "trap", "unbuffer", "unshare", "uvx", "valgrind", "vi", "vim", "watch",
		"xargs", "yarn", "zsh"}
	raisers = []string{"doas", "pkexec", "su", "sudo", "runuser", "chroot", "nsenter", "gosu", "su-exec"}
)

// steers reports whether a variable decides which program or code runs.
func steers(name string) bool {
	for _, prefix := range []string{"LD_", "DYLD_", "GIT_", "BASH_FUNC_", "npm_config_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"PATH", "IFS", "ENV", "BASH_ENV", "ZDOTDIR", "SHELL", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND", "CDPATH", "HOME",
		"EDITOR", "VISUAL", "PAGER", "BROWSER", "NODE_OPTIONS", "NODE_PATH", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PERL5OPT", "PERL5LIB", "RUBYOPT",
		"RUBYLIB", "JAVA_TOOL_OPTIONS", "CLASSPATH", "GOFLAGS", "MAKEFLAGS", "RUSTC_WRAPPER"}, name)
}

func runsOthers(names []string) []guard.Hazard {
	var out []guard.Hazard
	pick := func(kind, does string, from []string) {
		var hit []string
		for _, n := range names {
			// python3.12 counts as python.
			if slices.Contains(from, n) || slices.Contains(from, strings.TrimRight(n, "0123456789.-")) {
				hit = append(hit, n)
			}
		}
		if len(hit) > 0 {
			out = append(out, guard.Hazard{Kind: kind, Text: does + ": " + strings.Join(hit, ", ")})
		}
	}
	pick(HazardIndirect, "runs what its arguments or its input say", runners)
	pick(HazardPrivileges, "runs as another user", raisers)
	return out
}
