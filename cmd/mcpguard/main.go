// Command mcpguard is what clients start: it connects them to the daemon. What
// it can do is in internal/cli/mcpguard.
package main

import (
	"os"

	"github.com/mcpguard/mcpguard/internal/cli/mcpguard"
)

func main() {
	os.Exit(mcpguard.Main(mcpguard.Command{Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
