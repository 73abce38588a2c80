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

// CommandText is the text of a contained command's change, in parts.
type CommandText struct {
	Head    string // what is known about the command; ends with its command line, if it has one
	Run     string // how it ended and what its changes mean, one line each
	Changes string // unified diffs, and a line for each path without one
}

// Command splits the text of a contained command into its parts. ok is false
// if d is not such a change or its text does not match its facts; the text is
// then to be shown unchanged.
func (d Diff) Command() (t CommandText, ok bool) {
	if d.Exec == nil || d.Exec.Run == nil || d.Pruned {
		return t, false
	}
	text := string(d.Bytes())
	// The command line is known from the facts, so nothing in it can be
	// mistaken for the parts that follow.
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

// Scripts splits the text of a command that is not contained from the files that it
// runs and that its run has changed. ok is false if there are none, or if the text
// does not match its facts; it is then to be shown unchanged.
func (d Diff) Scripts() (text string, scripts []guard.ExecScript, ok bool) {
	if d.Exec == nil || len(d.Exec.Scripts) == 0 || d.Pruned {
		return "", nil, false
	}
	text, ok = strings.CutSuffix(string(d.Bytes()), d.Exec.ScriptsText())
	return text, d.Exec.Scripts, ok
}

// Renamed returns, for an effect of a contained command whose path was renamed,
// the word between it and its other path: "renamed to" or "renamed from".
func (d Diff) Renamed(e Effect) (word, other string) {
	if d.Exec == nil || d.Exec.Run == nil {
		return "", ""
	}
	for _, r := range d.Exec.Run.Renames {
		switch {
		case r.From == e.Key && !e.After.Exists:
			return "renamed to", r.To
		case r.To == e.Key && !e.Before.Exists:
			return "renamed from", r.From
		}
	}
	return "", ""
}

// Ended describes in one line how a command ended in a sandbox.
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

// Attempted describes what a command did in a sandbox that did not contain it.
// Each line is a name, a space and a description.
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
	for _, p := range r.Moved {
		out = append(out, "not proven: changed while it ran: "+oneLine(p))
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

// oneLine removes from a text what could make it look like several lines.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r\u2028\u2029") {
		return s
	}
	return strconv.Quote(s)
}

// RunningCommand is a command that is running in a sandbox.
type RunningCommand struct {
	ID        string    `json:"id"` // of its call
	RunID     string    `json:"runId"`
	Tenant    string    `json:"tenant"`
	Command   string    `json:"command"` // for people, without secrets: a command line or arguments
	Folder    string    `json:"folder"`
	StartedAt time.Time `json:"startedAt"`
	Seconds   int       `json:"seconds"` // running time so far
}

type runningCommands struct {
	Commands []RunningCommand `json:"commands"`
}

// Commands returns the commands that are running in a sandbox, oldest first.
func (c *Client) Commands(ctx context.Context) ([]RunningCommand, error) {
	v, err := get[runningCommands](ctx, c, "/v1/commands", nil)
	return v.Commands, err
}

// StopCommand ends the sandboxed command of a call, and returns those that
// still run. The stopped command has changed nothing; a human is then asked
// about it by its text.
func (c *Client) StopCommand(ctx context.Context, id string) ([]RunningCommand, error) {
	v, err := send[runningCommands](ctx, c, http.MethodPost, "/v1/commands/"+url.PathEscape(id)+"/stop", nil, struct{}{})
	return v.Commands, err
}
