package ipc

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestProgramsAreKnownByTheirFile: neither its name nor its path makes a file
// one of the guard's programs.
func TestProgramsAreKnownByTheirFile(t *testing.T) {
	own := OwnPrograms()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "mcpguardd")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	changed := append(append([]byte{}, content...), 0)
	sameSize := append([]byte{}, content...)
	sameSize[len(sameSize)-1] ^= 1
	script := []byte("#!/bin/sh\nexec cat\n")
	for _, c := range []struct {
		what, path string
		want       bool
	}{
		{"this program", exe, true},
		{"a link to it", link, true},
		{"a copy of it", file("copy", content), true},
		{"one byte more", file("mcpguardd", changed), false},
		{"another last byte", file("mcpguard", sameSize), false},
		{"a script of the name", file("mcpguardd", script), false},
		{"a pipe of the name", fifo, false},
		{"a folder", filepath.Dir(exe), false},
		{"nothing", filepath.Join(t.TempDir(), "mcpguardd"), false},
		{"no path", "", false},
	} {
		if got := own.Is(c.path); got != c.want {
			t.Errorf("%s (%s): %v", c.what, c.path, got)
		}
	}
}

// TestProgramsBesideThisOne count, as they are at the time.
func TestProgramsBesideThisOne(t *testing.T) {
	dir := t.TempDir()
	p := &Programs{dir: dir, hashes: map[fileState][32]byte{}}
	path := filepath.Join(dir, "mcpguard")
	for _, content := range []string{"first", "after an upgrade"} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if p.Is(path) {
			t.Error("what is not there is ours")
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		if !p.Is(path) {
			t.Errorf("%q is not ours", content)
		}
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("other"), 0o755); err != nil {
		t.Fatal(err)
	}
	if p.Is(other) {
		t.Error("any file beside this one is ours")
	}
}

// TestRunningProgramIsKnownByItsFile: the executed file counts, not the name by
// which it was started.
func TestRunningProgramIsKnownByItsFile(t *testing.T) {
	own := OwnPrograms()
	if !own.Running(os.Getpid()) {
		t.Error("this process is not ours")
	}
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(cat)
	cmd.Args[0] = os.Args[0]
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	// It executes its own file once it answers.
	if _, err := io.WriteString(in, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if own.Running(cmd.Process.Pid) {
		t.Error("a program with our name as its first argument is ours")
	}
	if own.Running(1 << 30) {
		t.Error("a process that does not exist is ours")
	}
}
