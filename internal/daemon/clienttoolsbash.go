package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// A command of the client's own Bash runs in a sandbox, and the client gets a
// substitute line that shows the result, if everything that this depends on is
// known. In doubt a human is asked about the command by its text.

// maxToken bounds a token, in bytes.
const maxToken = 200

// contain decides whether a command may run in a sandbox, and records why not.
func (d *daemon) contain(r *clientToolsRun, e hook.Event, q *clienttools.Question) {
	if !clienttools.RunsCommand(e.Tool) || !d.policy.Load().Config().Commands.RewritesBash() {
		return
	}
	b, why := d.containable(r, e, q.Sandbox)
	if why == "" {
		q.Contained, q.Doubt = true, !effect.StaysWithin(b.line, b.folder, r.roots)
	}
	b.why = why
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bash == nil || len(r.bash) > maxUses {
		r.bash = map[string]bashUse{}
	}
	r.bash[e.ToolUseID] = b
}

// bashUse is one use of Bash.
type bashUse struct {
	why    string // why it is not contained; "" where it is
	line   string
	folder string // where it runs
	ends   string // the folder after it succeeded; "" for folder
}

// tried is the first version of the client that this was tested with.
var tried = [3]int{2, 1, 329}

// containable returns why a command cannot run in a sandbox; "" if it can.
func (d *daemon) containable(r *clientToolsRun, e hook.Event, sandbox string) (b bashUse, why string) {
	var in struct {
		Command     string       `json:"command"`
		Timeout     *json.Number `json:"timeout"`
		Description string       `json:"description"`
		Background  bool         `json:"run_in_background"`
		Unconfined  bool         `json:"dangerouslyDisableSandbox"`
	}
	program := d.cfg.Sandbox
	version := clientVersion(r.client.Executable)
	switch {
	case runtime.GOOS != "linux" || r.commands == nil || filepath.Base(program) != "mcpguard":
		return b, "there is no sandbox here"
	case !slices.Contains([]string{"default", "acceptEdits", "auto", "bypassPermissions"}, e.Mode):
		return b, "the client is in a mode in which commands do not simply run"
	case jsonvalue.DecodeStrict(e.Input, &in) != nil:
		return b, "its input has members that are not known"
	case in.Background || in.Unconfined:
		return b, "it goes on in the background, or asks to run outside of a sandbox"
	case strings.TrimSpace(in.Command) == "" || strings.ContainsRune(in.Command, 0):
		return b, "it is no line for a shell"
	case slices.Compare(version[:], tried[:]) < 0:
		return b, "this version of the client is not known to run another line in its place"
	case sandbox != hook.SandboxOff:
		return b, "the client's own sandbox is not known to be off"
	}
	b.line = in.Command
	environ := ipc.Environ(r.client.PID)
	if environ == nil {
		return b, "the client's settings cannot be found"
	}
	if why := hook.Against(clientSettings(environ, r.client), r.client.Cmdline, b.line, program); why != "" {
		return b, why
	}
	var ok bool
	if b.folder, ok = inside(e.Cwd, r.roots); !ok {
		return b, "it runs outside of the workspace"
	}
	to, known := effect.EndsIn(b.line)
	if !known {
		return b, "in which folder it ends cannot be told"
	}
	if to != "" {
		if !filepath.IsAbs(to) {
			to = filepath.Join(b.folder, to)
		}
		if b.ends, ok = inside(to, r.roots); !ok {
			return b, "it ends outside of the workspace"
		}
		if b.ends == b.folder {
			b.ends = ""
		}
	}
	return b, ""
}

// inside resolves a folder, which must be in one of roots.
func inside(name string, roots []string) (string, bool) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil || !filepath.IsAbs(real) || !isDir(real) {
		return "", false
	}
	return real, slices.ContainsFunc(roots, func(r string) bool { return expr.Under(real, r) })
}

// clientVersion derives the version of the client from its path: its own
// installer puts the version into the file name, and a package has it in a
// file beside the program. Zero if neither applies.
func clientVersion(executable string) (v [3]int) {
	word := filepath.Base(executable)
	if !strings.Contains(word, ".") {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(executable), "package.json"))
		var p struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		}
		if err != nil || json.Unmarshal(data, &p) != nil || !strings.HasPrefix(p.Name, "@anthropic-ai/claude-code") {
			return v
		}
		word = p.Version
	}
	parts := strings.Split(word, ".")
	if len(parts) != 3 {
		return v
	}
	var out [3]int
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return v
		}
		out[i] = n
	}
	return out
}

func (r *clientToolsRun) bashOf(use string) (bashUse, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.bash[use]
	return b, ok
}

// shellQuote quotes s as one word for a shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// bashCommands runs the commands of a client's own Bash.
type bashCommands struct {
	*sessionCommands
	r *clientToolsRun
}

func (d *daemon) nativeCommands(r *clientToolsRun) effect.Commands {
	if r.commands == nil {
		return nil
	}
	return bashCommands{r.commands, r}
}

// Preview implements effect.Commands.
func (c bashCommands) Preview(ctx context.Context, line effect.CommandLine, head string) (guard.Preview, error) {
	b, known := c.r.bashOf(line.Use)
	cfg := c.d.policy.Load().Config().Commands
	switch {
	case !c.r.tools.Contained(line.Use) && (!known || !cfg.RewritesBash()):
		return guard.Preview{}, &effect.Uncontained{} // as if there were no sandbox
	case !known || b.why != "" || b.line != line.Line || !c.r.tools.Contained(line.Use):
		why := b.why
		if why == "" {
			why = "it is asked about in another way"
		}
		return guard.Preview{}, &effect.Uncontained{Why: why, Refuse: cfg.Preview == "require"}
	}
	shell, err := c.shell()
	if err != nil {
		return guard.Preview{}, &effect.Uncontained{Why: err.Error(), Refuse: cfg.Preview == "require"}
	}
	line.Folder = b.folder
	// The functions of its snapshot for grep and find run the client's own program.
	line.Programs = programsOf(c.r.client.Executable, c.roots)
	line.Argv = []string{shell, "-c", c.snapshot(shell) + "eval " + shellQuote(line.Line) + " </dev/null\n"}
	return c.sessionCommands.Preview(ctx, line, head)
}

// programsOf returns a client's program, unless the workspace has it: there it
// is seen as everything else.
func programsOf(executable string, roots []string) []string {
	if !filepath.IsAbs(executable) || slices.ContainsFunc(roots, func(r string) bool { return expr.Under(executable, r) }) {
		return nil
	}
	return []string{executable}
}

// shell returns the client's shell: its user's, if that is bash or zsh.
func (c bashCommands) shell() (string, error) {
	own := value(c.env, "SHELL")
	for _, path := range []string{own, "/bin/bash", "/usr/bin/bash", "/bin/zsh", "/usr/bin/zsh"} {
		switch filepath.Base(path) {
		case "bash", "zsh":
			if st, err := os.Stat(path); err == nil && st.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", errors.New("the client's shell was not found")
}

// maxSnapshot bounds a snapshot, in bytes: one program argument holds 128 KiB.
const maxSnapshot = 48 << 10

// snapshot returns the shell state of the user (functions, aliases, PATH) that
// the client saved and runs before each command; "" if there is none. It
// affects what the sandbox shows, never what counts as safe.
func (c bashCommands) snapshot(shell string) string {
	environ := ipc.Environ(c.r.client.PID)
	dir := environ["CLAUDE_CONFIG_DIR"]
	if dir == "" {
		dir = filepath.Join(environ["HOME"], ".claude")
	}
	found, _ := filepath.Glob(filepath.Join(dir, "shell-snapshots", "snapshot-"+filepath.Base(shell)+"-*.sh"))
	newest, at := "", time.Time{}
	for _, f := range found {
		if st, err := os.Lstat(f); err == nil && st.Mode().IsRegular() && st.Size() <= maxSnapshot && st.ModTime().After(at) {
			newest, at = f, st.ModTime()
		}
	}
	if newest == "" {
		return ""
	}
	data, err := os.ReadFile(newest)
	if err != nil || len(data) > maxSnapshot || bytes.IndexByte(data, 0) >= 0 {
		return ""
	}
	return string(data) + "\n"
}
