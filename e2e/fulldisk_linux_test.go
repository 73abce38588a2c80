package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/client"
)

// insideEnv says to a test that it runs in a namespace of its own.
const insideEnv = "MCPGUARD_TEST_INSIDE"

// inside runs a test once more, in a mount namespace of its own, and reports
// whether this is that run. What is mounted there is gone with it.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Skipf("this system lets nobody mount anything: %v", err) // a full disk needs a small one
		}
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Skipf("this system lets nobody mount anything: %v", err) // a full disk needs a small one
	}
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out) // the reason is the inner run's
	}
	return false
}

// TestPromise4_AFullDisk fills the file system of the guard, slowly enough that
// some calls still find room. Whatever ran is on record, whatever could not be
// recorded did not run, and nothing is lost when there is room again.
func TestPromise4_AFullDisk(t *testing.T) {
	if !inside(t) {
		return
	}
	g := onDisk(t)
	settings := g.read(g.paths.ConfigFile())
	accepted := g.read(g.paths.ToolsLock())
	if err := unix.Mount("tmpfs", g.home, "tmpfs", 0, "size=6m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{g.paths.ConfigFile(): settings, g.paths.ToolsLock(): accepted} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := g.wire("disk")
	w.initialize("patient", nil)
	_, held := w.startCall("put", m{"path": filepath.Join(g.work, "denied.txt"), "content": "new\n"})
	waiting := g.one()
	room := g.fill()

	ran := map[string]string{}
	refused := 0
	for i := 0; refused < 20; i++ {
		if i == 5000 {
			t.Fatalf("%d calls ran on a full disk, %d were refused", len(ran), refused)
		}
		name := fmt.Sprintf("%d.txt", i)
		r := w.call("scratch", m{"path": filepath.Join(g.work, name), "content": name})
		switch wd := r.word(); {
		case r.ok():
			ran[name] = name
		case wd.Status == "unknown": // it ran, and its receipt waits for room
			ran[name] = name
			refused++
		case wd.Rule == "record_failed", wd.Rule == "target_has_unknown_outcome":
			refused++
			if _, err := os.Lstat(filepath.Join(g.work, name)); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%s was written, and the call was answered %s", name, r.raw)
			}
		default:
			t.Fatalf("a write was answered %s", r.raw)
		}
	}
	t.Logf("%d calls ran, %d were refused", len(ran), refused)
	for _, list := range [][]string{{"--list", "--status", "all"}, {"show", waiting.ID}, {"log"}} {
		if out := g.run(nil, "approve", list...); out.code != 0 {
			t.Errorf("approve %s needs room: %s", list, out)
		}
	}
	if out := g.run(nil, "approve", "deny", waiting.ID, "--reason", "not while the disk is full"); out.code != 0 {
		t.Errorf("a denial needs room: %s", out)
	}
	if a := w.await("the denied call", held).word(); a.Status != "denied" || a.Reason != "not while the disk is full" {
		t.Errorf("the denied call was answered %+v", a)
	}

	room()
	g.well(true)
	ran["after.txt"] = "new\n"
	if r := w.call("scratch", m{"path": filepath.Join(g.work, "after.txt"), "content": "new\n"}); !r.ok() {
		t.Errorf("with room again a write was answered %s", r.raw)
	}
	g.ended(waiting.ID, client.Denied)
	w.close() // whose end waits for every receipt
	g.eachOnRecord(ran)
}

// fill takes all room on the guard's file system, until the returned function
// is called.
func (g *guard) fill() (free func()) {
	g.t.Helper()
	path := filepath.Join(g.home, "filler")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		g.t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			g.t.Error(err)
		}
	}
}
