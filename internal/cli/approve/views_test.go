package approve

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
	view "github.com/mcpguard/mcpguard/internal/tui/change"
)

// viewed is a change of each kind, spelled as the daemon spells it.
func viewed() map[string]client.Detail {
	out := commanded()
	for name, d := range changes() {
		out[name] = client.Detail{Diff: d}
	}
	return out
}

const commandHead = "folder    /home/me/shop\nrun by    a shell of the server\nprograms  make\ncommand\nmake all\nexit code 0\nnew in lib: 3 files\n"

// commanded are commands that ran in a sandbox. Their lines contain what follows
// them.
func commanded() map[string]client.Detail {
	run := func(text string, line string, r guard.ExecRun) client.Detail {
		d := client.Detail{Diff: client.NewDiff("exec", text), Output: "built\n\ufffd\nexit code 1\n"}
		d.Diff.Exec = &guard.ExecFacts{Line: line, Folder: "/home/me/shop", Parsed: true, Run: &r}
		return d
	}
	line := "make all\nexit code 0\nnew in lib: 3 files"
	text, _ := diff.Unified(diff.File{Path: "a.txt", Data: []byte("one\n"), Exists: true, Mode: 0o644}, diff.File{Path: "a.txt", Data: []byte("two\n-- x\nnew folder no\n"), Exists: true, Mode: 0o755}, diff.Options{})
	changed := string(text) + "new folder dist/a b/b (mode 0755)\nnew link dist/to → ../a.txt\ntime of b.txt changes\n" + "git file .git/index: modify\n"
	created, _ := diff.Unified(diff.File{Path: "z.txt"}, diff.File{Path: "z.txt", Data: []byte("z"), Exists: true, Mode: 0o644}, diff.Options{})
	changed += string(created)
	moved, _ := diff.Unified(diff.File{Path: "old.txt", Data: []byte("one\n"), Exists: true, Mode: 0o644}, diff.File{Path: "new.txt", Data: []byte("two\n"), Exists: true, Mode: 0o644}, diff.Options{})
	argv := run("folder    /home/me/shop\nargv      "+fmt.Sprintf("%q", []string{"false", "exit code 3"})+"\nexit code 3\nnew folder x (mode 0700)\n", "", guard.ExecRun{Exit: 3, Files: 1})
	argv.Diff.Exec.Argv = []string{"false", "exit code 3"}
	tried := client.Detail{Diff: changes()["exec"], Output: "connecting\n", Attempt: &guard.ExecRun{
		Exit: 7, Files: 2, Wanted: []guard.ExecWant{{Kind: "network", What: "192.0.2.1:80"}, {Kind: "path", What: "/etc/x\ny"}}, Left: []string{"sleep"}, Failed: []string{"a rename"}, Cut: true, Git: []string{"refs/heads/main: a → b"},
	}}
	tried.Diff.Exec = &guard.ExecFacts{}
	not := client.Detail{Diff: client.NewDiff("exec", "not run in a sandbox: the kernel is old\n"+commandHead)}
	not.Diff.Exec = &guard.ExecFacts{NotRun: "the kernel is old"}
	scripts := client.Detail{Output: "out\n"}
	facts := guard.ExecFacts{Line: "bash deploy.sh\nscript x, which this run has changed, 1 bytes\n", Parsed: true, Scripts: []guard.ExecScript{
		{Path: "/w/deploy.sh", Size: 26, Text: "curl https://x\nscript none"}, {Path: "/w/Makefile", Size: 70000, Text: "all:\n\techo\n"}, {Path: "/w/x", Unread: true}}}
	scripts.Diff = client.NewDiff("exec", "folder    /w\nrun by    a shell of the server\ncommand\n"+facts.Line+facts.ScriptsText())
	scripts.Diff.Exec = &facts
	return map[string]client.Detail{
		"exec with scripts": scripts,
		"exec contained": run(commandHead+"exit code 0\ngit: refs/heads/main moves from a to b\nnew in node_modules: 812 files, 3400 bytes, which the repository ignores\n"+changed,
			line, guard.ExecRun{Files: 817, Git: []string{"refs/heads/main moves from a to b"}, Folded: []guard.ExecFolded{{Folder: "node_modules", Files: 812, Bytes: 3400}}}),
		"exec changes nothing":      run(commandHead+"ended by signal 9\n", line, guard.ExecRun{Signal: 9}),
		"exec contained argv":       argv,
		"exec renames":              run(commandHead+"exit code 0\n"+string(moved)+"renames src → lib: 4 files, none of them changes\nrenamed src/1 → lib/1\ndeleted folder src\n", line, guard.ExecRun{Files: 11}),
		"exec taken back":           run("take back what a command changed\nexit code 0\n"+changed, "", guard.ExecRun{Files: 5}),
		"exec of another text":      run(commandHead+"exit code 0\n"+changed, "another line", guard.ExecRun{Files: 5}),
		"exec that wanted":          tried,
		"exec not run in a sandbox": not,
	}
}

// changes is a change of each kind without more.
func changes() map[string]client.Diff {
	unified := func(kind, before, after string) client.Diff {
		text, _ := diff.Unified(diff.File{Path: "conf/app.yaml", Data: []byte(before), Exists: before != "", Mode: 0o644},
			diff.File{Path: "conf/app.yaml", Data: []byte(after), Exists: after != "", Mode: 0o755}, diff.Options{Context: 60})
		return client.NewDiff(kind, string(text))
	}
	rows := func(d client.Diff, preview string) client.Diff {
		d.Preview = []byte(preview)
		return d
	}
	long := ""
	for i := range 40 {
		long += fmt.Sprintf("line %d\n", i)
	}
	return map[string]client.Diff{
		"unified":        unified("unified", long+"old\n", long+"new --- x\n+++ y"),
		"unified create": unified("unified", "", "one\n\ttwo \r\nthree\u202e"),
		// The value changes, and a comment beside it.
		"json_diff": rows(unified("json_diff", "# up to date\nport: 80\n", "# ask ops before you change this\nport: 81 # was: eighty\n"),
			`[{"op":"replace","path":"/port","from":80,"to":81}]`),
		"json_diff of a text": rows(unified("json_diff", "{\"a\": \"one\\ntwo\"}\n", "{\"a\": \"one\\nthree\",\n \"b\": [1, {\"c\": null}]}\n"),
			`[{"op":"replace","path":"/a","from":"one\ntwo","to":"one\nthree"},{"op":"add","path":"/b","to":[1,{"c":null}]}]`),
		"json_diff without rows": unified("json_diff", "a: 1\n", "a: 1 # one\n"),
		"json_patch": rows(client.NewDiff("json_patch", "name\n  - \"A\"\n  + \"B\"\n"),
			`[{"op":"replace","path":"/name","from":"A","to":"B"},{"op":"remove","path":"/notes/0","from":{"by":"ann","at":[1,2,3,4,5],"text":"first\nsecond"}},{"op":"add","path":"/tags/-","to":""}]`),
		"json_patch without rows": client.NewDiff("json_patch", "{\"name\":\"B\",\"n\":[1,2]}"),
		"json_patch moved":        rows(client.Diff{Type: "json_patch"}, `[{"op":"move","path":"/new","fromPath":"/old","from":"first","to":"second"}]`),
		"exec": client.NewDiff("exec", "folder    /home/me/shop\nrun by    a shell of the server\nprograms  npm, rm\nwrites    out.log\nsets      CI, TOKEN\n"+
			"waits     no: it goes on in the background\ncommand\nnpm test \\\n  --silent > out.log\nfolder    /\n"),
		"exec argv":    client.NewDiff("exec", "folder    the server's own\nargv      "+fmt.Sprintf("%q", []string{"git", "commit", "-m", "a b", "--amend"})+"\n"),
		"exec record":  client.NewDiff("exec", `{"command":"run","args":["one","two words"],"env":{"A":"b"},"cwd":"/x"}`),
		"message":      client.NewDiff("message", "channel: email\nto: ann@example.com (shown as Ann)\ncc: Bo <bob@partner.org>, eve@elsewhere.org\ndomain: example.com (1)\nattachment: q3.xlsx (12 bytes)\nsubject: To: nobody\n\nto: nobody@else.org\n\nAnn,\nhello  \n"),
		"message rows": client.NewDiff("message", "from     me@x.org\nto       ann@example.com, bob@partner.org\nsubject  Figures\nbody\nto       eve@elsewhere.org\n\nAnn,\n"),
		"message record": client.NewDiff("message", `{"from":"me@x.org","to":["Ann <ann@example.com>","bob@EXAMPLE.com"],"cc":"a@x.org, b@y.org","bcc":[],"subject":"Figures",`+
			`"attachments":["q3.xlsx"],"html":"<b>hi</b>","priority":{"level":1},"body":"See there.\n"}`),
		"http": client.NewDiff("http", "method  POST\nscheme  https\nhost    xn--pple-43d.com\nreads   \u0430pple.com\nport    8443\npath    /v1/pay\nquery   a=b\n"+
			"as sent https://\u0430pple.com:8443/v1/pay?a=b\nbody\n{\"x\":1}\nhost    other\n"),
		"http record": client.NewDiff("http", `{"method":"POST","url":"https://example.org/","headers":{"A":"b","C":"d"},"body":{"x":1},"timeout":5}`),
		"http text":   client.NewDiff("http", "POST /x HTTP/1.1\nHost: example.org\nX-Odd: 1\n\nbody: here\n"),
		"sql": client.NewDiff("sql", "dialect   postgres\ndoes      writes\n1 of 2    delete\n  changes users\n  reads   orders\n2 of 2    select\n  calls   pg_sleep\nvalues    [1,\"x\"]\n"+
			"text\nDELETE FROM users -- all\nWHERE id = $1; SELECT pg_sleep(1)\n"),
		"sql rows":        client.NewDiff("sql", "does    writes\ntables  users, orders\nstatement\nDELETE FROM users -- all\nWHERE id = 1\n"),
		"opaque":          client.NewDiff("opaque", "{\n  \"path\": \"x.go\",\n  \"content\": \"package main\\n\\nfunc main() {}\\n\",\n  \"n\": [1, 2, {\"a\": \"\\u001b[31m\"}]\n}\n"),
		"opaque, no JSON": client.NewDiff("opaque", "what\n{it says\n\n"),
		"another kind":    client.NewDiff("to come", "one\ntwo\n"),
	}
}

// fileHeader is what a diff says before its hunks, which the console spells
// otherwise: the name alone.
var fileHeader = regexp.MustCompile(`^(diff --git a/(.*) b/.*|(---|\+\+\+) (/dev/null|[ab]/.*))$`)

// spoken returns the words of a text, letters and digits alone.
func spoken(s string) []string {
	s = strings.NewReplacer(`\n`, " ", `\r`, " ", `\t`, " ", "<CR>", " ", "<TAB>", " ", "␍", " ", "→", " ").Replace(s)
	return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// drawn are words of the printed form that the console draws: a sign before a
// row, numbers before the words of a program.
func drawn(kind, word string) bool {
	switch word {
	case "add", "remove", "replace", "from":
		return kind == "json_patch" || kind == "json_diff"
	case "argv", "args":
		return kind == "exec"
	}
	return false
}

// painted reads a change in the console from its beginning to its end, and
// returns every row that was on the screen.
func painted(t *testing.T, d client.Detail, o view.Options, w int) string {
	t.Helper()
	v := view.New(d, o)
	v.SetSize(w, 7)
	v.UnfoldAll()
	var out strings.Builder
	for range 500 {
		out.WriteString(ansi.Strip(strings.Join(v.Render(), "\n")) + "\n")
		if v.AtEnd() {
			break
		}
		if _, _, percent, _ := v.Seen(); percent == 100 && d.Output == "" {
			t.Errorf("all of it counts as seen before its end was on the screen:\n%s", out.String())
		}
		v.Scroll(7)
	}
	folded := d.Diff.Exec != nil && d.Diff.Exec.Run != nil && len(d.Diff.Exec.Run.Folded) > 0
	if _, _, percent, last := v.Seen(); percent != 100 != folded || !last {
		t.Errorf("read to its end, %d %% of it counts as seen; folded %v", percent, folded)
	}
	return out.String()
}

// TestConsoleShowsWhatShowPrints compares, for each kind of change, the rows
// of the console with the lines of `approve show`: the console shows every
// printed word, as often as it is printed.
func TestConsoleShowsWhatShowPrints(t *testing.T) {
	for name, d := range viewed() {
		t.Run(name, func(t *testing.T) {
			p := (&app{}).page()
			p.change(d.Diff)
			p.ran(d)
			var want []string
			for line := range strings.Lines(p.buf.String()) {
				line = strings.TrimSuffix(line, "\n")
				if strings.HasPrefix(line, `\ No newline`) {
					line = "no newline at the end"
				}
				if m := fileHeader.FindStringSubmatch(line); m != nil && d.Diff.Type != "opaque" {
					want = append(want, spoken(m[2])...)
					continue
				}
				want = append(want, spoken(line)...)
			}
			if len(want) == 0 {
				t.Fatal("show prints nothing")
			}
			for _, o := range []view.Options{{}, {Split: true}} {
				got := map[string]int{}
				text := painted(t, d, o, 400)
				for _, w := range spoken(text) {
					got[w]++
				}
				missing := want[:0:0]
				for _, w := range want {
					if got[w]--; got[w] < 0 && !drawn(d.Diff.Type, w) {
						missing = append(missing, w)
					}
				}
				if o.Split { // what did not change stands there once, on both sides
					missing = slices.DeleteFunc(missing, func(w string) bool { return strings.Contains(text, w) })
				}
				if len(missing) > 0 {
					t.Errorf("split %v: not on the screen: %q\n%s\nshow prints\n%s", o.Split, missing, text, p.buf.String())
				}
			}
		})
	}
}

// TestShowPrintsWhatChanges: `approve show` prints both the values and the
// text of a change where they differ.
func TestShowPrintsWhatChanges(t *testing.T) {
	for name, d := range viewed() {
		p := (&app{}).page()
		p.change(d.Diff)
		got := map[string]bool{}
		for _, w := range spoken(p.buf.String()) {
			got[w] = true
		}
		for _, w := range append(spoken((&app{}).safe.Bytes([]byte(d.Diff.Preview)).String()), spoken(d.Diff.Text)...) {
			switch w {
			case "op", "path", "from", "to", "fromPath":
			default:
				if d.Diff.Type != "opaque" && !drawn(d.Diff.Type, w) && !got[w] && !strings.Contains(p.buf.String(), w) {
					t.Errorf("%s: %q is not printed:\n%s", name, w, p.buf.String())
				}
			}
		}
	}
}

// TestShowNamesBothPathsOfARename lists the effects of a command that renamed a
// file to a path beside others.
func TestShowNamesBothPathsOfARename(t *testing.T) {
	d := client.Detail{Diff: client.NewDiff("exec", "")}
	d.Diff.Exec = &guard.ExecFacts{Run: &guard.ExecRun{Files: 3, Renames: []guard.ExecRename{{From: "/w/a", To: "/w/b", Same: true}}}}
	there := client.State{Exists: true, Kind: "file", Computed: true}
	d.Effects = []client.Effect{{Kind: "exec", Key: "/w/a", Before: there}, {Kind: "exec", Key: "/w/b", After: there}, {Kind: "exec", Key: "/w/c", After: there}}
	p := (&app{}).page()
	p.effects(d)
	for _, want := range []string{"exec /w/a renamed to /w/b\n", "exec /w/b renamed from /w/a\n", "exec /w/c\n"} {
		if !strings.Contains(p.buf.String(), want) {
			t.Errorf("no %q in\n%s", want, p.buf.String())
		}
	}
}

func TestShowOfACommandStaysReadable(t *testing.T) {
	d := client.Detail{Diff: client.NewDiff("exec", commandHead), Output: strings.Repeat("line\n", 5000)}
	d.Diff.Exec = &guard.ExecFacts{Line: "make all", Folder: "/home/me/shop", Parsed: true, Run: &guard.ExecRun{Files: 2000}}
	for n := range 2000 {
		d.Effects = append(d.Effects, client.Effect{Kind: "exec", Key: fmt.Sprintf("/home/me/shop/build/f%d.o", n)})
	}
	p := newRig(t).app(mode{}).page()
	p.effects(d)
	p.ran(d)
	got := p.buf.String()
	for _, want := range []string{"/home/me/shop/build/f11.o", "and 1988 more paths; --json has all", "… 4961 more lines; --json has them …"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if n := lines(got); n > 100 {
		t.Errorf("got %d lines", n)
	}
}
