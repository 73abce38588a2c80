package daemon

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/mcpguard/mcpguard/internal/clock"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// hookedClock calls then each time it is asked for the time.
type hookedClock struct {
	clock.Clock
	then func()
}

func (c hookedClock) Now() guard.Now {
	c.then()
	return c.Clock.Now()
}

// TestAChangeDuringTheStartIsNoticed changes the configuration right after a
// starting daemon has read it.
func TestAChangeDuringTheStartIsNoticed(t *testing.T) {
	home := t.TempDir()
	paths := ipc.Paths{Config: home, State: filepath.Join(home, "s")}
	inForce := filepath.Join(paths.State, "policy-in-force")
	kept := filepath.Join(inForce, filepath.Base(paths.ConfigFile()))
	const before, after = "version: 1\nroots: [/]\n", "version: 1\nroots: [/tmp]\n"
	if err := os.WriteFile(paths.ConfigFile(), []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	change := func() {
		if _, err := os.Stat(kept); err != nil {
			return // it has not been read yet
		}
		once.Do(func() {
			if err := os.WriteFile(paths.ConfigFile(), []byte(after), 0o600); err != nil {
				t.Error(err)
			}
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan error, 1), make(chan error, 1)
	go func() { // ends with ctx
		ended <- Run(ctx, Config{Paths: paths, Version: "test", Clock: hookedClock{clock.System(), change}, Ready: func(err error) { ready <- err }})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(inForce); err != nil {
		t.Fatal(err)
	}
	for late := time.After(20 * time.Second); ; {
		if b, err := os.ReadFile(kept); err == nil && bytes.Equal(b, []byte(after)) {
			return
		}
		select {
		case <-w.Events:
		case <-late:
			t.Fatal("the changed configuration never came into force")
		}
	}
}

// TestTheCopyIsOfWhatWasRead: a file that changes while it is read leaves no
// copy, so the next start reports everything allowed then as new.
func TestTheCopyIsOfWhatWasRead(t *testing.T) {
	home := t.TempDir()
	paths := ipc.Paths{Config: home, State: filepath.Join(home, "s")}
	d := &daemon{cfg: Config{Paths: paths}, log: slog.New(slog.DiscardHandler)}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(paths.ConfigFile(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() string {
		b, err := os.ReadFile(d.lastPolicy().ConfigFile())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		return string(b)
	}
	write("version: 1\n")
	files := d.policyFiles()
	if d.keepLast(files); kept() != "version: 1\n" {
		t.Errorf("kept %q", kept())
	}
	write("version: 1\nroots: [/]\n")
	if d.keepLast(files); kept() != "" {
		t.Errorf("kept %q, which may not be what was read", kept())
	}
	if d.keepLast(d.policyFiles()); kept() != "version: 1\nroots: [/]\n" {
		t.Errorf("kept %q", kept())
	}
}
