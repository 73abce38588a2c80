package ipc

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

var helpers = map[string]func([]string) error{
	"connect": connectAndHold,
	"offer":   offer,
	"wrap":    wrap,
	"pid":     func([]string) error { fmt.Println(os.Getpid()); return nil },
	"harden":  harden,
	"lend":    lend,
	"inherit": inherit,
	"listen":  listenOnly,
	"claim":   claim,
}

// offer is a shim: it hands its standard input and output over and waits for
// the end.
func offer(args []string) error {
	c, err := Dial(context.Background(), args[0])
	if err != nil {
		return err
	}
	w, err := Offer(context.Background(), c, NewHello("files", "1"), os.Stdin, os.Stdout)
	if err != nil || !w.OK {
		return fmt.Errorf("%+v, %w", w, err)
	}
	w.Await(c, func(string) {})
	return nil
}

// wrap runs another helper as its own child, with its own descriptors, as a
// wrapper script would.
func wrap(args []string) error {
	cmd := exec.Command(os.Args[0], append([]string{helperArg}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// harden makes itself nondumpable, says so, and waits for the end of input.
func harden([]string) error {
	if err := Nondumpable(); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// lend makes a socket pair, passes one end on, and lives as long as the
// connection over which it did.
func lend(args []string) error {
	c, err := net.Dial("unix", args[0])
	if err != nil {
		return err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := sendFiles(c.(*net.UnixConn), []byte("x"), os.NewFile(uintptr(fds[0]), "lent")); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}
