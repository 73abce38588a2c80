package mcpguardd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/daemon"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/version"
)

func (a *app) serve() *cobra.Command {
	var detached bool
	c := &cobra.Command{
		Use:     "serve",
		Short:   "run the daemon in the foreground",
		Long:    "Runs the daemon until it is stopped. Shims and approve start one by themselves where none runs.",
		GroupID: "run",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			ipc.CloseInherited()
			p, err := paths()
			if err != nil {
				return err
			}
			cfg := daemon.Config{Paths: p, Version: version.Number}
			if detached {
				cfg.Ready = func(err error) { _ = ipc.SignalReady(err) } // whoever waits may have gone
			} else {
				cfg.Stderr = a.err
				cfg.Ready = func(err error) {
					if err == nil {
						fmt.Fprintf(a.err, "mcpguardd %s is ready in %s; stop it with Ctrl-C\n", version.Number, p.State)
					}
				}
			}
			err = daemon.Run(c.Context(), cfg)
			if errors.Is(err, store.ErrLocked) && !detached {
				return fmt.Errorf("a guard daemon runs in %s already; see `mcpguardd status`, or end it with `mcpguardd stop`: %w", p.State, err)
			}
			return err
		},
	}
	c.Flags().BoolVar(&detached, "detached", false, "")
	_ = c.Flags().MarkHidden("detached") // for shim.StartDaemon alone
	return c
}

// stopWait is how long `stop` waits for the daemon to record how things ended.
const stopWait = 20 * time.Second

func (a *app) stop() *cobra.Command {
	return &cobra.Command{
		Use:     "stop",
		Short:   "end the daemon; calls that wait are cancelled, approved ones stay until they lapse",
		GroupID: "run",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := paths()
			if err != nil {
				return err
			}
			conn, err := ipc.Dial(c.Context(), p.ApproverSocket())
			if err != nil {
				return coded(exitUnreachable, err)
			}
			defer conn.Close()
			peer, err := ipc.PeerOf(conn)
			if err != nil {
				return err
			}
			defer peer.Close()
			if err := syscall.Kill(peer.PID, syscall.SIGTERM); err != nil {
				return fmt.Errorf("ending the daemon (process %d): %w", peer.PID, err)
			}
			// The listener's socket goes with the process: the connection ends then.
			if err := waitClosed(c.Context(), conn, stopWait); err != nil {
				return fmt.Errorf("the daemon (process %d) has not ended yet: %w", peer.PID, err)
			}
			fmt.Fprintln(a.out, "stopped")
			return nil
		},
	}
}

// waitClosed returns when the other side has closed conn.
func waitClosed(ctx context.Context, conn interface {
	io.Reader
	SetReadDeadline(time.Time) error
}, limit time.Duration) error {
	if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	_, err := io.Copy(io.Discard, conn)
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("waited %s", limit)
	}
	return err
}
