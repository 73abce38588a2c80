package daemon

import (
	"context"
	"io"
	"log/slog"

	"gopkg.in/natefinch/lumberjack.v2"
)

// Bounds of the log: a file is rotated at 10 MiB, four old ones are kept for
// at most 30 days.
const (
	logMegabytes = 10
	logBackups   = 4
	logDays      = 30
)

// openLog returns a logger into a rotated file, redacted. The caller closes it.
func openLog(path string, clean func([]byte) []byte) (*slog.Logger, io.Closer) {
	file := &lumberjack.Logger{Filename: path, MaxSize: logMegabytes, MaxBackups: logBackups, MaxAge: logDays}
	w := &cleanWriter{to: file, clean: clean}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo})), file
}

// cleanWriter redacts each record as a whole: slog's handlers write one record
// a call, under a lock.
type cleanWriter struct {
	to    io.Writer
	clean func([]byte) []byte
}

func (w *cleanWriter) Write(p []byte) (int, error) {
	if _, err := w.to.Write(w.clean(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// tee sends records to two handlers: the file, and standard error where the
// daemon runs in the foreground.
type tee struct{ a, b slog.Handler }

func (t tee) Enabled(ctx context.Context, l slog.Level) bool {
	return t.a.Enabled(ctx, l) || t.b.Enabled(ctx, l)
}

func (t tee) Handle(ctx context.Context, r slog.Record) error {
	if t.b.Enabled(ctx, r.Level) {
		_ = t.b.Handle(ctx, r.Clone()) // standard error may be gone; the file decides
	}
	return t.a.Handle(ctx, r)
}

func (t tee) WithAttrs(as []slog.Attr) slog.Handler { return tee{t.a.WithAttrs(as), t.b.WithAttrs(as)} }
func (t tee) WithGroup(n string) slog.Handler       { return tee{t.a.WithGroup(n), t.b.WithGroup(n)} }
