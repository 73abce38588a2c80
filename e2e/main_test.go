package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// patience bounds every wait for something that must come.
const patience = 90 * time.Second

// programs is where TestMain has put mcpguardd and approve; folder is this
// package's own.
var programs, folder string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if programs = os.Getenv(envClient); programs != "" {
		return bashClient()
	}
	if err := adoptOrphans(); err != nil {
		fmt.Fprintln(os.Stderr, "what the tests leave behind could not be seen:", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "mcpguard-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	if folder, err = os.Getwd(); err == nil {
		folder, err = filepath.EvalSymlinks(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	build := exec.Command("go", "build", "-o", dir, "./cmd/mcpguardd", "./cmd/mcpguard", "./cmd/approve")
	build.Dir = filepath.Dir(folder)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the programs:", err)
		return 1
	}
	code := m.Run()
	if left := orphans(); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "processes were left behind:")
		for _, p := range left {
			fmt.Fprintln(os.Stderr, "  ", p)
		}
		return max(code, 1)
	}
	return code
}

// program returns the path of a program that TestMain has built.
func program(name string) string { return filepath.Join(programs, name) }

// node returns the path of a script of an installed package, and skips the test
// where Node or the package is not there; in CI that is a failure.
func node(t testing.TB, script string) string {
	t.Helper()
	missing := t.Skipf // without Node there is nothing real to test against
	if os.Getenv("CI") != "" {
		missing = t.Fatalf
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing("node is not installed")
	}
	path := filepath.Join(folder, "node_modules", filepath.FromSlash(script))
	if _, err := os.Stat(path); err != nil {
		missing("%s is not installed; run `npm ci` in e2e/", script)
	}
	return path
}

// The scripts of the packages that the tests start.
const (
	filesystemServer = "@modelcontextprotocol/server-filesystem/dist/index.js"
	everythingServer = "@modelcontextprotocol/server-everything/dist/index.js"
	memoryServer     = "@modelcontextprotocol/server-memory/dist/index.js"
	modernServer     = "@modelcontextprotocol/server/dist/index.mjs" // what modern-server.mjs imports
	inspector        = ".bin/mcp-inspector"
	sdk              = "@modelcontextprotocol/sdk/package.json" // what sdk-client.mjs imports
)

// linuxOnly skips where the test looks into /proc.
func linuxOnly(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("looks at processes through /proc") // the other systems have none
	}
}
