package effect

import (
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// shellWord is one word of a command, as the shell would read it.
type shellWord struct {
	text  string
	plain bool // false if it is computed when the command runs
}

// launcher is a program, such as sudo, env or timeout, that runs the command in its
// arguments. Single letters are flags with one dash.
type launcher struct {
	plain, value  string   // letters of flags without a value, and with one
	plains, takes []string // long flags likewise
	words         int      // its own words before the command
	sets          bool     // NAME=value may stand before the command
	line          bool     // what follows is one line for a shell
	sub           []string // it does so only after one of these words
}

// launchers are known by the base name of their path. An unknown flag may or may
// not take a value, so both words after it count as programs.
var launchers = map[string]launcher{
	"sudo": {plain: "AbBEeHiKklnPSsVv", value: "CDghprRtTuU", sets: true,
		plains: []string{"askpass", "background", "preserve-env", "set-home", "login", "non-interactive", "preserve-groups", "stdin", "shell", "validate", "reset-timestamp", "remove-timestamp"},
		takes:  []string{"close-from", "chdir", "group", "host", "prompt", "chroot", "role", "type", "command-timeout", "user", "other-user"}},
	"doas":         {plain: "Lns", value: "aCu"},
	"env":          {plain: "0iv", value: "uCS", sets: true, plains: []string{"ignore-environment", "null", "debug"}, takes: []string{"unset", "chdir", "split-string"}},
	"timeout":      {plain: "pv", value: "ks", words: 1, plains: []string{"foreground", "preserve-status", "verbose"}, takes: []string{"kill-after", "signal"}},
	"gtimeout":     {plain: "pv", value: "ks", words: 1, plains: []string{"foreground", "preserve-status", "verbose"}, takes: []string{"kill-after", "signal"}},
	"nice":         {plain: "0123456789", value: "n", takes: []string{"adjustment"}},
	"ionice":       {plain: "t", value: "cnpPu", plains: []string{"ignore"}, takes: []string{"class", "classdata", "pid"}},
	"nohup":        {},
	"setsid":       {plain: "cfw", plains: []string{"ctty", "fork", "wait"}},
	"stdbuf":       {value: "ieo", takes: []string{"input", "output", "error"}},
	"time":         {plain: "alpqv", value: "fo", plains: []string{"append", "portability", "quiet", "verbose"}, takes: []string{"format", "output"}},
	"xargs":        {plain: "0oprtx", value: "adEIJLnPRsS", plains: []string{"null", "open-tty", "interactive", "no-run-if-empty", "verbose", "exit"}, takes: []string{"arg-file", "delimiter", "max-args", "max-procs", "max-chars", "max-lines", "process-slot-var"}},
	"command":      {plain: "pvV"},
	"builtin":      {},
	"exec":         {plain: "cl", value: "a"},
	"coproc":       {},
	"watch":        {plain: "bcdegptwx", value: "nq", plains: []string{"beep", "color", "differences", "errexit", "chgexit", "no-title", "precise", "exec"}, takes: []string{"interval", "equexit"}, line: true},
	"parallel":     {plain: "0kmtXu", value: "aCIjLNnPS", plains: []string{"keep-order", "dry-run", "verbose", "null", "ungroup"}, takes: []string{"jobs", "arg-file", "colsep", "max-args"}, line: true},
	"strace":       {plain: "cCdfFhiqrtTvVxyz", value: "abeEIoOpPsSuUX"},
	"ltrace":       {plain: "cCfhiLrStTV", value: "aAeDlnopsuwx"},
	"taskset":      {plain: "ap", value: "c", words: 1},
	"chrt":         {plain: "abdfior", value: "DPT", words: 1},
	"flock":        {plain: "enosuxF", value: "wE", words: 1, plains: []string{"nonblock", "exclusive", "shared", "close"}, takes: []string{"timeout", "wait"}},
	"chroot":       {words: 1, takes: []string{"groups", "userspec"}},
	"unshare":      {plain: "cCfimnprTuU", value: "GRSw"},
	"nsenter":      {plain: "aCeFimnpTuUZ", value: "GrStw"},
	"runuser":      {plain: "flmp", value: "cgGsuw"},
	"systemd-run":  {plain: "dGPqrSt", value: "EHMpu"},
	"busybox":      {},
	"toybox":       {},
	"npx":          {plain: "qy", value: "cpw", plains: []string{"yes", "no", "quiet"}, takes: []string{"package", "call", "workspace"}},
	"bunx":         {},
	"uvx":          {plain: "qv", value: "pw", takes: []string{"from", "with", "python"}},
	"uv":           {sub: []string{"run"}},
	"poetry":       {sub: []string{"run"}},
	"pipenv":       {sub: []string{"run"}},
	"bundle":       {sub: []string{"exec"}},
	"mise":         {sub: []string{"exec", "x"}},
	"npm":          {sub: []string{"exec", "x"}},
	"pnpm":         {sub: []string{"exec", "dlx"}},
	"yarn":         {sub: []string{"exec", "dlx"}},
	"caffeinate":   {plain: "dimsu", value: "tw"},
	"chronic":      {plain: "ev"},
	"fakeroot":     {value: "bil"},
	"proxychains":  {plain: "q", value: "f"},
	"proxychains4": {plain: "q", value: "f"},
	"torsocks":     {plain: "idq"},
	"xvfb-run":     {plain: "al", value: "efnpsw"},
	"valgrind":     {},

	"pkexec":           {plains: []string{"disable-internal-agent", "keep-cwd"}, takes: []string{"user"}},
	"gosu":             {words: 1},
	"su-exec":          {words: 1},
	"setpriv":          {plains: []string{"nnp", "no-new-privs", "clear-groups", "keep-groups", "init-groups", "reset-env"}},
	"prlimit":          {value: "o"},
	"choom":            {value: "np", takes: []string{"adjust", "pid"}},
	"setarch":          {plain: "3BFILRSTXZv"},
	"linux32":          {plain: "3BFILRSTXZv"},
	"linux64":          {plain: "3BFILRSTXZv"},
	"unbuffer":         {plain: "p"},
	"eatmydata":        {},
	"faketime":         {plain: "fm", words: 1},
	"dbus-run-session": {takes: []string{"config-file", "dbus-daemon"}},
	"ssh-agent":        {plain: "cDdks", value: "aEPt"},
	"direnv":           {words: 1, sub: []string{"exec"}},
	"perf":             {sub: []string{"stat", "record", "trace"}},
	"script":           {plain: "aefqr", value: "cBEIOTmo"}, // its line follows -c
}

// shells run a line given with -c.
var shells = []string{"ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "sh", "su", "tcsh", "zsh"}

// Limits on what is followed: the nesting depth of launchers and lines, and the
// number of commands examined.
const (
	maxNesting = 8
	maxSteps   = 5000

	maxPrograms = 1000 // of one command; rules ask for each
)

// command records a program and what it is told to run.
func (s *shellText) command(words []shellWord, depth int) {
	if len(words) == 0 {
		return
	}
	if !words[0].plain {
		s.computed = true
		return
	}
	if s.steps++; depth > maxNesting || s.steps > maxSteps {
		s.opaque = true // fail closed: the following words are not known
		return
	}
	s.commands = append(s.commands, words)
	switch {
	case slices.Contains(s.programs, words[0].text):
	case len(s.programs) >= maxPrograms:
		s.opaque = true
	default:
		s.programs = append(s.programs, words[0].text)
	}
	base, rest := path.Base(words[0].text), words[1:]
	l, launches := launchers[base]
	switch {
	case slices.Contains(shells, base):
		s.shell(rest, depth)
	case base == "eval":
		s.joined(rest, depth)
	case base == "trap" && len(rest) > 0:
		if rest[0].text == "--" {
			rest = rest[1:]
		}
		s.joined(rest[:min(1, len(rest))], depth)
	case (base == "hash" || base == "enable") && len(rest) > 2:
		// hash -p FILE NAME, enable -f FILE NAME: FILE runs in place of NAME
		if flag := rest[0].text; strings.HasPrefix(flag, "-") && strings.ContainsAny(flag, "pf") {
			for _, w := range rest[2:] {
				s.add(&s.defined, w.text)
			}
		}
	case base == "parallel" && len(rest) > 0 && strings.HasPrefix(rest[0].text, ":::"):
		for _, w := range rest[1:] { // each is a separate line
			s.joined([]shellWord{w}, depth)
		}
	case base == "alias":
		for _, w := range rest {
			if name, value, ok := strings.Cut(w.text, "="); ok && w.plain {
				s.add(&s.defined, name)
				s.nested(value, depth)
			}
		}
	case base == "find" || base == "fd" || base == "gfind":
		s.find(rest, depth)
	case launches:
		s.launched(base, l, rest, depth)
	}
}

// launched records the command that a launcher runs.
func (s *shellText) launched(base string, l launcher, words []shellWord, depth int) {
	if len(l.sub) > 0 {
		if len(words) == 0 || !slices.Contains(l.sub, words[0].text) {
			return
		}
		words = words[1:]
	}
	unsure := false // the previous word may take this one as its value
	for len(words) > 0 {
		w := words[0]
		name, _, assigns := strings.Cut(w.text, "=")
		switch {
		case !w.plain:
			s.computed = true // it may be a flag, or the program
			if l.words == 0 {
				words = words[1:]
				unsure = true
				continue
			}
		case w.text == "--":
			s.behind(l, words[1:], depth)
			return
		case w.text == "-": // env's short form of -i
			words = words[1:]
			continue
		case strings.HasPrefix(w.text, "-") && len(w.text) > 1:
			var value bool
			value, unsure = l.flag(w.text)
			if s.flagRuns(base, w.text, l, words[1:], depth) {
				return
			}
			words = words[1:]
			if value && len(words) > 0 {
				words = words[1:]
			}
			continue
		case l.sets && assigns && syntax.ValidName(name):
			s.add(&s.environment, name)
			words = words[1:]
			continue
		}
		if unsure && len(words) > 1 {
			s.behind(l, words, depth) // whether or not the word before took this one
			words = words[1:]
			unsure = false
			continue
		}
		s.behind(l, words, depth)
		return
	}
}

// behind records what follows the flags of a launcher.
func (s *shellText) behind(l launcher, words []shellWord, depth int) {
	words = words[min(l.words, len(words)):]
	if len(words) > 1 && words[0].text == "-c" { // flock FILE -c LINE
		s.joined(words[1:2], depth)
		return
	}
	if l.line {
		s.joined(words, depth)
		return
	}
	s.command(words, depth+1)
}

// runsLine holds the flags whose value is itself a command.
var runsLine = map[string]struct{ short, long string }{
	"env": {"S", "split-string"}, "runuser": {"c", "command"}, "npx": {"c", "call"}, "script": {"c", "command"},
}

// flagRuns follows the flags whose value is itself a command: -S LINE, -vSLINE,
// --split-string=LINE, and long names cut short.
func (s *shellText) flagRuns(base, flag string, l launcher, rest []shellWord, depth int) bool {
	runs, ok := runsLine[base]
	if !ok {
		return false
	}
	var line []shellWord
	if long, isLong := strings.CutPrefix(flag, "--"); isLong {
		name, value, glued := strings.Cut(long, "=")
		switch {
		case name == "" || !strings.HasPrefix(runs.long, name) || slices.Contains(l.plains, name) || slices.Contains(l.takes, name) && name != runs.long:
			return false
		case glued:
			line = []shellWord{{value, true}}
		}
	} else {
		at := strings.IndexAny(flag, l.value+runs.short)
		if at < 0 || flag[at:at+1] != runs.short {
			return false
		}
		if flag[at+1:] != "" {
			line = []shellWord{{flag[at+1:], true}}
		}
	}
	if line == nil {
		if len(rest) == 0 {
			return false
		}
		line, rest = rest[:1], rest[1:]
	}
	s.joined(line, depth)
	if base == "env" {
		s.command(rest, depth+1)
	}
	return true
}

// flag reports whether the value of a flag is the next word, and whether that is
// uncertain.
func (l launcher) flag(text string) (value, unsure bool) {
	if long, ok := strings.CutPrefix(text, "--"); ok {
		if strings.Contains(long, "=") || slices.Contains(l.plains, long) {
			return false, false
		}
		if slices.Contains(l.takes, long) {
			return true, false
		}
		return false, true
	}
	for i, letter := range text[1:] {
		switch {
		case strings.ContainsRune(l.value, letter):
			return i == len(text)-2, false // the rest of the same word is the value
		case !strings.ContainsRune(l.plain, letter):
			return false, true
		}
	}
	return false, false
}

// shell records the line given to a shell.
func (s *shellText) shell(words []shellWord, depth int) {
	for i, w := range words {
		switch {
		case !w.plain:
			s.computed = true
			return
		case w.text == "--command" || strings.HasPrefix(w.text, "-") && !strings.HasPrefix(w.text, "--") && strings.Contains(w.text, "c"):
			for j := i + 1; j < len(words); j++ { // the line is the first word that is not a flag
				if !words[j].plain {
					s.computed = true
					return
				}
				if !strings.HasPrefix(words[j].text, "-") && !strings.HasPrefix(words[j].text, "+") {
					s.joined(words[j:j+1], depth)
					// "-c -o pipefail LINE", "-ceuo pipefail LINE": which of the two is the
					// line is not known here.
					if (j > i+1 || strings.ContainsAny(w.text, "oO")) && j+1 < len(words) {
						s.joined(words[j+1:j+2], depth)
					}
					return
				}
			}
			return
		case strings.HasPrefix(w.text, "--command="):
			s.nested(strings.TrimPrefix(w.text, "--command="), depth)
			return
		}
	}
}

// find records what find runs for each file.
func (s *shellText) find(words []shellWord, depth int) {
	for i, w := range words {
		switch w.text {
		case "-exec", "-execdir", "-ok", "-okdir", "-x", "--exec", "-X", "--exec-batch":
			end := i + 1
			for end < len(words) && words[end].text != ";" && words[end].text != "+" {
				end++
			}
			s.command(words[i+1:end], depth+1)
		}
	}
}

// joined reads words as one shell line, as eval does.
func (s *shellText) joined(words []shellWord, depth int) {
	var texts []string
	for _, w := range words {
		if !w.plain {
			s.computed = true
			return
		}
		texts = append(texts, w.text)
	}
	s.nested(strings.Join(texts, " "), depth)
}

// nested reads a line inside another one.
func (s *shellText) nested(line string, depth int) {
	if strings.TrimSpace(line) == "" {
		return
	}
	if depth >= maxNesting || !s.read(line, depth+1) {
		s.opaque = true
	}
}

// add appends a value unless the list has it.
func (s *shellText) add(list *[]string, v string) {
	if !slices.Contains(*list, v) && len(*list) < maxShellItems {
		*list = append(*list, v)
	}
}
