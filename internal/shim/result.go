package shim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// exitNoOutcome is the exit code if there is no outcome.
const exitNoOutcome = 1

// presentations is how often a token is presented if the daemon goes away
// before it answers. That is safe: a command lands once.
const presentations = 3

// settles bounds the wait for the daemon to note that the outcome was printed.
const settles = 2 * time.Second

// outcome is the daemon's answer about a command; see package clienttools.
type outcome struct {
	Exit   int `json:"exit_code"`
	Signal int `json:"signal"`
	Output []struct {
		Stderr bool   `json:"stderr"`
		Text   string `json:"text"`
	} `json:"output"`
	Truncated bool   `json:"truncated"`
	Refused   string `json:"refused"`
}

// Result presents a token to the daemon, prints the outcome of the command
// that it stands for, and returns the exit code of that command. It waits as
// long as the daemon does. If the daemon goes away, it asks the next one,
// which it starts if it may.
func Result(ctx context.Context, cfg HookConfig, token string) int {
	cfg.Kind = ipc.HookResult
	for n := 1; ; n++ {
		p, err := present(ctx, cfg, token)
		switch {
		case err == nil:
			return p.show(cfg)
		case errors.Is(err, errNotReached) && n == 1:
			fmt.Fprintf(cfg.Err, "mcpguard: %v, so this line has done nothing; make the call again, with the command itself\n", err)
			return exitNoOutcome
		case errors.Is(err, errNotReached), ctx.Err() != nil, n == presentations:
			fmt.Fprintf(cfg.Err, "mcpguard: the guard did not say what came of the command; read the files before you go on: %v\n", err)
			return exitNoOutcome
		}
	}
}

var errNotReached = errors.New("the guard daemon cannot be reached")

// presented is a token that the daemon has answered.
type presented struct {
	outcome outcome
	conn    io.Closer
	in, out *os.File // pipes to and from the daemon
	unhook  func() bool
}

func (p *presented) close() {
	p.unhook()
	p.in.Close()
	p.out.Close()
	p.conn.Close()
}

// present asks the daemon what a token stands for.
func present(ctx context.Context, cfg HookConfig, token string) (*presented, error) {
	conn, err := (&hook{cfg: cfg}).reach(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotReached, err)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		conn.Close()
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		conn.Close()
		theirIn.Close()
		in.Close()
		return nil, err
	}
	p := &presented{conn: conn, in: in, out: out}
	p.unhook = context.AfterFunc(ctx, func() { conn.Close(); out.Close(); in.Close() })
	w, err := ipc.Offer(ctx, conn, ipc.NewHello(cfg.Kind, cfg.Version), theirIn, theirOut)
	theirIn.Close()
	theirOut.Close()
	if err == nil && !w.OK {
		err = errors.New(w.Error)
	}
	if err == nil {
		_, err = io.WriteString(in, token+"\n")
	}
	var answer []byte
	if err == nil {
		answer, err = bufio.NewReader(out).ReadBytes('\n') // without a newline it is not whole
	}
	if err == nil {
		err = json.Unmarshal(answer, &p.outcome)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// show prints an outcome, tells the daemon so, and returns the exit code.
func (p *presented) show(cfg HookConfig) int {
	defer p.close()
	code, err := p.outcome.print(cfg.Out, cfg.Err)
	if err != nil {
		return exitNoOutcome // the next hook tells the model
	}
	_ = p.out.SetReadDeadline(time.Now().Add(settles))
	if _, err := io.WriteString(p.in, ipc.ResultPrinted+"\n"); err == nil {
		_, _ = io.Copy(io.Discard, p.out) // ends when the daemon has noted it, or is gone
	}
	return code
}

// print prints an outcome and returns the exit code that the command had.
func (o outcome) print(stdout, stderr io.Writer) (code int, err error) {
	if o.Refused != "" {
		_, err := fmt.Fprintln(stderr, o.Refused)
		return exitNoOutcome, err
	}
	for _, p := range o.Output {
		out := stdout
		if p.Stderr {
			out = stderr
		}
		if _, err := io.WriteString(out, p.Text); err != nil {
			return exitNoOutcome, err
		}
	}
	if o.Truncated {
		if _, err := fmt.Fprintln(stderr, "mcpguard: its output was cut"); err != nil {
			return exitNoOutcome, err
		}
	}
	if o.Signal != 0 {
		return 128 + o.Signal, nil
	}
	return o.Exit, nil
}
