package upstream

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPromise5_AnUpstreamLivesAsLongAsItsGroup ends a launcher before the
// server that it started. An outcome must not count as known while that server
// can still write.
func TestPromise5_AnUpstreamLivesAsLongAsItsGroup(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "cat <&3 >/dev/null & exec 3<&-; echo; exec cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	grandchild, keep, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, grandchild)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	grandchild.Close()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ref := reference(cmd.Process.Pid)
	if Gone(ref) {
		t.Error("a launcher that runs is gone")
	}
	in.Close() // the launcher ends
	if err := unix.Waitid(unix.P_PID, ref.PID, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if Gone(ref) {
		t.Error("gone while the server runs and the launcher is not reaped")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if Gone(ref) {
		t.Error("gone while the server runs")
	}
	keep.Close()
	for range 1000 {
		if Gone(ref) {
			return
		}
		unix.Poll(nil, 10)
	}
	t.Error("never gone, although the server has ended")
}
