// Package faststart runs `mcpguardd stdio` before the rest of the program has
// initialised. A client starts that command for each server and waits for it,
// while expressions, schemas and protocol buffers cost about 10 ms in every
// process that links them. Go initialises packages in the order of their
// import paths as far as their dependencies allow; this one depends on little
// and sorts before what is slow. It acts only in the program named mcpguardd,
// and only for that command; anything else goes its ordinary way.
package faststart

import (
	"os"
	"path/filepath"

	"github.com/mcpguard/mcpguard/internal/shim"
)

func init() {
	if len(os.Args) >= 3 && os.Args[1] == "stdio" && filepath.Base(os.Args[0]) == "mcpguardd" {
		if code, done := shim.Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr); done {
			os.Exit(code)
		}
	}
}
