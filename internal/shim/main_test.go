package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// TestMain makes this test binary the programs that the tests start: a shim
// ("stdio SERVER"), a daemon ("serve --detached") and a process that starts
// one ("start").
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		// Do not leave processes of a failed test behind.
		time.AfterFunc(2*time.Minute, func() { os.Exit(99) })
		switch os.Args[1] {
		case "stdio":
			os.Exit(stdio())
		case "serve":
			os.Exit(serve())
		case "start":
			os.Exit(start())
		case "result":
			os.Exit(asResult())
		case "hook":
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			background = ctx
			code := asHook()
			stop()
			os.Exit(code)
		}
	}
	goleak.VerifyTestMain(m)
}

// background is ended by the signal that ends a hook.
var background = context.Background()

// Flags of the shim under test.
const (
	flagCopy      = "copy"
	flagAutostart = "autostart"
	flagShort     = "short" // answers for a moment only
)

func stdio() int {
	paths, err := ipc.DefaultPaths()
	if err != nil {
		panic(err)
	}
	cfg := Config{Paths: paths, Server: os.Args[2], Version: "0.1", In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	for _, f := range os.Args[3:] {
		switch f {
		case flagCopy:
			cfg.copyAll = true
		case flagShort:
			cfg.Linger = 50 * time.Millisecond
		case flagAutostart:
			cfg.Autostart = func(ctx context.Context) error { return StartDaemon(ctx, paths, os.Args[0]) }
		}
	}
	return Run(context.Background(), cfg)
}

func start() int {
	paths, err := ipc.DefaultPaths()
	if err == nil {
		err = StartDaemon(context.Background(), paths, os.Args[0])
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	return 0
}

// serve is a daemon that echoes. Since its environment is scrubbed, files in
// its folder tell it what to do, and it writes there what it finds out about
// itself.
func serve() int {
	paths, err := ipc.DefaultPaths()
	if err != nil {
		panic(err)
	}
	note(paths, "starts", fmt.Sprintln(os.Getpid()))
	if text, err := os.ReadFile(filepath.Join(paths.State, "fail")); err == nil {
		ipc.SignalReady(errors.New(string(text)))
		return 1
	}
	if text, err := os.ReadFile(filepath.Join(paths.State, "die")); err == nil {
		os.Stderr.Write(text)
		return 1
	}
	describe(paths)
	if err := paths.Prepare(); err != nil {
		panic(err)
	}
	l, err := ipc.Listen(paths.AgentSocket())
	if err != nil {
		ipc.SignalReady(err)
		return 1
	}
	if err := ipc.SignalReady(nil); err != nil {
		panic(err)
	}
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return 1
		}
		go serveSession(c) // ends with the session or the process
	}
}

func note(p ipc.Paths, name, text string) {
	f, err := os.OpenFile(filepath.Join(p.State, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	f.WriteString(text)
}

// serveSession echoes, or refuses server "no".
func serveSession(c *net.UnixConn) {
	h, err := ipc.Accept(context.Background(), c)
	if err != nil {
		c.Close()
		return
	}
	defer h.Close()
	if h.Hello.Server == "no" {
		h.Welcome(ipc.Welcome{Version: "0.1", Error: "there is no server \"no\""})
		return
	}
	if h.Welcome(ipc.Welcome{OK: true, Version: "0.1"}) != nil {
		return
	}
	io.Copy(h.Out, h.In)
}
