package claude

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a run of the client, or of any program, in a tmux server of its
// own, which ends with the test.
type terminal struct {
	t      *testing.T
	socket string
}

const key = "made-up-key-that-must-not-leak"

// settle answers beforehand what the client asks when it is started for the
// first time, for the first time in a folder, or with a key that it does not
// know.
func (w *world) settle() {
	w.t.Helper()
	state, err := json.Marshal(map[string]any{
		"hasCompletedOnboarding": true, "theme": "dark", "numStartups": 3,
		"customApiKeyResponses":         map[string]any{"approved": []string{key[len(key)-20:]}, "rejected": []string{}},
		"bypassPermissionsModeAccepted": true,
		"projects":                      map[string]any{w.project: map[string]any{"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true, "projectOnboardingSeenCount": 4}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.home, ".claude.json"), state, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// clientEnv is what the client is started with: a made-up key, and nothing of
// this environment but the path.
func (w *world) clientEnv(a *api, path string, extra ...string) []string {
	return append([]string{
		"PATH=" + path, "HOME=" + w.home, "ANTHROPIC_BASE_URL=" + a.url, "ANTHROPIC_API_KEY=" + key,
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_TELEMETRY=1", "DISABLE_AUTOUPDATER=1", "DISABLE_ERROR_REPORTING=1",
		"CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL=1",
	}, extra...)
}

// open starts a program in a terminal of 100 columns and 34 lines.
func (w *world) open(env []string, argv ...string) *terminal {
	w.t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		if os.Getenv("CI") != "" {
			w.t.Fatal(err)
		}
		w.t.Skip("tmux is not installed") // there is no other terminal to open; CI fails above
	}
	dir, err := os.MkdirTemp("", "mgt") // a socket's path has to be short
	if err != nil {
		w.t.Fatal(err)
	}
	term := &terminal{w.t, filepath.Join(dir, "s")}
	env = append(env, "TERM=xterm-256color", "LANG=C.UTF-8")
	args := append([]string{"-S", term.socket, "-f", "/dev/null", "-u", "new-session", "-d", "-x", "100", "-y", "34", "-c", w.project, "env", "-i"}, env...)
	cmd := exec.Command("tmux", append(args, argv...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm-256color", "HOME=" + w.home}
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("tmux: %v\n%s", err, out)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("the screen at the end:\n%s", term.screen())
		}
		term.end()
		os.RemoveAll(dir)
	})
	return term
}

// end ends the program and then the server. The program is waited for: it
// writes into its home folder to the last.
func (x *terminal) end() {
	out, _ := exec.Command("tmux", "-S", x.socket, "list-panes", "-F", "#{pane_pid}").Output() // nothing where it has ended
	if pid, err := strconv.Atoi(strings.TrimSpace(string(out))); err == nil {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
			unix.Close(fd)
		}
	}
	_ = exec.Command("tmux", "-S", x.socket, "kill-server").Run() // it may have ended with its program
}

// openClaude starts the client as a person does, who then says "go on".
func (w *world) openClaude(a *api, path string, args ...string) *terminal {
	w.t.Helper()
	exe, err := filepath.Abs(claudeBin)
	if err != nil {
		w.t.Fatal(err)
	}
	w.settle()
	term := w.open(w.clientEnv(a, path, append(w.extra, "MCPGUARD_HOME="+w.guard)...), append([]string{exe}, args...)...)
	term.shows("❯")
	term.keys("go on")
	term.shows("❯ go on")
	term.keys("Enter")
	return term
}

func (x *terminal) screen() string {
	out, _ := exec.Command("tmux", "-S", x.socket, "capture-pane", "-p").Output() // nothing where it has ended
	return strings.ReplaceAll(string(out), "\u00a0", " ")
}

// keys types; names such as Enter and Escape are keys.
func (x *terminal) keys(keys ...string) {
	x.t.Helper()
	if out, err := exec.Command("tmux", append([]string{"-S", x.socket, "send-keys"}, keys...)...).CombinedOutput(); err != nil {
		x.t.Fatalf("typing %q: %v %s", keys, err, out)
	}
}

// shows waits until the screen shows all of these.
func (x *terminal) shows(want ...string) string {
	x.t.Helper()
	return x.showsWithin(patience, want...)
}

func (x *terminal) showsWithin(d time.Duration, want ...string) string {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), d)
	defer cancel()
	look := time.NewTicker(100 * time.Millisecond) // a screen does not tell that it has changed
	defer look.Stop()
	for {
		now := x.screen()
		missing := ""
		for _, text := range want {
			if !strings.Contains(now, text) {
				missing = text
			}
		}
		if missing == "" {
			return now
		}
		select {
		case <-ctx.Done():
			x.t.Fatalf("the screen did not show %q within %s:\n%s", missing, d, now)
		case <-look.C:
		}
	}
}
