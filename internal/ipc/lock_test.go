package ipc

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestLockConfigKeepsOthersOut(t *testing.T) {
	home := t.TempDir()
	p := Paths{Config: home, State: home}
	release, err := p.LockConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.LockConfig(ctx); err == nil {
		t.Fatal("it was held twice")
	}
	held := make(chan error, 1)
	go func() { // ends once the first has let go
		again, err := p.LockConfig(t.Context())
		if err == nil {
			again()
		}
		held <- err
	}()
	select {
	case err := <-held:
		t.Fatalf("it was held twice: %v", err)
	default:
	}
	release()
	if err := <-held; err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(p.EditLock()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
}

func TestLockConfigDoesNotWaitForEver(t *testing.T) {
	home := t.TempDir()
	p := Paths{Config: home, State: home}
	release, err := p.LockConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, err = p.lockConfig(t.Context(), 10*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "another mcpguardd is changing the configuration") || !strings.Contains(err.Error(), "try again") {
		t.Errorf("got %v", err)
	}
}

func TestLockConfigFollowsNoLink(t *testing.T) {
	home := t.TempDir()
	p := Paths{Config: home, State: home}
	if err := os.Symlink("/etc/hostname", p.EditLock()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.LockConfig(t.Context()); err == nil || !strings.Contains(err.Error(), "changing the configuration") {
		t.Errorf("got %v", err)
	}
}
