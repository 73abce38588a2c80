package express

import (
	"syscall"
	"time"
)

// What is the same in package ipc and in internal/cli/mcpguardd, where it is
// explained.
const (
	pre         = "hook:pre"
	post        = "hook:post"
	hookSeconds = 590 // without --timeout: below the client's own 600
	exitDeny    = 2   // the client then does not run the tool, and reads why on standard error
	lostHook    = "mcpguard: the guard daemon went away while this call waited, so it was not allowed; make it again"
	lateHook    = "mcpguard: nobody decided before the client's own timeout, so the call was not allowed; ask the user, then make it again"
)

// hook reads the command's arguments: pre or post, and --timeout SECONDS. What
// it does not know is left to the ordinary way.
func hook(args []string) (kind string, seconds int64, ok bool) {
	seconds = hookSeconds
	for i := 0; i < len(args); i++ {
		switch {
		case kind == "" && args[i] == "pre":
			kind = pre
		case kind == "" && args[i] == "post":
			kind = post
		case args[i] == "--timeout" && i+1 < len(args):
			i++
			n := int64(0)
			for _, c := range []byte(args[i]) {
				if c < '0' || c > '9' || n > 1e6 {
					return "", 0, false
				}
				n = n*10 + int64(c-'0')
			}
			if n == 0 {
				return "", 0, false
			}
			seconds = n
		default:
			return "", 0, false
		}
	}
	return kind, seconds, kind != ""
}

// Ask hands a hook's standard input and output over and waits for the daemon to
// have answered. It reports false, having read nothing, when there is anything
// but the usual case.
func Ask(kind string, seconds int64, ownVersion string) (code int, done bool) {
	path, ok := socketPath(syscall.Getenv)
	if !ok || !passable(0) || !passable(1) {
		return 0, false
	}
	fd, ok := dial(path)
	if !ok {
		return 0, false
	}
	r := &lines{fd: fd}
	if _, ok := greet(r, hello(kind, ownVersion, syscall.Getenv)); !ok {
		syscall.Close(fd)
		return 0, false
	}
	until := time.Now().Add(time.Duration(seconds) * time.Second)
	for {
		left := int64(time.Until(until)/time.Second) + 1
		if time.Now().After(until) || !bounded(fd, left) {
			return refuse(kind, lateHook), true
		}
		line, ok := r.next()
		if !ok {
			if time.Now().After(until) {
				return refuse(kind, lateHook), true
			}
			return refuse(kind, lostHook), true
		}
		if said, ok := parse(line); !ok {
			return refuse(kind, lostHook), true
		} else if said.end {
			return exitDone, true
		}
	}
}

// refuse ends a hook that has no answer. Of a report nothing hangs on it.
func refuse(kind, why string) int {
	if kind == post {
		return exitDone
	}
	_, _ = syscall.Write(2, append([]byte(why), '\n'))
	return exitDeny
}
