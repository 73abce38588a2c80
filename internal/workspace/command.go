package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/mcpguard/mcpguard/internal/effect"
)

// Commands runs and lands commands.
type Commands interface {
	// Land applies a captured run to the workspace, all or nothing, and
	// returns what the run printed. An error means that nothing changed.
	Land(ctx context.Context, record string) (CommandOutcome, error)
	// Run runs a command outside a sandbox.
	Run(ctx context.Context, c effect.CommandLine) (CommandOutcome, error)
}

// CommandOutcome is how a command ended and what it printed.
type CommandOutcome struct {
	Exit, Signal   int
	Stdout, Stderr string
	Text           string // both streams in order
	Truncated      bool
	Changes        int // number of changed paths, if known
}

const commandIn = `"command":{"type":"string","minLength":1,"maxLength":65536,"description":"A line for bash"}`

func commandTools() []tool {
	return []tool{
		{
			name: "run_command", title: "Run a command", kind: effect.Exec, destructive: true, run: (*Conn).runCommand,
			params: map[string]string{
				"command": "has(args.command) ? args.command : ''", "argv": "has(args.argv) ? args.argv : []",
				"folder": "has(args.folder) ? args.folder : ''",
			},
			about: "Run a command in the workspace: a line for bash, or the words of one program. It runs first where it can do no harm; what only reads answers at once, " +
				"what changes files waits until the developer has seen the changes and lets them happen. There is no network in there; a command that needs it waits for the developer, too. " +
				"Files that hold keys or credentials by their name, such as .env, are closed, and a command that opens one waits as well: leave them out (git grep, grep --exclude='.env*'). " +
				"Standard input is empty; nothing may be left running in the background.",
			input: object(nil, commandIn,
				`"argv":{"type":"array","minItems":1,"maxItems":1000,"items":{"type":"string","maxLength":65536},"description":"Instead of command: the program and its arguments, without a shell"}`,
				`"folder":{"type":"string","minLength":1,"maxLength":4096,"description":"Folder to run in, relative to the workspace folder; default: the workspace folder"}`,
				`"timeout_ms":{"type":"integer","minimum":1,"maximum":3600000,"description":"How long it may take; the guard's own limit holds as well"}`,
				`"description":{"type":"string","maxLength":1000,"description":"What it is for, for the developer"}`),
			output: object([]string{"stdout", "stderr", "truncated"},
				`"exit_code":{"type":"integer","description":"How it ended, unless by a signal"}`,
				`"signal":{"type":"integer","description":"The signal that ended it"}`,
				`"stdout":{"type":"string"}`, `"stderr":{"type":"string"}`,
				`"truncated":{"type":"boolean","description":"It printed more than is returned"}`,
				`"changes":{"type":"integer","description":"How many files and folders changed"}`),
		},
		{
			name: effect.UndoCommand, title: "Take back what a command changed", kind: effect.ExecUndo, own: true, destructive: true, run: (*Conn).undoCommand,
			params: map[string]string{"record": "args.record"},
			about:  "Take back what a command changed; the developer's console calls it.",
			input:  object([]string{"record"}, `"record":{"type":"string","minLength":1,"maxLength":64}`),
		},
	}
}

// errNotLookedAt refuses a command that the guard has not evaluated.
var errNotLookedAt = errors.New("this command was not looked at by the guard, so it does not run")

// runCommand lands the changes that the guard has seen the command make, or
// runs the command if a human has approved its text.
func (c *Conn) runCommand(ctx context.Context, call *call) (*mcp.CallToolResult, error) {
	if !call.told || c.commands == nil {
		return nil, errNotLookedAt // fail closed: no one has decided on it
	}
	var (
		o   CommandOutcome
		err error
	)
	if ran := effect.Ran(call.preview); ran != nil {
		o, err = c.commands.Land(ctx, call.preview.Record)
	} else {
		var args struct {
			Command string   `json:"command"`
			Argv    []string `json:"argv"`
			Folder  string   `json:"folder"`
			Time    float64  `json:"timeout_ms"`
		}
		if err := json.Unmarshal(call.args, &args); err != nil {
			return nil, err
		}
		o, err = c.commands.Run(ctx, effect.CommandLine{Line: args.Command, Argv: args.Argv, Folder: args.Folder, Roots: c.roots, Time: time.Duration(args.Time) * time.Millisecond})
	}
	if err != nil {
		return nil, err
	}
	return commandResult(o), nil
}

func (c *Conn) undoCommand(ctx context.Context, call *call) (*mcp.CallToolResult, error) {
	if !call.told || c.commands == nil || call.preview.Record == "" {
		return nil, errNotLookedAt // fail closed: no one has decided on it
	}
	o, err := c.commands.Land(ctx, call.preview.Record)
	if err != nil {
		return nil, err
	}
	return mcp.NewToolResultText(fmt.Sprintf("%d files and folders are as they were", o.Changes)), nil
}

func commandResult(o CommandOutcome) *mcp.CallToolResult {
	answer := map[string]any{"stdout": valid(o.Stdout), "stderr": valid(o.Stderr), "truncated": o.Truncated, "changes": o.Changes}
	var end string
	if o.Signal != 0 {
		answer["signal"] = o.Signal
		end = fmt.Sprintf("ended by signal %d", o.Signal)
	} else {
		answer["exit_code"] = o.Exit
		end = fmt.Sprintf("exit code %d", o.Exit)
	}
	text := valid(o.Text)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if o.Truncated {
		text += "(its output was cut)\n"
	}
	if o.Exit != 0 || o.Signal != 0 || text == "" {
		text += "(" + end + ")\n"
	}
	return mcp.NewToolResultStructured(answer, text)
}

// valid replaces what is not valid UTF-8, so that JSON can hold the text.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }
