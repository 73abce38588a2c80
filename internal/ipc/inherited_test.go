package ipc

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inherit is a daemon or another program that was started with descriptors 3 to 5.
func inherit(args []string) error {
	if args[0] == "close" {
		CloseInherited()
	} else {
		KeepInherited()
	}
	for fd := firstInherited; fd < 6; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		switch {
		case err != nil:
			fmt.Print(" closed")
		case flags&unix.FD_CLOEXEC != 0:
			fmt.Print(" kept")
		default:
			fmt.Print(" passed on")
		}
	}
	fmt.Println()
	_, err := io.Copy(io.Discard, os.Stdin) // open descriptors of its own work on
	return err
}

// TestInheritedDescriptorsStayHere: started programs inherit none of the
// descriptors that a program was started with, and a daemon keeps none but the
// pipe for its report.
func TestInheritedDescriptorsStayHere(t *testing.T) {
	for _, c := range []struct{ how, ready, want string }{
		{"keep", "", " kept kept kept"},
		{"close", "", " closed closed closed"},
		{"close", "4", " closed kept closed"},
		{"close", "5", " closed closed closed"}, // a file is no pipe
	} {
		cmd := helper(t, "inherit", c.how)
		r, w := pipe(t)
		f, err := os.Open(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = []*os.File{r, w, f}
		if c.ready != "" {
			cmd.Env = append(os.Environ(), EnvReady+"="+c.ready)
		}
		out, err := cmd.Output()
		if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != c.want {
			t.Errorf("%s with %q: %q, %v; want %q", c.how, c.ready, got, err, c.want)
		}
	}
}
