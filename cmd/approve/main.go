// Command approve is what the reviewer uses; what it can do is in
// internal/cli/approve.
package main

import (
	"os"

	"github.com/mcpguard/mcpguard/internal/cli/approve"
)

func main() {
	os.Exit(approve.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
