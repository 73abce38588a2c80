package cli_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// lightModules are the modules, besides the standard library and this one, that
// the program for clients may link.
var lightModules = []string{"golang.org/x/sys/", "golang.org/x/net/dns/dnsmessage"}

// lightPackages are the packages of this module that it may link.
var lightPackages = []string{"cmd/mcpguard", "internal/cli/mcpguard", "internal/shim", "internal/sandbox", "internal/jsonrpc", "internal/strictjson", "internal/ipc", "internal/version"}

// slowPackages are packages of the standard library that it may not link.
var slowPackages = []string{"net/http", "crypto/tls", "html/template", "text/template", "go/parser", "database/sql", "encoding/gob", "net/rpc"}

// TestClientProgramLinksNothingSlow: each client waits for `mcpguard` at each
// start of a server and before each of its own tools. What a package costs to
// initialise is paid by every process that links it.
func TestClientProgramLinksNothingSlow(t *testing.T) {
	const module = "github.com/mcpguard/mcpguard/"
	linked := func(program string) []string {
		out, err := exec.Command("go", "list", "-deps", "../../cmd/"+program).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	for _, pkg := range linked("mcpguard") {
		host, _, _ := strings.Cut(pkg, "/")
		own, ours := strings.CutPrefix(pkg, module)
		switch {
		case ours && !slices.Contains(lightPackages, own):
			t.Errorf("mcpguard links %s of this module", own)
		case ours, strings.HasPrefix(pkg, "vendor/"):
		case strings.Contains(host, ".") && !slices.ContainsFunc(lightModules, func(m string) bool { return strings.HasPrefix(pkg, m) }):
			t.Errorf("mcpguard links %s", pkg)
		case slices.Contains(slowPackages, pkg):
			t.Errorf("mcpguard links %s", pkg)
		}
	}
	// The daemon's program links what the other must not: the test looks at the right thing.
	all := linked("mcpguardd")
	for _, slow := range []string{"cel.dev/", "google.golang.org/protobuf/", "go.etcd.io/bbolt", "net/http", "github.com/spf13/cobra"} {
		if !slices.ContainsFunc(all, func(pkg string) bool { return strings.HasPrefix(pkg, slow) }) {
			t.Errorf("mcpguardd does not link %s: this test looks for the wrong thing", slow)
		}
	}
}
