package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// EnvReady names the variable in which a daemon finds the descriptor on which
// it reports that it is ready.
const EnvReady = "MCPGUARD_READY_FD"

const (
	readyWord  = "ready"
	failedWord = "failed: "
	maxReady   = 8 << 10 // bytes of a report
)

// SignalReady reports to the process that started this daemon that it is ready
// or, with an error, why it is not; the user sees the text of the error
// unchanged. It does nothing if no process waits. It closes the descriptor and
// removes the variable, so a second call does nothing. Call it before starting
// any other process, which would inherit the descriptor.
func SignalReady(failure error) error {
	v, ok := os.LookupEnv(EnvReady)
	if !ok {
		return nil
	}
	os.Unsetenv(EnvReady)
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 || !isPipe(fd) {
		return fmt.Errorf("%s=%q is not the descriptor of a pipe", EnvReady, v)
	}
	f := os.NewFile(uintptr(fd), "ready")
	report := readyWord
	if failure != nil {
		report = failedWord + strings.TrimSpace(failure.Error())
	}
	_, err = f.WriteString(report[:min(len(report), maxReady)] + "\n")
	return errors.Join(err, f.Close())
}

func isPipe(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// ErrNotReady is wrapped by AwaitReady when the daemon ended without a report.
var ErrNotReady = errors.New("it ended before it was ready")

// AwaitReady reads a daemon's report from the reading end of its pipe. The
// error is the daemon's own sentence, or wraps ErrNotReady or ctx's error.
func AwaitReady(ctx context.Context, r *os.File) error {
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	b, err := io.ReadAll(io.LimitReader(r, maxReady+int64(len(failedWord))))
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for the guard daemon to be ready: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("waiting for the guard daemon to be ready: %w", err)
	}
	report := strings.TrimSpace(string(b))
	if report == readyWord {
		return nil
	}
	if text, ok := strings.CutPrefix(report, failedWord); ok {
		return errors.New(text)
	}
	return ErrNotReady
}
