package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// outcome serves a substitute line: a token comes in, the outcome goes out, and
// the process says that it has printed it. What it does not say counts as not
// told to the model.
func (d *daemon) outcome(ctx context.Context, h *ipc.Handover) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the line's process, at the latest when the handover is closed
		<-h.Done()
		cancel()
	}()
	_ = h.In.SetReadDeadline(time.Now().Add(hookTimeout)) // on an error there is no deadline; the waiting process then ends it
	in := bufio.NewReaderSize(h.In, maxToken)
	o, printed := clienttools.Outcome{Refused: lineUnknown}, func() {}
	if token, err := in.ReadSlice('\n'); err == nil {
		o, printed = d.fetch(ctx, h, strings.TrimSpace(string(token)))
	}
	answer, err := json.Marshal(o)
	if err != nil || ctx.Err() != nil {
		return
	}
	_ = h.Out.SetWriteDeadline(time.Now().Add(hookTimeout))
	if _, err := h.Out.Write(append(answer, '\n')); err != nil {
		return
	}
	// The client may read slowly, or not at all; the process waits for it.
	_ = h.In.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = h.In.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if line, err := in.ReadSlice('\n'); err == nil && string(line) == ipc.ResultPrinted+"\n" {
		printed() // else the next hook tells
	}
}

// fetch looks up a token in the sessions of the clients that the process
// descends from, then in the store, and nowhere else.
func (d *daemon) fetch(ctx context.Context, h *ipc.Handover, token string) (o clienttools.Outcome, printed func()) {
	var runs []*clientToolsRun
	d.natives.mu.Lock()
	for _, p := range slices.Concat([]ipc.Proc{h.Client}, h.Wrappers, h.Ancestors) {
		if r := d.natives.clients[p.Ref()]; r != nil {
			runs = append(runs, d.natives.runs[r.RunID]...)
		}
	}
	d.natives.mu.Unlock()
	for _, r := range runs {
		o, err := r.tools.Fetch(ctx, token)
		switch {
		case err == nil:
			return o, func() { r.tools.Printed(token) }
		case !errors.Is(err, clienttools.ErrToken):
			return clienttools.Outcome{Refused: "mcpguard: " + err.Error()}, func() {}
		}
	}
	return d.keptOutcome(h, digest.Sum([]byte(token)))
}
