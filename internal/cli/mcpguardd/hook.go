package mcpguardd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/shim"
	"github.com/mcpguard/mcpguard/internal/version"
)

// Bounds of a hook. Claude Code gives a hook 600 s where its settings say
// nothing, and lets an allow-listed tool run when that time is over: the answer
// has to come before.
const (
	hookTimeout = 590 * time.Second
	hookStart   = 15 * time.Second // for a daemon to be started
)

// exitHookDeny makes the client not run the tool, and shows it what stands on
// standard error.
const exitHookDeny = 2

// hook is the ordinary way of the command. Where a daemon answers,
// internal/shim/express has asked it before it came to this.
func (a *app) hook() *cobra.Command {
	c := &cobra.Command{
		Use:   "hook pre|post",
		Short: "what the client's hooks run: ask before one of its own tools, report afterwards",
		Long: `Reads a hook's input from standard input. "pre" answers PreToolUse: it waits until the
call is allowed or approved, and denies where nobody decides in time, the daemon cannot
be reached or its answer does not come. "post" takes every other event and never stands
in the client's way. "mcpguardd hooks install" writes both into the client's settings.`,
		GroupID: "run",
		Args:    exactly(1, `"pre" or "post"`),
	}
	seconds := c.Flags().Int("timeout", int(hookTimeout/time.Second), "seconds after which the answer is no; less than what the client's settings give the hook")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case *seconds < 1:
			return coded(exitUsage, errors.New("--timeout takes a number of seconds"))
		case args[0] == "post":
			ctx, cancel := context.WithTimeout(c.Context(), hookStart)
			defer cancel()
			_ = a.askDaemon(ctx, ipc.HookPost, false) // a report that is lost is settled by reading back
			return nil
		case args[0] != "pre":
			return coded(exitUsage, fmt.Errorf("%q is no kind of hook; write pre or post", args[0]))
		}
		ctx, cancel := context.WithTimeout(c.Context(), time.Duration(*seconds)*time.Second)
		defer cancel()
		err := a.askDaemon(ctx, ipc.HookPre, true)
		if err == nil {
			return nil
		}
		// fail closed: whatever went wrong, the tool does not run
		if ctx.Err() != nil {
			err = errors.New("nobody decided before the client's own timeout, so the call was not allowed; ask the user, then make it again")
		}
		return coded(exitHookDeny, err)
	}
	return c
}

// askDaemon hands the hook's input to the daemon and writes its answer. Without
// an error a question has its whole answer on standard output.
func (a *app) askDaemon(ctx context.Context, kind string, start bool) error {
	p, err := paths()
	if err != nil {
		return err
	}
	input, err := io.ReadAll(io.LimitReader(a.in, hook.MaxInput+1))
	if err != nil {
		return fmt.Errorf("reading the hook's input: %w", err)
	}
	conn, err := ipc.Dial(ctx, p.AgentSocket())
	if errors.Is(err, ipc.ErrNoDaemon) && start {
		exe, xerr := os.Executable()
		if xerr != nil {
			return xerr
		}
		begin, cancel := context.WithTimeout(ctx, hookStart)
		err = shim.StartDaemon(begin, p, exe)
		cancel()
		if err == nil {
			conn, err = ipc.Dial(ctx, p.AgentSocket())
		}
	}
	if err != nil {
		return fmt.Errorf("the guard daemon cannot be reached, so this call was not allowed: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	inR, inW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return err
	}
	defer outR.Close()
	go func() { // ends when the daemon has read it, or has closed its end
		defer inW.Close()
		_, _ = inW.Write(input)
	}()
	w, err := ipc.Offer(ctx, conn, ipc.NewHello(kind, version.Number), inR, outW)
	inR.Close()
	outW.Close()
	if err != nil {
		return err
	}
	if !w.OK {
		return errors.New(w.Error)
	}
	if !w.Await(conn, func(line string) { fmt.Fprintln(a.err, line) }) {
		return errors.New("the guard daemon went away while this call waited, so it was not allowed; make it again")
	}
	answer, err := io.ReadAll(outR)
	if err != nil {
		return fmt.Errorf("reading the guard's answer: %w", err)
	}
	if kind == ipc.HookPre && len(answer) == 0 {
		return errors.New("the guard gave no answer, so the call was not allowed; make it again")
	}
	if _, err := a.out.Write(answer); err != nil {
		return fmt.Errorf("answering the client: %w", err)
	}
	return nil
}
