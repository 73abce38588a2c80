// Package mcpguard is the command line of the program that clients start in
// place of a server ("stdio") and as a hook ("hook"). Clients wait for it at
// each start and before each tool call, so it links nothing that is slow to
// initialise; a test lists what it links. The commands are implemented in
// package shim. Setup and explanations are commands of mcpguardd.
package mcpguard

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/sandbox"
	"github.com/mcpguard/mcpguard/internal/shim"
	"github.com/mcpguard/mcpguard/internal/version"
)

// Command is one run of the program.
type Command struct {
	Args    []string // without the program's name
	In, Out *os.File
	Err     io.Writer
	// Daemon is the program that starts the daemon. If empty, it is the
	// mcpguardd beside this program, or else the one in PATH.
	Daemon string
}

// Exit codes beside those of package shim.
const (
	exitDone  = 0
	exitUsage = 2 // for a hook: the tool does not run
)

const usage = `mcpguard connects a client to the guard's daemon; mcpguardd sets it up.

  mcpguard stdio SERVER [--as NAME] [--no-autostart]
      what a client starts in the place of the server SERVER. --as is the client's
      name for it, where it is another and the client's hooks ask the guard;
      --no-autostart starts no daemon where none answers.

  mcpguard hook pre|post [--timeout SECONDS]
      what a client's hooks run. "pre" answers PreToolUse: it waits until the call
      is allowed or approved, and denies where nobody decides in time, the daemon
      cannot be reached or its answer does not come. "post" takes every other
      event and never stands in the client's way. "mcpguardd hooks install" writes
      both into the client's settings.

  mcpguard result TOKEN
      what the guard gives a client in the place of a command that it has run in a
      sandbox: lands what the command changes, prints what it printed, and ends as
      it ended. The token is of use to the client that got it, and lands once.
`

// Main runs one command and returns the exit code.
func Main(c Command) int {
	if code, handled := sandbox.Main(append([]string{"mcpguard"}, c.Args...)); handled {
		return code
	}
	began := time.Now()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	name := ""
	if len(c.Args) > 0 {
		name = c.Args[0]
	}
	switch name {
	case "stdio":
		return c.stdio(ctx, c.Args[1:])
	case "hook":
		return c.hook(ctx, began, c.Args[1:])
	case "result":
		return c.result(ctx, c.Args[1:])
	case "--version", "-v", "version":
		fmt.Fprintln(c.Out, "mcpguard "+version.Number)
		return exitDone
	case "--help", "-h", "help":
		io.WriteString(c.Out, usage)
		return exitDone
	}
	return c.misused(errors.New("the first argument is stdio, hook or result"))
}

func (c Command) stdio(ctx context.Context, args []string) int {
	cfg := shim.Config{Version: version.Number, In: c.In, Out: c.Out, Err: c.Err}
	flags := flag.NewFlagSet("stdio", flag.ContinueOnError)
	flags.StringVar(&cfg.As, "as", "", "")
	alone := flags.Bool("no-autostart", false, "")
	words, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(c.Out, usage)
		return exitDone
	case err == nil && (len(words) != 1 || words[0] == ""):
		err = errors.New("stdio takes the name of a server")
	}
	if err != nil {
		return c.misused(err)
	}
	cfg.Server = words[0]
	if cfg.Paths, err = ipc.DefaultPaths(); err != nil {
		return shim.Fail(ctx, cfg, err)
	}
	if !*alone {
		cfg.Autostart = c.start(cfg.Paths)
	}
	return shim.Run(ctx, cfg)
}

// Used if the settings give no time. Claude Code gives a hook 600 s and lets
// an allow-listed tool run after that, so the reply must come earlier. A
// report is worth less than the client's time.
const (
	questionTime = 590 * time.Second
	reportTime   = 10 * time.Second
)

func (c Command) hook(ctx context.Context, began time.Time, args []string) int {
	flags := flag.NewFlagSet("hook", flag.ContinueOnError)
	seconds := flags.Int("timeout", 0, "")
	words, err := parse(flags, args)
	given := false
	flags.Visit(func(*flag.Flag) { given = true })
	cfg := shim.HookConfig{Version: version.Number, In: c.In, Out: c.Out, Err: c.Err}
	switch {
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(c.Out, usage)
		return exitDone
	case err != nil:
	case len(words) != 1:
		err = errors.New(`hook takes "pre" or "post"`)
	case words[0] == "pre":
		cfg.Kind, cfg.Deadline = ipc.HookPre, began.Add(questionTime)
	case words[0] == "post":
		cfg.Kind, cfg.Deadline = ipc.HookPost, began.Add(reportTime)
	default:
		err = fmt.Errorf("%q is no kind of hook; write pre or post", words[0])
	}
	if err == nil && given {
		if *seconds < 1 || *seconds > 1e6 {
			err = errors.New("--timeout takes a number of seconds")
		}
		cfg.Deadline = began.Add(time.Duration(*seconds) * time.Second)
	}
	if err != nil {
		return c.misused(err)
	}
	if cfg.Paths, err = ipc.DefaultPaths(); err != nil {
		return c.misused(fmt.Errorf("finding the guard's folders: %w", err))
	}
	cfg.Autostart = c.start(cfg.Paths)
	return shim.Hook(ctx, cfg)
}

// result prints the result of a command.
func (c Command) result(ctx context.Context, args []string) int {
	words, err := parse(flag.NewFlagSet("result", flag.ContinueOnError), args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(c.Out, usage)
		return exitDone
	case err == nil && (len(words) != 1 || words[0] == ""):
		err = errors.New("result takes the token that the guard has given")
	}
	if err != nil {
		return c.misused(err)
	}
	paths, err := ipc.DefaultPaths()
	if err != nil {
		return c.misused(fmt.Errorf("finding the guard's folders: %w", err))
	}
	return shim.Result(ctx, shim.HookConfig{Paths: paths, Version: version.Number, In: c.In, Out: c.Out, Err: c.Err, Autostart: c.start(paths)}, words[0])
}

// start returns the function that starts the daemon.
func (c Command) start(p ipc.Paths) func(context.Context) error {
	return func(ctx context.Context) error {
		exe := c.Daemon
		if exe == "" {
			var err error
			if exe, err = shim.FindDaemon(); err != nil {
				return err
			}
		}
		return shim.StartDaemon(ctx, p, exe)
	}
}

// misused reports an invalid command line. Its exit code also denies, so that
// a misconfigured hook lets nothing run.
func (c Command) misused(err error) int {
	fmt.Fprintf(c.Err, "mcpguard: %s\nsee: mcpguard --help\n", strings.TrimSpace(err.Error()))
	return exitUsage
}

// parse reads flags at any position among the arguments.
func parse(flags *flag.FlagSet, args []string) (words []string, err error) {
	flags.SetOutput(io.Discard)
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return words, nil
		}
		words = append(words, flags.Arg(0))
		args = flags.Args()[1:]
	}
}
