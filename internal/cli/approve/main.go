// Package approve is the command line of the reviewer: it lists pending
// approvals, shows their changes, and sends decisions. Each command has a file
// of its own. The package does not decide who may approve and computes no
// change: the daemon does both. All its output passes through safetext.
package approve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui"
	"github.com/mcpguard/mcpguard/internal/version"
)

// Exit codes of every command.
const (
	exitDone        = 0
	exitError       = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4 // already decided, expired, digest differs, not permitted
	exitNotFound    = 5
	exitPending     = 8 // only with --exit-status
)

// Main runs one command and returns the exit code.
func Main(args []string, in *os.File, out, stderr io.Writer) int {
	if len(args) == 0 && os.Getenv(tui.EnvWatchdog) != "" {
		if tui.Watchdog() != nil {
			return exitError // its output is not read
		}
		return exitDone
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ended := make(chan struct{})
	defer close(ended)
	go leave(ctx, ended)
	a, err := newApp(in, out, stderr, os.Environ())
	if err != nil {
		fmt.Fprintf(stderr, "approve: %s\n", safetext.Text(err.Error()))
		return exitError
	}
	return a.run(ctx, args)
}

// leavePatience is how long a command may take after it was told to end.
const leavePatience = 3 * time.Second

// leave ends the program if a signal arrived and the command does not end,
// because it blocks on a terminal or pipe that no one reads. It returns when
// ended is closed.
func leave(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	select {
	case <-time.After(leavePatience):
		os.Exit(exitError)
	case <-ended:
	}
}

// codeError is an error with its own exit code and advice.
type codeError struct {
	code   int
	err    error // nil prints nothing
	remedy string
}

func (e *codeError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *codeError) Unwrap() error { return e.err }

// usage returns an error about the command line that points to the help.
func usage(c *cobra.Command, format string, args ...any) error {
	return &codeError{exitUsage, fmt.Errorf(format, args...), "see: " + c.CommandPath() + " --help"}
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean os.Args
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if a.client != nil {
		a.client.Close()
	}
	if err == nil {
		return exitDone
	}
	return a.fail(err)
}

// fail prints to standard error what happened and what to do next, and returns
// the exit code.
func (a *app) fail(err error) int {
	text, remedies := err.Error(), []string{}
	var c *codeError
	if errors.As(err, &c) && c.remedy != "" {
		remedies = append(remedies, c.remedy)
	}
	var p *client.Problem
	if errors.As(err, &p) {
		if p.Setting != "" {
			remedies = append(remedies, fmt.Sprintf("rule %s, setting `%s`", p.Code, p.Setting))
		}
		if p.Remedy != "" {
			remedies = append(remedies, p.Remedy)
		}
		remedies = append(remedies, p.Candidates...)
	}
	if errors.Is(err, client.ErrRequest) && len(remedies) == 0 {
		remedies = append(remedies, "see: approve --help")
	}
	if errors.Is(err, client.ErrUnreachable) && len(remedies) == 0 {
		if a.noAutostart {
			remedies = append(remedies, "start it with `mcpguardd serve`, or leave out --no-autostart; `mcpguardd status` tells more")
		} else {
			remedies = append(remedies, "`mcpguardd serve` starts it in the foreground, `mcpguardd doctor` looks for what is wrong")
		}
	}
	if text != "" {
		a.note(strings.TrimSpace(text), remedies...)
	}
	return exitCode(err)
}

// exitCode is the only place where errors become exit codes.
func exitCode(err error) int {
	var c *codeError
	var p *client.Problem
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, client.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, client.ErrNotFound):
		return exitNotFound
	case errors.Is(err, client.ErrRefused):
		return exitRefused
	case errors.As(err, &p) && errors.Is(err, client.ErrRequest):
		return exitUsage
	}
	return exitError
}

// note prints one message to standard error: what happened, then what to do.
func (a *app) note(text string, remedies ...string) {
	for i, l := range a.safe.Lines([]byte(text)) {
		lead := "approve: "
		if i > 0 {
			lead = "  "
		}
		fmt.Fprintf(a.err, "%s%s\n", lead, l)
	}
	for _, r := range remedies {
		for _, l := range a.safe.Lines([]byte(r)) {
			fmt.Fprintf(a.err, "  %s\n", l)
		}
	}
}

func (a *app) root() *cobra.Command {
	var o listOptions
	var plain bool
	root := &cobra.Command{
		Use:   "approve",
		Short: "review what an agent wants to change; approve or deny it",
		Long: `approve shows the writes that wait for you: what each would change, computed by
the daemon from the real files, and for how long it still waits. A write runs
after your word, once, and only if it is still exactly the change you saw.

Without a command it opens the console, where you read a change and decide on it;
? there shows the keys. --plain does the same in sentences and line prompts, for
screen readers. Without a terminal it says what waits and how to decide.

An ID may be shortened to its last characters, as lists show it. A digest may be
shortened to its first 12 digits; it ties your word to what you saw.

Lists are tables on a terminal and lines of tab-separated values in a pipe; the
columns there are id, status, tier, seconds left, server, tool, summary, digest,
run. --json prints everything.

Exit codes: 0 done, 1 error, 2 usage, 3 daemon not reachable, 4 refused (already
decided, expired, digest differs, not permitted), 5 no such approval, 8 something
is pending (with --exit-status).`,
		Example: `  approve                                           the console
  approve --list                                    what waits
  approve show 4x7k2mqa                             the change, in full
  approve allow 4x7k2mqa --digest 9f86d081884c --reason "as discussed"
  approve deny 4x7k2mqa --reason "wrong branch: use feature/tax"
  approve --list --json=id,server,tool,summary | jq .
  approve --list --watch --json                     one object per line, as things change
  approve --count --status pending,unknown
  approve --list --exit-status >/dev/null; [ $? -eq 8 ] && echo "something waits"`,
		Version:       version.Number,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(c, "there is no command %q%s", args[0], suggestion(c, args[0]))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(c); err != nil {
				return err
			}
			if !o.list {
				return a.console(c.Context(), plain)
			}
			return a.list(c.Context(), o)
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("approve {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, "%w", err) })
	root.CompletionOptions.HiddenDefaultCmd = false
	root.PersistentFlags().BoolVar(&a.noAutostart, "no-autostart", false, "do not start the daemon if none answers")
	o.flags(a, root)
	root.Flags().BoolVar(&plain, "plain", false, "the console as sentences and line prompts, for screen readers")
	root.AddGroup(&cobra.Group{ID: "decide", Title: "Deciding:"}, &cobra.Group{ID: "look", Title: "Looking:"}, &cobra.Group{ID: "other", Title: "Other:"})
	for group, commands := range map[string][]*cobra.Command{
		"decide": {a.allow(), a.deny(), a.settle(), a.undo()},
		"look":   {a.show(), a.log(), a.stats()},
		"other":  {a.pause(), a.resume(), a.ack(), a.approvers()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	return root
}

func suggestion(c *cobra.Command, word string) string {
	switch word { // flags that look like commands
	case "list", "ls", "pending", "waiting":
		return `; did you mean "approve --list"?`
	case "watch":
		return `; did you mean "approve --list --watch"?`
	case "count":
		return `; did you mean "approve --count"?`
	}
	if s := c.SuggestionsFor(word); len(s) > 0 {
		return fmt.Sprintf("; did you mean %q?", s[0])
	}
	return ""
}
