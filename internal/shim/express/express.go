// Package express is `mcpguardd stdio` and `mcpguardd hook` for the usual case, before anything
// else of the program has initialised: a daemon answers, and the client's
// descriptors can be handed over. Go initialises packages in the order of
// their import paths as far as their imports allow, so that a package which
// imports nothing but os and syscall comes before net, JSON, expressions and
// protocol buffers, which cost more than the handover itself.
//
// It speaks the protocol of package ipc, with the same words, in system calls
// alone; tests hold it to that package. It will not answer a client, start a
// daemon, copy, or explain: whatever is not the usual case it leaves to the
// ordinary way, which begins from the start, with nothing read from the
// client. It acts only in the program named mcpguardd, on Linux, for that one
// command.
package express

import (
	"os"
	"syscall"

	"github.com/mcpguard/mcpguard/internal/version"
)

func init() {
	if len(os.Args) < 3 || base(os.Args[0]) != "mcpguardd" {
		return
	}
	if os.Args[1] == "hook" {
		if kind, seconds, ok := hook(os.Args[2:]); ok {
			if code, done := Ask(kind, seconds, version.Number); done {
				os.Exit(code)
			}
		}
		return
	}
	if os.Args[1] != "stdio" {
		return
	}
	server, ok := server(os.Args[2:])
	if !ok {
		return
	}
	if code, done := Run(server, version.Number); done {
		os.Exit(code)
	}
}

// What is the same in package ipc and in package shim, where it is explained.
const (
	protocol  = 1
	maxLine   = 64 << 10
	timeout   = 10 // seconds
	lost      = "the guard daemon has gone and this session with it; `mcpguardd status` says more"
	exitDone  = 0
	exitLost  = 1
	agentFile = "/agent.sock"
)

// server reads the command's arguments; what it does not know is left to the
// ordinary way.
func server(args []string) (name string, ok bool) {
	for _, a := range args {
		switch {
		case a == "--no-autostart":
		case name == "" && a != "" && a[0] != '-':
			name = a
		default:
			return "", false
		}
	}
	return name, name != ""
}

// Run hands the process's standard input and output over and lives as long as
// the session. It reports false, having read nothing from the client and kept
// nothing open, when there is anything but the usual case.
//
// A signal ends the process, and with it the connection, which ends the
// session: there is nothing to do before.
func Run(server, ownVersion string) (code int, done bool) {
	path, ok := socketPath(syscall.Getenv)
	if !ok || !passable(0) || !passable(1) {
		return 0, false
	}
	fd, ok := dial(path)
	if !ok {
		return 0, false
	}
	r := &lines{fd: fd}
	w, ok := greet(r, hello(server, ownVersion, syscall.Getenv))
	if !ok {
		syscall.Close(fd)
		return 0, false
	}
	if !patient(fd) || !letGo() {
		say("the session was handed over, but this process could not let go of it")
		return exitLost, true // the connection ends with the process
	}
	for _, n := range w.notices {
		say(n)
	}
	ended := false
	for {
		line, ok := r.next()
		if !ok {
			break
		}
		said, ok := parse(line)
		if !ok {
			break
		}
		ended = ended || said.end
		if said.notice != "" {
			say(said.notice)
		}
	}
	if !ended {
		say(lost)
		return exitLost, true
	}
	return exitDone, true
}

// greet offers the session and reports whether the daemon has taken it.
func greet(r *lines, h []byte) (welcome, bool) {
	if !send(r.fd, h) {
		return welcome{}, false
	}
	line, ok := r.next()
	if !ok {
		return welcome{}, false
	}
	w, ok := parse(line)
	return w, ok && w.ok && w.protocol == protocol
}

// socketPath is ipc.DefaultPaths followed by Paths.AgentSocket, for absolute
// paths that need no cleaning.
func socketPath(getenv func(string) (string, bool)) (string, bool) {
	if home, _ := getenv("MCPGUARD_HOME"); home != "" {
		return home + agentFile, clean(home)
	}
	if state, _ := getenv("XDG_STATE_HOME"); state != "" {
		return state + "/mcpguard" + agentFile, clean(state)
	}
	home, _ := getenv("HOME")
	return home + "/.local/state/mcpguard" + agentFile, clean(home)
}

// clean reports whether a path is absolute and as filepath.Clean leaves it.
func clean(path string) bool {
	if len(path) < 2 || path[0] != '/' || path[len(path)-1] == '/' {
		return false
	}
	for i := 0; i < len(path); i++ {
		if path[i] == 0 {
			return false
		}
		// An empty element, or one that begins with a dot, may be one to clean.
		if path[i] == '/' && (path[i+1] == '/' || path[i+1] == '.' && dots(path[i+1:])) {
			return false
		}
	}
	return true
}

// dots reports whether the first element of a path is "." or "..".
func dots(path string) bool {
	for i := 0; i < len(path) && path[i] != '/'; i++ {
		if path[i] != '.' || i > 1 {
			return false
		}
	}
	return true
}

func base(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[i+1:]
		}
	}
	return path
}

// lines reads lines from the connection.
type lines struct {
	fd  int
	buf []byte
}

func (l *lines) next() ([]byte, bool) {
	from := 0
	for {
		for i := from; i < len(l.buf); i++ {
			if l.buf[i] == '\n' {
				line := l.buf[:i]
				l.buf = l.buf[i+1:]
				return line, true
			}
		}
		from = len(l.buf)
		if from > maxLine {
			return nil, false
		}
		chunk := make([]byte, 1024)
		n, err := syscall.Read(l.fd, chunk)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return nil, false
		}
		l.buf = append(l.buf, chunk[:n]...)
	}
}

// say writes one line for the developer.
func say(text string) {
	b := append([]byte("mcpguardd: "), text...)
	for i, c := range b {
		if c == '\n' || c == '\r' {
			b[i] = ' '
		}
	}
	_, _ = syscall.Write(2, append(b, '\n')) // nobody may be listening
}
