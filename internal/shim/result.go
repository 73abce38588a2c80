package shim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// exitNoOutcome is the exit code if there is no outcome.
const exitNoOutcome = 1

// outcome is the daemon's answer about a command; see package clienttools.
type outcome struct {
	Exit      int    `json:"exit_code"`
	Signal    int    `json:"signal"`
	Text      string `json:"text"`
	Failure   bool   `json:"on_stderr"`
	Truncated bool   `json:"truncated"`
	Refused   string `json:"refused"`
}

// Result presents a token to the daemon, prints the outcome of the command
// that it stands for, and returns the exit code of that command. It waits as
// long as the daemon does.
func Result(ctx context.Context, cfg HookConfig, token string) int {
	cfg.Kind = ipc.HookResult
	h := &hook{cfg: cfg}
	refuse := func(why string) int {
		fmt.Fprintln(cfg.Err, why)
		return exitNoOutcome
	}
	conn, err := h.reach(ctx)
	if err != nil {
		return refuse("mcpguard: the guard daemon cannot be reached, so the command was not run: " + err.Error() + ". Make the call again with the command itself.")
	}
	defer conn.Close()
	answer, err := h.exchange(ctx, conn, []byte(token))
	if err == nil && len(answer) == 0 {
		err = ctx.Err()
	}
	var o outcome
	if err == nil {
		err = json.Unmarshal(answer, &o)
	}
	switch {
	case err != nil:
		return refuse("mcpguard: the guard did not say what came of the command; read the files before you go on: " + err.Error())
	case o.Refused != "":
		return refuse(o.Refused)
	}
	out := io.Writer(cfg.Out)
	if o.Failure {
		out = cfg.Err
	}
	if _, err := io.WriteString(out, o.Text); err != nil {
		return exitNoOutcome
	}
	if o.Truncated {
		fmt.Fprintln(cfg.Err, "mcpguard: its output was cut")
	}
	if o.Signal != 0 {
		return 128 + o.Signal
	}
	return o.Exit
}
