package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// wire is an MCP client over the pipes of a process it has started. One
// goroutine uses it.
type wire struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer // read once the process has ended
	next   int
}

func dial(env []string, command ...string) (*wire, error) {
	w := &wire{cmd: exec.Command(command[0], command[1:]...), next: 1}
	w.cmd.Env, w.cmd.Stderr = env, &w.stderr
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewReaderSize(out, 1<<20)
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	return w, nil
}

const initialize = `"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}`

// open dials and initialises.
func open(env []string, command ...string) (*wire, error) {
	w, err := dial(env, command...)
	if err != nil {
		return nil, err
	}
	answer, err := w.request(initialize)
	if err == nil && !bytes.Contains(answer, []byte(`"result"`)) {
		err = fmt.Errorf("initialize was answered %s", answer)
	}
	if err == nil {
		_, err = io.WriteString(w.in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n")
	}
	if err == nil {
		_, err = w.request(`"method":"tools/list"`)
	}
	if err != nil {
		w.close()
		return nil, fmt.Errorf("opening a session with %s: %w\n%s", command, err, w.stderr.String())
	}
	return w, nil
}

// send writes a request and returns its id.
func (w *wire) send(members string) (int, error) {
	id := w.next
	w.next++
	_, err := io.WriteString(w.in, `{"jsonrpc":"2.0","id":`+strconv.Itoa(id)+`,`+members+"}\n")
	return id, err
}

// answer reads the next answer, passing over what else comes.
func (w *wire) answer() ([]byte, error) {
	for {
		line, err := w.out.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if bytes.Contains(line, []byte(`"id":`)) && !bytes.Contains(line, []byte(`"method":`)) {
			return line, nil
		}
	}
}

func (w *wire) request(members string) ([]byte, error) {
	if _, err := w.send(members); err != nil {
		return nil, err
	}
	return w.answer()
}

// call calls a tool and checks that it has answered.
func (w *wire) call(tool string) error {
	answer, err := w.request(callOf(tool, "hello"))
	if err == nil && !bytes.Contains(answer, []byte("hello")) {
		err = fmt.Errorf("%s was answered %s", tool, answer)
	}
	return err
}

func callOf(tool, message string) string {
	return `"method":"tools/call","params":{"name":"` + tool + `","arguments":{"message":"` + message + `"}}`
}

func (w *wire) close() {
	_ = w.in.Close()
	_ = w.cmd.Process.Signal(syscall.SIGTERM) // servers of the official SDK do not end with their input
	_ = w.cmd.Wait()                          // the signal is its exit
}
