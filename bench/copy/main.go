// Command copy starts the program that its arguments name and copies lines to
// and from it: the least that a process between a client and a server can do.
// What the guard costs beyond it is the guard's own. It will not look at what
// it copies.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "copy:", err)
		os.Exit(1)
	}
}

func run(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { // ends with standard input, or with the process
		lines(in, os.Stdin)
		in.Close()
	}()
	lines(os.Stdout, out)
	return cmd.Wait()
}

func lines(to io.Writer, from io.Reader) {
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := r.ReadSlice('\n')
		if _, werr := to.Write(line); err != nil || werr != nil {
			return
		}
	}
}
