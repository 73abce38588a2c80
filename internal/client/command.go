package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// CommandText is the text of the change that a contained command makes, taken
// apart.
type CommandText struct {
	Head    string // what is known of the command; ends with its line, if it has one
	Run     string // how it ended and what its changes mean, a line each
	Changes string // unified diffs, and a line for each path that has none
}

// Command takes the text of a contained command apart. ok is false where the
// change is none, or its text is not what its facts say; it is then to be shown
// as it is.
func (d Diff) Command() (t CommandText, ok bool) {
	if d.Exec == nil || d.Exec.Run == nil || d.Pruned {
		return t, false
	}
	text := string(d.Bytes())
	// Whatever the command's own line holds, it is in the facts and so cannot be
	// taken for what follows it.
	from := 0
	if line := d.Exec.Line; line != "" {
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		at := strings.Index("\n"+text, "\ncommand\n")
		if at < 0 || !strings.HasPrefix(text[at+len("command\n"):], line) {
			return t, false
		}
		from = at + len("command\n") + len(line)
	} else if i := strings.Index(text, "\n"+Ended(d.Exec.Run)+"\n"); i >= 0 {
		from = i + 1
	}
	rest := text[from:]
	if from == 0 || !strings.HasPrefix(rest, Ended(d.Exec.Run)+"\n") {
		return t, false
	}
	to := len(Ended(d.Exec.Run)) + 1
	for strings.HasPrefix(rest[to:], "git: ") || strings.HasPrefix(rest[to:], "new in ") {
		end := strings.IndexByte(rest[to:], '\n')
		if end < 0 {
			return t, false
		}
		to += end + 1
	}
	return CommandText{Head: text[:from], Run: rest[:to], Changes: rest[to:]}, true
}

// Ended says in a line how a command ended in a sandbox.
func Ended(r *guard.ExecRun) string {
	switch {
	case r.Stopped == "cancelled":
		return "ended from outside before it was done"
	case r.Stopped != "":
		return "ended by the limit: " + r.Stopped
	case r.Signal != 0:
		return "ended by signal " + strconv.Itoa(r.Signal)
	}
	return "exit code " + strconv.Itoa(r.Exit)
}

// Attempted says, a line each, what a command did in a sandbox that did not
// contain it. Each line is a name, a blank, and what is said under it.
func Attempted(r *guard.ExecRun) []string {
	out := []string{Ended(r)}
	for _, w := range r.Wanted {
		out = append(out, "wanted "+w.Kind+": "+oneLine(w.What))
	}
	if len(r.Left) > 0 {
		out = append(out, "still ran at its end: "+oneLine(strings.Join(r.Left, ", ")))
	}
	for _, why := range r.Failed {
		out = append(out, "not proven: "+oneLine(why))
	}
	if r.Cut {
		out = append(out, "its output was cut")
	}
	for _, line := range r.Git {
		out = append(out, "git: "+oneLine(line))
	}
	switch r.Files {
	case 0:
	case 1:
		out = append(out, "changed 1 path there, of which nothing is kept")
	default:
		out = append(out, fmt.Sprintf("changed %d paths there, of which nothing is kept", r.Files))
	}
	return out
}

// oneLine is a text without what could make it look like several lines.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r\u2028\u2029") {
		return s
	}
	return strconv.Quote(s)
}

// RunningCommand is a command that runs in a sandbox now.
type RunningCommand struct {
	ID        string    `json:"id"` // of its call
	RunID     string    `json:"runId"`
	Tenant    string    `json:"tenant"`
	Command   string    `json:"command"` // for people, without secrets: a line, or words
	Folder    string    `json:"folder"`
	StartedAt time.Time `json:"startedAt"`
	Seconds   int       `json:"seconds"` // since then
}

type runningCommands struct {
	Commands []RunningCommand `json:"commands"`
}

// Commands returns the commands that run in a sandbox now, the oldest first.
func (c *Client) Commands(ctx context.Context) ([]RunningCommand, error) {
	v, err := get[runningCommands](ctx, c, "/v1/commands", nil)
	return v.Commands, err
}

// StopCommand ends the command of a call that runs in a sandbox, and returns
// those that still run. Nothing of it has happened; it is then asked about by its
// text.
func (c *Client) StopCommand(ctx context.Context, id string) ([]RunningCommand, error) {
	v, err := send[runningCommands](ctx, c, http.MethodPost, "/v1/commands/"+url.PathEscape(id)+"/stop", nil, struct{}{})
	return v.Commands, err
}
