package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDescriptorsOfTheDaemonReachNoServer: neither those that a daemon was
// started with, nor those of the client that started it.
func TestDescriptorsOfTheDaemonReachNoServer(t *testing.T) {
	for _, how := range []string{"serve", "stdio"} {
		t.Run(how, func(t *testing.T) {
			c := newClaude(t)
			listing, marker := filepath.Join(c.ws, "listing"), filepath.Join(c.ws, "marker")
			if err := syscall.Mkfifo(listing, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Create(marker)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			here, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			c.configure("roots: [" + quoted(here) + "]\nservers:\n  probe:\n    command: /bin/sh\n    args: [-c, " +
				quoted(`for fd in /proc/$$/fd/*; do readlink "$fd"; done >"$0"; exec cat`) + ", " + quoted(listing) + "]\n")
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			program := func(name string, args ...string) *exec.Cmd {
				cmd := exec.Command(filepath.Join(bin, name), args...)
				cmd.Env = c.env
				return cmd
			}
			extra := []*os.File{f, w}
			if how == "serve" {
				daemon := program("mcpguardd", "serve")
				daemon.ExtraFiles = extra
				if err := daemon.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { daemon.Process.Kill(); daemon.Wait() })
				extra = nil
			}
			shim := program("mcpguard", "stdio", "probe")
			shim.ExtraFiles = extra
			in, err := shim.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if how == "serve" {
				awaitDaemon(t, c)
			}
			if err := shim.Start(); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(listing)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), "pipe:") || strings.Contains(string(text), marker) {
				t.Errorf("the server has %s", text)
			}
			in.Close()
			shim.Wait()
			w.Close()
			// No process holds the pipe's writing end any more: the daemon neither.
			r.SetReadDeadline(time.Now().Add(patience))
			if n, err := r.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
				t.Errorf("the daemon holds what its client had open: %v", err)
			}
		})
	}
}

// awaitDaemon returns once a daemon answers.
func awaitDaemon(t *testing.T, c *claude) {
	t.Helper()
	for _, err := range c.api.Watch(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.api.Status(t.Context()); err == nil {
			return
		}
	}
}
