package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestPromise2_AVersionIsProvenForWhatRuns: which version of a server is
// installed can change while a process of an earlier one serves a session. What
// that process would change is not computed by what is known of another version.
func TestPromise2_AVersionIsProvenForWhatRuns(t *testing.T) {
	t.Parallel()
	script := node(t, filesystemServer)
	proven := preset(t, "filesystem")
	g := newGuard(t, "")
	pkg := filepath.Join(filepath.Dir(g.home), "package")
	if err := os.Mkdir(pkg, 0o700); err != nil {
		t.Fatal(err)
	}
	install := func(version string) {
		t.Helper()
		for name, content := range map[string]string{
			"package.json": fmt.Sprintf(`{"name": %q, "version": %q, "type": "module"}`, proven.Package, version),
			"index.js":     fmt.Sprintf("await import(%q);\n", script),
		} {
			if err := os.WriteFile(filepath.Join(pkg, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	install("0.0.1")
	g.add("files", "--preset", "filesystem", "--", "node", filepath.Join(pkg, "index.js"), g.work)
	held := func(c *sdkClient, file string) client.Detail {
		t.Helper()
		call := c.startCall("write_file", m{"path": filepath.Join(g.work, file), "content": "new\n"}, options{})
		a := g.one()
		d := g.show(a.ID)
		g.deny(a, "only looked at")
		c.answer(call)
		return d
	}
	unproven := func(d client.Detail) bool {
		return d.Diff.Type == "opaque" && slices.ContainsFunc(d.Hazards, func(h client.Hazard) bool { return h.Kind == "unproven_version" })
	}

	earlier := g.sdk("earlier", "files")
	if d := held(earlier, "a.txt"); !unproven(d) {
		t.Fatalf("a version that nobody knows is shown as %s: %+v", d.Diff.Type, d.Hazards)
	}
	install(proven.Versions[0])
	later := g.sdk("later", "files")
	if d := held(later, "b.txt"); d.Diff.Type != "unified" {
		t.Fatalf("the version that is known is shown as %s: %+v", d.Diff.Type, d.Hazards)
	}
	if d := held(earlier, "c.txt"); !unproven(d) {
		t.Errorf("the process of the version before is shown as %s: %+v", d.Diff.Type, d.Hazards)
	}
}
