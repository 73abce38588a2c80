package effect

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// realServer is a running @modelcontextprotocol/server-filesystem.
type realServer struct {
	in   io.WriteCloser
	out  *bufio.Reader
	next int
}

// nodeModules finds the installed packages. CI must have them.
func nodeModules(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("MCPGUARD_E2E_NODE_MODULES")
	if dir == "" {
		dir = filepath.Join("..", "..", "e2e", "node_modules")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(abs, "@modelcontextprotocol", "server-filesystem", "dist", "index.js")
	_, nodeErr := exec.LookPath("node")
	if _, err := os.Stat(main); err != nil || nodeErr != nil {
		const why = "node and npm packages are needed: npm ci in e2e, or MCPGUARD_E2E_NODE_MODULES"
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return main
}

func startServer(t testing.TB, roots ...string) *realServer {
	t.Helper()
	main := nodeModules(t)
	pkg, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(main)), "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	var meta struct{ Version string }
	if err := json.Unmarshal(pkg, &meta); err != nil {
		t.Fatal(err)
	}
	const proven = "2026.8.31"
	if meta.Version != proven {
		t.Fatalf("server-filesystem %s is installed; the dialect was made for %s", meta.Version, proven)
	}
	cmd := exec.Command("node", append([]string{main}, roots...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Logf("the server ended: %v", err)
		}
	})
	s := &realServer{in: in, out: bufio.NewReaderSize(out, 1<<20)}
	s.request(t, "initialize", m{"protocolVersion": "2025-06-18", "capabilities": m{}, "clientInfo": m{"name": "test", "version": "1"}})
	s.send(t, m{"jsonrpc": "2.0", "method": "notifications/initialized"})
	return s
}

func (s *realServer) send(t testing.TB, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.in.Write(append(b, '\n')); err != nil {
		t.Fatal(err)
	}
}

func (s *realServer) request(t testing.TB, method string, params any) json.RawMessage {
	t.Helper()
	s.next++
	s.send(t, m{"jsonrpc": "2.0", "id": s.next, "method": method, "params": params})
	for {
		line, err := s.out.ReadBytes('\n')
		if err != nil {
			t.Fatalf("reading the server's answer: %v", err)
		}
		var msg struct {
			ID     *int
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(line, &msg); err != nil {
			t.Fatal(err)
		}
		if msg.ID == nil || *msg.ID != s.next {
			continue
		}
		if msg.Error != nil {
			return nil
		}
		return msg.Result
	}
}

// call returns the text of the result and whether the server refused.
func (s *realServer) call(t testing.TB, tool string, args any) (text string, failed bool) {
	t.Helper()
	raw := s.request(t, "tools/call", m{"name": tool, "arguments": args})
	if raw == nil {
		return "protocol error", true
	}
	var r struct {
		IsError bool
		Content []struct{ Text string }
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Content) > 0 {
		text = r.Content[0].Text
	}
	return text, r.IsError
}

// snapshot lists everything below root with type, mode and content.
func snapshot(t testing.TB, root string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		body := ""
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			body = fmt.Sprintf("%q", b)
		}
		out = append(out, fmt.Sprintf("%s %s %s", rel, info.Mode(), body))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

// serverTools maps the tools of the real server to their specs.
var serverTools = map[string]Spec{
	"write_file": {Kind: FileWrite, Params: map[string]string{"path": "args.path", "content": "args.content"}},
	"edit_file": {Kind: FileEdit, Params: map[string]string{
		"path": "args.path", "edits": "args.edits", "dry_run": "has(args.dryRun) && args.dryRun"}},
	"move_file":        {Kind: FileMove, Params: map[string]string{"source": "args.source", "destination": "args.destination"}},
	"create_directory": {Kind: DirCreate, Params: map[string]string{"path": "args.path"}},
}

// both runs one call through the plan and the real server and requires the same
// outcome. stricter lets the plan refuse what the server accepts.
func both(t *testing.T, s *realServer, root, tool string, args m, stricter bool) (failed bool) {
	t.Helper()
	sp := serverTools[tool]
	sp.Dialect, sp.Proven = DialectFilesystem, true
	b := compile(t, sp)
	in := input(t, args, root)
	before := snapshot(t, root)
	preview, planErr := plan(t, b, in)
	if now := snapshot(t, root); now != before {
		t.Fatalf("%s %v: planning changed the disk", tool, args)
	}
	if planErr != nil && stricter {
		refused(t, planErr, guard.RulePath)
		return true
	}
	text, failed := s.call(t, tool, args)
	if failed != (planErr != nil) {
		t.Fatalf("%s %q\nserver failed: %v (%s)\nplan: %v", tool, in.Call.Args, failed, text, planErr)
	}
	after := snapshot(t, root)
	if failed || len(preview.Effects) == 0 {
		if after != before {
			t.Fatalf("%s %q: nothing was to change\nbefore %s\nafter %s", tool, in.Call.Args, before, after)
		}
		return failed
	}
	f := Verify(context.Background(), nil, preview.Effects)
	if f.Result != guard.Verified {
		t.Fatalf("%s %q\nread back: %s: %s\npreview %s\nbefore %s\nafter  %s", tool, in.Call.Args, f.Result, f.Detail, preview.Change.Text, before, after)
	}
	if (after == before) != strings.HasPrefix(preview.Summary, "no change") {
		t.Fatalf("%s %q: summary %q, changed: %v", tool, in.Call.Args, preview.Summary, after != before)
	}
	return false
}

// words and ends are what generated files are made of.
var (
	words = []string{"alpha", "beta", "gamma(x)", "}", "{", "", "", "return 1", "déjà", "日本", "😀", "\U0001F468\u200D\U0001F469", "a b", "$&", "$1", "`q`", "é", "\x00"}
	ends  = []string{"\n", "\n", "\n", "\r\n", "\r\n", "\r", "\n\n"}
	space = []string{"", "", "", "  ", "    ", "\t", "\t\t", "\u00a0", " \u00a0", "\ufeff", "\u2003", "\u2028", "\u3000 ", "\u0085", "\u180e", "\u200b", "\v\f"}
	bad   = []string{"\xff", "\xe2\x82", "\xf0\x9f\x98", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "\xf8\x88\x80\x80\x80", "\x80\x80"}
)

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

func randomText(r *rand.Rand, lines int, invalid bool) string {
	var b strings.Builder
	if r.IntN(8) == 0 {
		b.WriteString("\ufeff")
	}
	end := pick(r, ends)
	for range lines {
		b.WriteString(pick(r, space))
		b.WriteString(pick(r, words))
		if invalid && r.IntN(4) == 0 {
			b.WriteString(pick(r, bad))
		}
		b.WriteString(pick(r, space))
		if r.IntN(3) == 0 {
			b.WriteString(pick(r, ends))
		} else {
			b.WriteString(end)
		}
	}
	if r.IntN(3) == 0 {
		return strings.TrimRight(b.String(), "\r\n")
	}
	return b.String()
}

// randomEdit takes a piece of the file and alters it so that it matches exactly,
// only when trimmed, or not at all.
func randomEdit(r *rand.Rand, content string) m {
	old := ""
	lines := strings.Split(content, "\n")
	switch r.IntN(12) {
	case 0: // some bytes
		i := r.IntN(len(content) + 1)
		old = strings.ToValidUTF8(content[i:i+r.IntN(len(content)-i+1)], "")
	case 1: // nothing at all
	case 2: // not there
		old = "no such text " + pick(r, words)
	default:
		i := r.IntN(len(lines))
		part := append([]string(nil), lines[i:min(len(lines), i+1+r.IntN(4))]...)
		bend := []int{0, 0, 0, 1, 1, 2, 3}[r.IntN(7)]
		for j := range part {
			switch bend {
			case 0:
				part[j] = pick(r, space) + jsTrim(part[j]) + pick(r, space)
			case 1:
				part[j] = jsTrim(part[j])
			case 2:
				part[j] = strings.TrimSuffix(part[j], "\r")
			}
		}
		old = strings.Join(part, pick(r, []string{"\n", "\n", "\r\n"}))
		old = strings.ToValidUTF8(old, "\ufffd")
	}
	repl := randomText(r, r.IntN(5), false)
	if r.IntN(5) == 0 {
		repl = old
	}
	return m{"oldText": old, "newText": repl}
}

// TestPromise2_EditsAreSimulatedExactly compares the plans of generated edits with
// the real server.
func TestPromise2_EditsAreSimulatedExactly(t *testing.T) {
	root := workspace(t)
	s := startServer(t, root)
	count := 800
	if testing.Short() {
		count = 150
	}
	failures, trials, trimmed := 0, 0, 0
	for i := range count {
		r := rand.New(rand.NewPCG(uint64(i), 7))
		content := randomText(r, r.IntN(12), r.IntN(4) == 0)
		p := write(t, root, "file.txt", content)
		mode := []os.FileMode{0o644, 0o755, 0o600, 0o640}[r.IntN(4)]
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		seen := lf(decodeUTF8([]byte(content)))
		if r.IntN(3) == 0 {
			seen = content
		}
		edits := []m{}
		for range r.IntN(4) {
			edits = append(edits, randomEdit(r, seen))
		}
		args := m{"path": p, "edits": edits}
		if r.IntN(6) == 0 {
			args["dryRun"] = r.IntN(3) > 0
			trials++
		}
		if dry, _ := args["dryRun"].(bool); dry {
			// Only the server refuses a dry run that would fail.
			before := snapshot(t, root)
			sp := serverTools["edit_file"]
			sp.Dialect, sp.Proven = DialectFilesystem, true
			b := compile(t, sp)
			if changes, err := b.Changes(input(t, args, root)); changes || err != nil {
				t.Fatalf("a trial run changes: %v, %v", changes, err)
			}
			s.call(t, "edit_file", args)
			if snapshot(t, root) != before {
				t.Fatal("a trial run changed the file")
			}
			continue
		}
		switch failed := both(t, s, root, "edit_file", args, false); {
		case failed:
			failures++
		case len(edits) > 0 && !strings.Contains(lf(decodeUTF8([]byte(content))), lf(edits[0]["oldText"].(string))):
			trimmed++
		}
	}
	t.Logf("%d calls, %d refused by both, %d with dryRun, %d matched only when trimmed", count, failures, trials, trimmed)
	if trimmed < count/20 {
		t.Errorf("only %d matched when trimmed; the generator is off", trimmed)
	}
	if failures == 0 || failures > count/2 {
		t.Errorf("%d of %d failed; the generator is off", failures, count)
	}
}

// TestPromise2_WritesAndMovesAreSimulatedExactly does the same for the other tools,
// on a small tree with unusual names.
func TestPromise2_WritesAndMovesAreSimulatedExactly(t *testing.T) {
	root := workspace(t)
	s := startServer(t, root)
	names := []string{"a", "b.txt", "dir", "dir/x", "dir/y.json", "dir/sub", "dir/sub/z", "new", "new/deep/er", "dir/../a", "./b.txt", "dir//x", "dir/x/", "a/b",
		"sp ace", "\"q", "q'", " lead", "trail ", "caf\u00e9", "K", strings.Repeat("n", 219), strings.Repeat("n", 218), strings.Repeat("n", 255), "link", "linkdir", "linkdir/x", "C:\\x", "~x", "."}
	count := 600
	if testing.Short() {
		count = 150
	}
	failures := 0
	for i := range count {
		r := rand.New(rand.NewPCG(uint64(i), 11))
		if i%40 == 0 {
			if err := os.RemoveAll(root); err != nil {
				t.Fatal(err)
			}
			write(t, root, "a", "one\r\ntwo\r\n")
			write(t, root, "dir/x", "x")
			write(t, root, "dir/sub/z", "\xff\n")
			write(t, root, strings.Repeat("n", 219), "long")
			write(t, root, strings.Repeat("n", 218), "long")
			link(t, "dir/x", filepath.Join(root, "link"))
			link(t, filepath.Join(root, "dir"), filepath.Join(root, "linkdir"))
		}
		name := func() string {
			n := names[r.IntN(len(names))]
			if r.IntN(4) > 0 {
				return root + "/" + n
			}
			return n
		}
		var tool string
		var args m
		switch r.IntN(5) {
		case 0, 1:
			tool, args = "write_file", m{"path": name(), "content": randomText(r, r.IntN(5), false)}
		case 2, 3:
			tool, args = "move_file", m{"source": name(), "destination": name()}
		default:
			tool, args = "create_directory", m{"path": name()}
		}
		if rooted(args, root) {
			continue
		}
		if both(t, s, root, tool, args, false) {
			failures++
		}
	}
	t.Logf("%d calls, %d refused by both", count, failures)
}

// rooted says that a call names the workspace folder itself as a file, which
// the plan always refuses.
func rooted(args m, root string) bool {
	for _, k := range []string{"source", "destination", "path"} {
		if p, _ := args[k].(string); p == "." || p == root+"/." {
			return true
		}
	}
	return false
}

// TestPromise2_PathsThatTheServerTakesOtherwise: the plan refuses paths with which
// the server would do something that is not shown.
func TestPromise2_PathsThatTheServerTakesOtherwise(t *testing.T) {
	root := workspace(t)
	s := startServer(t, root)
	write(t, root, "cafe\u0301.txt", "decomposed")
	write(t, root, "\u212aelvin", "sign")
	write(t, root, "inside", "x")
	outside := filepath.Join(filepath.Dir(root), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, outside, filepath.Join(root, "out"))
	link(t, "nowhere", filepath.Join(root, "dangling"))
	link(t, "loop", filepath.Join(root, "loop"))
	for _, p := range []string{"caf\u00e9.txt", "Kelvin", "out/new", "dangling", "dangling/x", "loop", "loop/x", "~/x", "~", "C:/x", "D:", "../ws-evil/x", "../outside/x", ""} {
		if !both(t, s, root, "write_file", m{"path": p, "content": "y"}, true) {
			t.Errorf("a write to %q was planned", p)
		}
	}
	if both(t, s, root, "write_file", m{"path": "cafe\u0301.txt", "content": "y"}, false) {
		t.Error("the name on disk was refused")
	}
}

// TestPromise2_LargeInvalidFileIsRefused: beyond one chunk the server decodes a
// file in pieces.
func TestPromise2_LargeInvalidFileIsRefused(t *testing.T) {
	root := workspace(t)
	s := startServer(t, root)
	exact := bytes.Repeat([]byte("x"), nodeChunk-2)
	p := write(t, root, "f", string(exact)+"\xe2\x82")
	both(t, s, root, "edit_file", m{"path": p, "edits": []m{{"oldText": "x", "newText": "yy"}}}, false)
	write(t, root, "f", string(exact)+"\xe2\x82\x28\xf0\x9f")
	sp := serverTools["edit_file"]
	sp.Dialect, sp.Proven = DialectFilesystem, true
	_, err := plan(t, compile(t, sp), input(t, m{"path": p, "edits": []m{{"oldText": "x", "newText": "y"}}}, root))
	refused(t, err, guard.RulePreviewFailed)
	write(t, root, "f", strings.Repeat("é\r\n", nodeChunk))
	both(t, s, root, "edit_file", m{"path": p, "edits": []m{{"oldText": "é", "newText": "e\r\n"}}}, false)
}
