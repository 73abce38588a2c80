//go:build unix

package config

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// TestPipeIsRefusedWithoutBlocking: a pipe is refused even if nobody writes to it.
func TestPipeIsRefusedWithoutBlocking(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ReadFile(path)
	var refused *PermissionError
	if !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	if _, err := Load(path); !errors.As(err, &refused) {
		t.Errorf("loading it: %v", err)
	}
}
