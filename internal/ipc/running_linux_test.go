package ipc

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRunning(t *testing.T) {
	own, err := StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !Running(os.Getpid(), own) || Running(os.Getpid(), own+1) {
		t.Error("this process does not run, or another one of its pid does")
	}
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	start, err := StartTime(cmd.Process.Pid)
	if err != nil || !Running(cmd.Process.Pid, start) {
		t.Errorf("a process that was started does not run: %v", err)
	}
	in.Close()
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if Running(cmd.Process.Pid, start) {
		t.Error("a process that has ended and is not reaped runs")
	}
	if err := cmd.Wait(); err != nil || Running(cmd.Process.Pid, start) {
		t.Errorf("a process that is gone runs: %v", err)
	}
}
