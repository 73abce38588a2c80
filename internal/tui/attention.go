package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// quiet is the minimum time between two notifications.
const quiet = 10 * time.Second

// attention notifies the reviewer, but only while the terminal is known to be
// out of focus. It writes only counts and tiers, never untrusted text:
// programs that read titles and notifications trust them.
type attention struct {
	blurred bool
	last    time.Time
	tmux    bool
	kind    int // of notification: 9, 99, 777; 0 means only the bell
}

func newAttention(environ []string) attention {
	env := map[string]string{}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	a := attention{tmux: env["TMUX"] != ""}
	program, term := env["TERM_PROGRAM"], env["TERM"]
	switch {
	case env["KITTY_WINDOW_ID"] != "" || strings.Contains(term, "kitty"):
		a.kind = 99
	case program == "iTerm.app" || program == "WezTerm" || program == "ghostty" || env["WEZTERM_PANE"] != "" ||
		env["GHOSTTY_RESOURCES_DIR"] != "" || env["ITERM_SESSION_ID"] != "" || env["ConEmuPID"] != "" || env["WT_SESSION"] != "":
		a.kind = 9
	case env["VTE_VERSION"] != "" || strings.HasPrefix(term, "foot") || strings.HasPrefix(term, "rxvt"):
		a.kind = 777
	}
	return a
}

// arrived notifies about a new approval.
func (a *attention) arrived(c waitingCounts, now time.Time) tea.Cmd {
	if !a.blurred || !a.last.IsZero() && now.Sub(a.last) < quiet {
		return nil
	}
	a.last = now
	return tea.Raw(a.sequence(c))
}

// sequence returns the bell and the notification about pending approvals.
func (a *attention) sequence(c waitingCounts) string {
	text := summary(c)
	var osc string
	switch a.kind {
	case 9:
		osc = "\x1b]9;mcpguard: " + text + "\x07"
	case 99:
		osc = "\x1b]99;i=mcpguard:d=0;mcpguard\x1b\\\x1b]99;i=mcpguard:p=body;" + text + "\x1b\\"
	case 777:
		osc = "\x1b]777;notify;mcpguard;" + text + "\x07"
	}
	if osc != "" && a.tmux {
		osc = "\x1bPtmux;" + strings.ReplaceAll(osc, "\x1b", "\x1b\x1b") + "\x1b\\"
	}
	return osc + "\a"
}

// summary describes pending approvals by counts and tiers.
func summary(c waitingCounts) string {
	if c.total == 0 {
		return "nothing waiting"
	}
	text := fmt.Sprintf("%d waiting", c.total)
	for i := len(c.tiers) - 1; i >= 0; i-- {
		switch {
		case c.tiers[i] == 0:
		case i == 5:
			text += fmt.Sprintf(", %d other", c.tiers[i])
		default:
			text += fmt.Sprintf(", %d T%d", c.tiers[i], i)
		}
	}
	return text
}

// title returns the window title.
func title(c waitingCounts, live bool) string {
	if !live {
		return "mcpguard: no daemon"
	}
	if c.total == 0 {
		return "mcpguard"
	}
	return fmt.Sprintf("mcpguard: %d waiting", c.total)
}
