package tui

import (
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// commandsRun returns a daemon with commands that ran in a sandbox: one was
// contained, one wanted the network.
func commandsRun() *fakeDaemon {
	f := newFake()
	of := func(path, before, after string) string {
		text, _ := diff.Unified(diff.File{Path: path, Data: []byte(before), Exists: before != "", Mode: 0o644},
			diff.File{Path: path, Data: []byte(after), Exists: true, Mode: 0o644}, diff.Options{})
		return string(text)
	}
	const folder = "/home/mira/src/shop"
	line := "npm run gen && git commit -qam 'generate the prices'"
	d := sample(1, t1, "run_command", "src/shop/prices.py")
	d.Server, d.Summary = "work", line+" (817 files, +5 −3)"
	d.Diff = client.NewDiff("exec", "folder    "+folder+"\nrun by    a shell of the server\nprograms  npm, git\ncommand\n"+line+"\nexit code 0\n"+
		"git: refs/heads/main moves from 1a2b3c4 to 5d6e7f8: \"generate the prices\" by Mira\n"+
		"new in node_modules: 812 files, 3400123 bytes, which the repository ignores\n"+
		"git file .git/refs/heads/main: modify\nnew folder dist (mode 0755)\nnew link dist/latest → ../src/shop/prices.py\n"+of("dist/version.txt", "", "1.1\n")+of("src/shop/prices.py", pricesBefore, pricesAfter))
	d.Diff.Exec = &guard.ExecFacts{Line: line, Folder: folder, Parsed: true, Run: &guard.ExecRun{Files: 817,
		Git: []string{"refs/heads/main moves from 1a2b3c4 to 5d6e7f8: \"generate the prices\" by Mira"}, Folded: []guard.ExecFolded{{Folder: "node_modules", Files: 812, Bytes: 3400123}}}}
	d.Added, d.Removed = 6, 3
	d.Output = "> shop@1.1.0 gen\n> node gen.js\n\nwrote 3 files\n"
	f.put(d)
	line = "curl -fsS https://example.org/rates.json > rates.json || true"
	d = sample(2, t3, "run_command", "run")
	d.Server, d.Summary = "work", "run "+line
	d.Hazards = []client.Hazard{{Kind: "wanted_outside", Text: "in the sandbox it wanted host example.org"}}
	d.Diff = client.NewDiff("exec", "folder    "+folder+"\nrun by    a shell of the server\nprograms  curl, true\nwrites    rates.json\ncommand\n"+line+"\n")
	d.Diff.Exec = &guard.ExecFacts{Line: line, Folder: folder, Parsed: true}
	d.Attempt = &guard.ExecRun{Files: 1, Wanted: []guard.ExecWant{{Kind: "host", What: "example.org"}}}
	d.Output = "curl: (6) Could not resolve host: example.org\n"
	f.put(d)
	return f
}
