package ipc

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// announce gives this process a descriptor to report on, as a starter would,
// and returns the reading end.
func announce(t *testing.T) *os.File {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	t.Setenv(EnvReady, strconv.Itoa(fds[1]))
	r := os.NewFile(uintptr(fds[0]), "ready")
	t.Cleanup(func() { r.Close() })
	return r
}

func TestReadyReports(t *testing.T) {
	for _, failure := range []error{nil, errors.New("the configuration is broken:\n line 3")} {
		r := announce(t)
		if err := SignalReady(failure); err != nil {
			t.Fatal(err)
		}
		err := AwaitReady(t.Context(), r)
		if (err == nil) != (failure == nil) || err != nil && err.Error() != failure.Error() {
			t.Errorf("reported %v, understood %v", failure, err)
		}
		if _, ok := os.LookupEnv(EnvReady); ok {
			t.Error("the variable stays")
		}
		if err := SignalReady(nil); err != nil {
			t.Errorf("the second report: %v", err)
		}
	}
}

func TestReadyWithoutAReport(t *testing.T) {
	r, w := pipe(t)
	w.Close()
	if err := AwaitReady(t.Context(), r); !errors.Is(err, ErrNotReady) {
		t.Errorf("got %v", err)
	}
	r, _ = pipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := AwaitReady(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestReadyDoesNotWriteElsewhere: a stray variable must not make a daemon
// write to whatever has that number.
func TestReadyDoesNotWriteElsewhere(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, v := range []string{"1", "-1", "x", "", strconv.Itoa(int(f.Fd())), "9999"} {
		t.Setenv(EnvReady, v)
		if err := SignalReady(nil); err == nil || !strings.Contains(err.Error(), EnvReady) {
			t.Errorf("%q: %v", v, err)
		}
	}
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("something was written: %v, %v", info.Size(), err)
	}
}
