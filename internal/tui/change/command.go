package change

import (
	"slices"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// exec adds a command: its changes if it was contained, otherwise its text and
// parts, and then what it did in a sandbox.
func (b *builder) exec(d client.Detail, text string) {
	if t, ok := d.Diff.Command(); ok {
		b.contained(d, t)
		return
	}
	text, scripts := withoutScripts(d.Diff, text)
	if line, rest, more := strings.Cut(text, "\n"); more && d.Diff.Exec != nil && d.Diff.Exec.NotRun != "" && strings.HasPrefix(line, "not run in a sandbox: ") {
		b.warn(line)
		text = rest
	}
	if d.Diff.Exec != nil && d.Diff.Exec.Run != nil {
		b.warn("this text does not say what its facts say; read it as it is")
	}
	b.command(text)
	b.scripts(scripts)
	if d.Attempt == nil {
		if d.Output != "" {
			b.output(d.Output)
		}
		return
	}
	b.header()
	b.warn("in the sandbox; not what will run")
	for _, line := range client.Attempted(d.Attempt) {
		b.said1(line, "exit code 0")
	}
	b.output(d.Output)
}

func withoutScripts(d client.Diff, text string) (string, []guard.ExecScript) {
	if head, scripts, ok := d.Scripts(); ok {
		return head, scripts
	}
	return text, nil
}

// scripts adds the files that a command runs and that its run has changed.
func (b *builder) scripts(list []guard.ExecScript) {
	for _, s := range list {
		b.lang = languageOf(s.Path)
		b.header()
		b.identity("script ", s.Title())
		b.plainText(s.Text)
	}
	b.lang = noLanguage
}

// contained adds the captured changes of a command, which are what lands.
func (b *builder) contained(d client.Detail, t client.CommandText) {
	switch {
	case d.Diff.Exec.Line != "" || len(d.Diff.Exec.Argv) > 0:
		b.command(t.Head)
	default:
		b.plainText(t.Head)
	}
	b.header()
	b.title("run once in a sandbox; what it changed there is what will be changed")
	for line := range strings.Lines(t.Run) {
		b.said1(strings.TrimSuffix(line, "\n"), "exit code 0")
	}
	if n := len(d.Diff.Exec.Run.Folded); n > 0 {
		b.note("what is new in " + count(n, "folder", "folders") + " is not shown, and counts as unread")
	}
	if d.Diff.Exec.Run.Files == 0 {
		b.note("it changes nothing")
	} else {
		b.title(count(d.Diff.Exec.Run.Files, "path changes", "paths change"))
	}
	b.entries, b.part = true, true
	b.unifiedText(t.Changes)
	b.after = func() { b.output(d.Output) }
}

// said1 adds a line that begins with a label. Anything but the usual line is
// highlighted.
func (b *builder) said1(line, usual string) {
	for _, label := range []string{"exit code ", "git: ", "new in ", "wanted ", "still ran at its end: ", "not proven: "} {
		value, ok := strings.CutPrefix(line, label)
		switch {
		case !ok:
		case label == "exit code " && line != usual:
			b.warn(line)
			return
		case label == "new in ", label == "wanted ":
			b.identity(label, value)
			return
		default:
			b.field(label, value)
			return
		}
	}
	b.warn(line)
}

// output adds a command's output, folded: it differs from run to run and is
// not part of the approval.
func (b *builder) output(text string) {
	b.lang = noLanguage
	b.header()
	if text == "" {
		b.note("it printed nothing")
		return
	}
	n := strings.Count(text, "\n")
	if !strings.HasSuffix(text, "\n") {
		n++
	}
	b.title("what the run printed, " + strconv.Itoa(n) + " " + map[bool]string{true: "line", false: "lines"}[n == 1] + "; you do not decide on this")
	b.plainText(text)
	last := &b.segs[len(b.segs)-1]
	last.fold, last.foldable = true, true
}

// gitFile begins the line of a file inside a repository's .git folder.
const gitFile = "git file "

// entryLine reports whether a line describes a path that has no diff.
func entryLine(s string) bool {
	return slices.ContainsFunc([]string{
		"time of ", "new folder ", "new link ", "new special file ", "deleted folder ", "deleted link ", "deleted special file ",
		"link ", "folder ", gitFile, "extended attributes of ", "renames ", "renamed ",
	}, func(begins string) bool { return strings.HasPrefix(s, begins) })
}
