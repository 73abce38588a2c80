// Command mcpguardd is the guard's daemon and everything that sets it up; what
// it can do is in internal/cli/mcpguardd.
package main

import (
	"os"

	"github.com/mcpguard/mcpguard/internal/cli/mcpguardd"
)

func main() {
	os.Exit(mcpguardd.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
