package mcpguardd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/clock"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/store"
)

func (a *app) audit() *cobra.Command {
	c := &cobra.Command{
		Use:     "audit",
		Short:   "verify or export the audit log",
		GroupID: "look",
		Args:    noCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.auditVerify(), a.auditExport())
	return c
}

func (a *app) auditVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "recompute every hash of the log; exit 1 if a record was changed, dropped, moved or cut off",
		Args:  exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := withLog(c.Context(), func(l auditLog) (audit.Report, error) { return l.Verify(c.Context()) })
			if err != nil {
				return err
			}
			if !r.OK() {
				return fmt.Errorf("the audit log does NOT verify: %s", verdict(r))
			}
			fmt.Fprintf(a.out, "verified  %d records\n", r.Size)
			return a.printLogAlerts(c.Context())
		},
	}
}

// printLogAlerts prints the open alerts about the log as a whole: a log from
// which the last records were taken away, or that an older one replaced, may
// verify by itself.
func (a *app) printLogAlerts(ctx context.Context) error {
	p, err := paths()
	if err != nil {
		return err
	}
	api := control(p)
	defer api.Close()
	alerts, err := api.Alerts(ctx, false)
	if errors.Is(err, ipc.ErrNoDaemon) {
		return nil // the file was compared with its head
	}
	if err != nil {
		return reached(err)
	}
	for _, v := range alerts {
		if v.Kind == store.AlertRolledBack || v.Kind == store.AlertHeadMissing || v.Kind == store.AlertKeyChanged || v.Kind == store.AlertJournalMissing {
			fmt.Fprintf(a.out, "ALERT     %s\n          to acknowledge it: approve ack %s\n", safetext.Text(v.Text), v.ID)
		}
	}
	return nil
}

// verdict describes what is wrong with a log.
func verdict(r audit.Report) string {
	if r.Problem == "" {
		return fmt.Sprintf("calls ended more than once, or without having been asked for: %s", strings.Join(r.Twice, ", "))
	}
	return r.Problem
}

func (a *app) auditExport() *cobra.Command {
	var from int64
	c := &cobra.Command{
		Use:   "export",
		Short: "print the log, one JSON object per line, as it was hashed",
		Args:  exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := withLog(c.Context(), func(l auditLog) (struct{}, error) { return struct{}{}, l.Export(c.Context(), a.out, from) })
			return err
		},
	}
	c.Flags().Int64Var(&from, "from", 0, "begin at the record with this index")
	return c
}

// auditLog is the log, read through the daemon or from its file.
type auditLog interface {
	Verify(ctx context.Context) (audit.Report, error)
	Export(ctx context.Context, w io.Writer, from int64) error
	Records(ctx context.Context, run guard.RunID) ([]audit.Event, error)
}

// withLog opens the log: through a running daemon, which holds the database,
// otherwise from the file.
func withLog[T any](ctx context.Context, use func(auditLog) (T, error)) (out T, err error) {
	p, err := paths()
	if err != nil {
		return out, err
	}
	api := control(p)
	defer api.Close()
	if _, err := api.Status(ctx); err == nil {
		return use(remoteLog{api})
	} else if !errors.Is(err, ipc.ErrNoDaemon) {
		return out, reached(err)
	}
	if _, err := os.Lstat(p.DB()); errors.Is(err, fs.ErrNotExist) {
		return out, fmt.Errorf("there is no audit log: %s does not exist; it is made when the daemon starts for the first time, and if it did, look where the file went before you start it again", p.DB())
	}
	l, err := store.OpenLog(store.Options{Path: p.DB(), Clock: clock.System()})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return use(fileLog{l})
}

type fileLog struct{ *store.Log }

func (l fileLog) Records(_ context.Context, run guard.RunID) ([]audit.Event, error) {
	var out []audit.Event
	for from := int64(0); ; {
		page, err := l.Events(store.EventFilter{From: from, Run: run})
		if err != nil || len(page) == 0 {
			return out, err
		}
		for _, r := range page {
			out = append(out, r.Event)
		}
		from = page[len(page)-1].Index + 1
	}
}

// reached gives the client's error for a missing daemon an exit code.
func reached(err error) error {
	switch {
	case errors.Is(err, client.ErrUnreachable) && !errors.Is(err, ipc.ErrNoDaemon):
		return coded(exitUnreachable, err) // the daemon runs, and says why it cannot serve
	case errors.Is(err, client.ErrUnreachable):
		return coded(exitUnreachable, fmt.Errorf("%w; start it with `mcpguardd serve`, or let a client start it", ipc.ErrNoDaemon))
	}
	return err
}

func (a *app) replay() *cobra.Command {
	return &cobra.Command{
		Use:     "replay RUN",
		Short:   "what a run of the agent did, call by call, from the audit log",
		Long:    "Prints every record of one run in order: what it asked, what was decided and why, what became of it.",
		GroupID: "look",
		Args:    exactly(1, "the id of a run"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := guard.CheckID(guard.RunPrefix, args[0]); err != nil {
				return coded(exitUsage, err)
			}
			events, err := withLog(c.Context(), func(l auditLog) ([]audit.Event, error) { return l.Records(c.Context(), guard.RunID(args[0])) })
			if err != nil {
				return err
			}
			if len(events) == 0 {
				return fmt.Errorf("the log has no record of %s; `approve log` shows the runs that it has", args[0])
			}
			start := events[0].Timestamp
			for _, e := range events {
				fmt.Fprintf(a.out, "%10s  %-22s %s\n", "+"+e.Timestamp.Sub(start).Round(time.Millisecond).String(), e.Event, replayLine(e))
			}
			return nil
		},
	}
}

// replayLine describes a record in one line.
func replayLine(e audit.Event) safetext.Line {
	var parts []safetext.Line
	add := func(l safetext.Line) {
		if l.String() == "" {
			return
		}
		if len(parts) > 0 {
			parts = append(parts, safetext.Text("  "))
		}
		parts = append(parts, l)
	}
	switch {
	case e.Tool.Name != "":
		add(safetext.Identity(e.Tool.Server + "/" + e.Tool.Name))
	case e.Tool.Server != "":
		add(safetext.Identity(e.Tool.Server))
	}
	add(safetext.Identity(string(e.Gates.ApprovalID)))
	add(safetext.Text(e.Verdict))
	add(safetext.Text(string(e.Status)))
	add(safetext.Text(string(e.Rule)))
	add(safetext.Text(e.Reason))
	return safetext.Concat(parts...)
}
