// Package faststart runs `mcpguardd stdio` before the rest of the program has
// initialised. A client starts that command for each server and waits for it,
// while expressions, schemas and protocol buffers cost about 10 ms in every
// process that links them. Go initialises packages in the order of their
// import paths as far as their dependencies allow; this one depends on little
// and sorts before what is slow. It acts only in the program named mcpguardd,
// and only for that command; anything else goes its ordinary way.
package faststart

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/shim"
	"github.com/mcpguard/mcpguard/internal/version"
)

func init() {
	if len(os.Args) < 3 || os.Args[1] != "stdio" || filepath.Base(os.Args[0]) != "mcpguardd" {
		return
	}
	if server, autostart, ok := parse(os.Args[2:]); ok {
		os.Exit(Stdio(server, autostart, os.Stdin, os.Stdout, os.Stderr))
	}
}

// parse reads the command's arguments; what it does not know is left to the
// ordinary way, which explains itself.
func parse(args []string) (server string, autostart, ok bool) {
	autostart = true
	for _, a := range args {
		switch {
		case a == "--no-autostart":
			autostart = false
		case server == "" && a != "" && !strings.HasPrefix(a, "-"):
			server = a
		default:
			return "", false, false
		}
	}
	return server, autostart, server != ""
}

// Stdio is the body of `mcpguardd stdio SERVER`. It returns the exit code.
func Stdio(server string, autostart bool, in, out *os.File, stderr io.Writer) int {
	cfg := shim.Config{Server: server, Version: version.Number, In: in, Out: out, Err: stderr}
	paths, err := ipc.DefaultPaths()
	if err != nil {
		_, _ = io.WriteString(stderr, "mcpguardd: "+err.Error()+"\n")
		return 1
	}
	cfg.Paths = paths
	if autostart {
		cfg.Autostart = func(ctx context.Context) error {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			return shim.StartDaemon(ctx, paths, exe)
		}
	}
	return shim.Run(context.Background(), cfg)
}
