package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// maxSettings bounds one settings file of the client, in bytes.
const maxSettings = 4 << 20

// sandboxOf says whether the client's own sandbox confines a command,
// according to its settings. They are read each time, because the client also
// follows changes. It returns "" for a tool that runs no command.
func sandboxOf(r *clientToolsRun, tool string) string {
	if !clienttools.RunsCommand(tool) {
		return ""
	}
	environ := ipc.Environ(r.client.PID)
	if environ == nil {
		return "unknown: the client's settings cannot be found" // where they are depends on its environment
	}
	return hook.Sandbox(clientSettings(environ, r.client), r.client.Cmdline)
}

// clientSettings reads the files in which the client has settings.
func clientSettings(environ map[string]string, client ipc.Proc) []hook.Settings {
	var out []hook.Settings
	read := func(path string) {
		s := hook.Settings{Name: path}
		switch st, err := os.Stat(path); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			s.Err = err
		case !st.Mode().IsRegular() || st.Size() > maxSettings:
			s.Err = errors.New("it is not a file of settings")
		default:
			s.Raw, s.Err = os.ReadFile(path)
		}
		out = append(out, s)
	}
	dir := environ["CLAUDE_CONFIG_DIR"]
	if dir == "" {
		dir = filepath.Join(environ["HOME"], ".claude")
	}
	read(filepath.Join(dir, "settings.json"))
	if client.Cwd != "" { // the client reads those of its own folder, not of the ones above
		read(filepath.Join(client.Cwd, ".claude", "settings.json"))
		read(filepath.Join(client.Cwd, ".claude", "settings.local.json"))
	}
	for _, given := range hook.Given(client.Cmdline, "--settings") {
		if strings.HasPrefix(strings.TrimSpace(given), "{") {
			out = append(out, hook.Settings{Name: "--settings", Raw: []byte(given)})
			continue
		}
		if !filepath.IsAbs(given) {
			given = filepath.Join(client.Cwd, given)
		}
		read(given)
	}
	read(filepath.Join(dir, "remote-settings.json"))
	managed := "/etc/claude-code"
	if runtime.GOOS == "darwin" {
		managed = "/Library/Application Support/ClaudeCode"
	}
	read(filepath.Join(managed, "managed-settings.json"))
	more, _ := filepath.Glob(filepath.Join(managed, "managed-settings.d", "*.json")) // the pattern is well formed
	for _, path := range more {
		read(path)
	}
	return out
}
