package change

import (
	"fmt"
	"strings"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// edited returns the diff of a file, as the daemon makes it.
func edited(name, before, after string, modes ...uint32) client.Detail {
	old, new := uint32(0o644), uint32(0o644)
	if len(modes) == 2 {
		old, new = modes[0], modes[1]
	}
	text, r := diff.Unified(
		diff.File{Path: name, Data: []byte(before), Exists: before != "", Mode: old},
		diff.File{Path: name, Data: []byte(after), Exists: after != "", Mode: new}, diff.Options{})
	d := client.Detail{Diff: client.NewDiff("unified", string(text))}
	d.Diff.Added, d.Diff.Removed = r.Added, r.Removed
	return d
}

func of(kind, text string) client.Detail { return client.Detail{Diff: client.NewDiff(kind, text)} }

const goBefore = `package shop

import "fmt"

// Total sums.
func Total(a, b int) int {
	sum := a + b
	if sum > 10 {
		return sum * 2
	}
	return sum
}

func main() { fmt.Println(Total(1, 2)) }

var name = "shop"`

const goAfter = "package shop\n\nimport \"fmt\"\n\n// Total sums up.  \nfunc Total(a, b, c int) int {\n\tsum := a + b + c\n" +
	"\tif sum > 12 { // access\u202e txt.exe\n\t\tfmt.Println(\"sum\", sum)\r\n\t\treturn sum * 2\n\t}\n\treturn sum\n}\n\n" +
	"func main() { fmt.Println(Total(1, 2)) }\n\nvar r\u0430yp\u0430l = \"日本語\" // שלום\n"

// folded is a diff with all of its context.
func folded() client.Detail {
	var a, b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&a, "line %d\n", i)
		switch i {
		case 5, 50:
			fmt.Fprintf(&b, "LINE %d\n", i)
		default:
			fmt.Fprintf(&b, "line %d\n", i)
		}
	}
	hidden := strings.ReplaceAll(a.String(), "line 30\n", "li\u200bne 30\n")
	text, _ := diff.Unified(diff.File{Path: "f.txt", Data: []byte(hidden), Exists: true},
		diff.File{Path: "f.txt", Data: []byte(strings.ReplaceAll(b.String(), "line 30\n", "li\u200bne 30\n")), Exists: true}, diff.Options{Context: 100})
	return of("unified", string(text))
}

const rowsPreview = `[{"op":"replace","path":"/version","from":"1.0","to":"1.1\u202e"},` +
	`{"op":"add","path":"/a b/~1x","to":{"k":[1,2,3],"list":[{"a":true},null],"long":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","t":"a\nb\nc"}},` +
	`{"op":"remove","path":"/gone","from":null},{"op":"move","path":"/new","fromPath":"/old","from":1,"to":1},` +
	`{"op":"replace","path":"/script","from":"one\ntwo\nthree","to":"one\n2\nthree\n"}]`

func withPreview(d client.Detail, kind, preview string) client.Detail {
	d.Diff.Type, d.Diff.Preview = kind, []byte(preview)
	return d
}

// contained is a command that ran in a sandbox. Its line contains what follows it.
func contained() client.Detail {
	line := "make gen\nexit code 0\nnew in lib: 3 files"
	edit, _ := diff.Unified(diff.File{Path: "src/total.go", Data: []byte(goBefore), Exists: true, Mode: 0o644}, diff.File{Path: "src/total.go", Data: []byte(strings.Replace(goBefore, "sum * 2", "sum * 3", 1)), Exists: true, Mode: 0o755}, diff.Options{})
	created, _ := diff.Unified(diff.File{Path: "dist/r\u0430y.txt"}, diff.File{Path: "dist/r\u0430y.txt", Data: []byte("new folder no\n"), Exists: true, Mode: 0o644}, diff.Options{})
	d := of("exec", "folder    /w\nrun by    a shell of the server\nprograms  make\ncommand\n"+line+"\nexit code 0\ngit: refs/heads/main moves from 1a2b3c4 to 5d6e7f8: \"gen\" by Ann\n"+
		"new in node_modules: 812 files, 3400 bytes, which the repository ignores\n"+"new folder dist (mode 0755)\nnew link dist/p\u0430y → ../../etc\n"+string(created)+"git file .git/refs/heads/main: modify\n"+string(edit))
	d.Diff.Exec = &guard.ExecFacts{Line: line, Folder: "/w", Parsed: true, Run: &guard.ExecRun{Files: 817, Git: []string{"refs/heads/main"}, Folded: []guard.ExecFolded{{Folder: "node_modules", Files: 812, Bytes: 3400}}}}
	d.Output = "generating\nwarning: \x1b[31mred\x1b[0m\ndone\n"
	return d
}

// renaming is a command that moves a folder, and renames a file in other ways.
func renaming() client.Detail {
	line := "mv src lib && mv a.go b.go"
	edit, _ := diff.Unified(diff.File{Path: "a.go", Data: []byte(goBefore), Exists: true, Mode: 0o644}, diff.File{Path: "b.go", Data: []byte(strings.Replace(goBefore, "sum * 2", "sum * 3", 1)), Exists: true, Mode: 0o755}, diff.Options{})
	pure, _ := diff.Unified(diff.File{Path: "x.txt", Exists: true, Mode: 0o644}, diff.File{Path: "y.txt", Exists: true, Mode: 0o644}, diff.Options{})
	d := of("exec", "folder    /w\nrun by    a shell of the server\nprograms  mv\ncommand\n"+line+"\nexit code 0\n"+string(edit)+
		"new folder lib (mode 0755)\nrenames src → lib: 4 files, none of them changes\nrenamed src/1 → lib/1\nrenamed src/2 → lib/2\nrenamed src/p\u0430y → lib/p\u0430y\nrenamed src/4 → lib/4\ndeleted folder src\n"+string(pure))
	d.Diff.Exec = &guard.ExecFacts{Line: line, Folder: "/w", Parsed: true, Run: &guard.ExecRun{Files: 14}}
	return d
}

// scripted is a command that runs what its run has changed. Its line, and a script,
// contain what such a script begins with.
func scripted() client.Detail {
	facts := guard.ExecFacts{Line: "bash deploy.sh\nscript x, which this run has changed, 1 bytes", Folder: "/w", Parsed: true, Scripts: []guard.ExecScript{
		{Path: "/w/deploy.sh", Size: 47, Text: "set -e # stop\ncurl \u202ehttps://x\nscript no\n| x\n"}, {Path: "/w/p\u0430y.py", Size: 70000, Text: "import os\n"}}}
	d := of("exec", "folder    /w\nrun by    a shell of the server\nprograms  bash\ncommand\n"+facts.Line+"\n"+facts.ScriptsText())
	d.Diff.Exec = &facts
	d.Attempt = &guard.ExecRun{Wanted: []guard.ExecWant{{Kind: "host", What: "x"}}}
	return d
}

// wanted is a command that its sandbox did not contain.
func wanted() client.Detail {
	d := of("exec", "folder    /w\nrun by    a shell of the server\nprograms  curl\ncommand\ncurl -s https://example.org/x | tee x\n")
	d.Diff.Exec = &guard.ExecFacts{Line: "curl -s https://example.org/x | tee x", Folder: "/w", Parsed: true}
	d.Attempt = &guard.ExecRun{Exit: 6, Files: 1, Wanted: []guard.ExecWant{{Kind: "host", What: "ex\u0430mple.org"}, {Kind: "path", What: "/home/a\nb"}}, Left: []string{"sleep"}}
	d.Output = "curl: (6) Could not resolve host: example.org\n"
	return d
}

type namedCase struct {
	name string
	d    client.Detail
	o    Options
}

func cases() []namedCase {
	edit := edited("src/total.go", goBefore, goAfter, 0o644, 0o755)
	long := edited("long.txt", "short\n"+strings.Repeat("0123456789 ", 30)+"end\n", "short\n"+strings.Repeat("0123456789 ", 30)+"END\n")
	move := of("unified", "diff --git a/old.go b/new.go\nrename from old.go\nrename to new.go\n")
	edit.Hazards = []client.Hazard{{Kind: "bidi_control", Text: "1 character that reorders text, on line 8"}}
	edit.Effects = []client.Effect{{Kind: "file.write", Key: "/w/src/total.go", Before: client.State{Exists: true, Kind: "file", SHA256: "sha256:aa", Computed: true}}}
	return []namedCase{
		{"edit", edit, Options{}},
		{"edit-wrap", edit, Options{Wrap: true}},
		{"edit-split", edit, Options{Split: true}},
		{"edit-raw", edit, Options{Raw: true}},
		{"edit-tabs-8", edit, Options{TabWidth: 8}},
		{"edit-ascii", edit, Options{ASCII: true}},
		{"create", edited("conf/app.yaml", "", "# settings\nname: shop # the name\nport: 80\n"), Options{}},
		{"delete", edited("old.sql", "select 1; -- one\n", ""), Options{}},
		{"names", edited("отчёты/январь 2026.go", "package a\n", "package b\n"), Options{}},
		{"names-odd", edited("p\u0430y/a\nb.go", "package a\n", "package b\n"), Options{}},
		{"names-moved", of("unified", "diff --git \"a/caf\\303\\251.txt\" b/x.txt\nrename from \"caf\\303\\251.txt\"\nrename to x.txt\n"), Options{}},
		{"crlf", edited("a.txt", "one\ntwo\n", "one\r\ntwo\r\n"), Options{}},
		{"binary", edited("a.bin", "a\x00b", "a\x00c"), Options{}},
		{"rename", move, Options{}},
		{"folds", folded(), Options{}},
		{"folds-split", folded(), Options{Split: true}},
		{"long-lines", long, Options{}},
		{"long-lines-wrap", long, Options{Wrap: true}},
		{"patch", withPreview(client.Detail{}, "json_patch", rowsPreview), Options{}},
		{"patch-split", withPreview(client.Detail{}, "json_patch", rowsPreview), Options{Split: true}},
		{"patch-ascii", withPreview(client.Detail{}, "json_patch", rowsPreview), Options{ASCII: true}},
		{"patch-and-text", withPreview(edited("package.json", "{\n  \"version\": \"1.0\"\n}\n", "{\n  \"version\": \"1.1\"\n}\n"), "unified", `[{"op":"replace","path":"/version","from":"1.0","to":"1.1"}]`), Options{}},
		{"patch-document", withPreview(edited("package.json", "{\n  \"version\": \"1.0\"\n}\n", "{\n  \"version\": \"1.1\"\n}\n"), "unified", `[{"op":"replace","path":"/version","from":"1.0","to":"1.1"}]`), Options{Document: true}},
		{"values-and-comment", withPreview(edited("app.yaml", "# up to date\nport: 80\n", "# ask ops before you change this\nport: 81 # was: eighty\n"), "json_diff", `[{"op":"replace","path":"/port","from":80,"to":81}]`), Options{}},
		{"opaque", of("opaque", `{"content":"package main\n\nfunc main() {}\n","n":[1,2,{"a":"\u001b[31m"}],"path":"x.go"}`), Options{}},
		{"message", of("message", `{"to":["a@x.org","b@y.org"],"from":"mé@x.org","subject":"Hällo","body":"Dear you,\n\nhere it is.  \n\nMe","priority":1}`), Options{}},
		{"letter", of("message", "From: me@x.org\nTo: you@x.org\nSubject: hi\n\nbody: here\n"), Options{}},
		{"exec", of("exec", `{"argv":["git","push","--force","a b","$(rm)",""],"cwd":"/home/me","env":["PATH","HOME"]}`), Options{}},
		{"http", of("http", `{"method":"POST","url":"https://xn--e1a.org/","headers":{"A":"b"},"body":"{\"x\":1}"}`), Options{}},
		{"sql", of("sql", "select * from users -- all\nwhere id = 1"), Options{}},
		{"message-domains", of("message", `{"from":"me@x.org","to":["Ann <ann@example.com>","bob@EXAMPLE.com","eve@ex\u0430mple.com"],"cc":"a@x.org, b@y.org","bcc":[],"subject":"Figures","attachments":["q3.xlsx"],"body":"See there.\n"}`), Options{}},
		{"message-rows", of("message", "from     me@x.org\nto       ann@example.com, bob@partner.org\nsubject  To: nobody\nbody\nto       eve@elsewhere.org\n\nAnn,\n"), Options{}},
		{"exec-rows", of("exec", "folder    /home/me/shop\nrun by    a shell of the server\nprograms  npm, rm\nwrites    out.log\ncommand\nnpm test \\\n  --silent > out.log\nfolder    /\n"), Options{}},
		{"exec-argv", of("exec", "folder    the server's own\nargv      "+fmt.Sprintf("%q", []string{"git", "commit", "-m", "a \"b\"\n\u202ec"})+"\n"), Options{}},
		{"exec-contained", contained(), Options{}},
		{"exec-contained-split", contained(), Options{Split: true}},
		{"exec-renames", renaming(), Options{}},
		{"exec-wanted", wanted(), Options{}},
		{"exec-scripts", scripted(), Options{}},
		{"http-rows", of("http", "method  POST\nscheme  https\nhost    xn--pple-43d.com\npath    /v1/pay\nas sent https://\u0430pple.com/v1/pay\nbody\n{\"x\":1}\n"), Options{}},
		{"sql-rows", of("sql", "does    writes\ntables  users, orders\nstatement\nDELETE FROM users -- all\nWHERE id IN (SELECT user_id FROM orders ORDER BY 1 LIMIT 10)\n"), Options{}},
		{"read", client.Detail{Approval: client.Approval{Tier: "T0_READ"}, Diff: client.NewDiff("opaque", "{\n  \"path\": \".env\"\n}\n")}, Options{}},
		{"effects", client.Detail{Diff: client.Diff{Type: "unified"}, Effects: []client.Effect{{Kind: "file.move", Key: "/a b", Dest: "/c", Before: client.State{Mode: "0644"}, After: client.State{Mode: "0755"}}}}, Options{}},
		{"pruned", client.Detail{Diff: client.Diff{Type: "unified", Pruned: true}}, Options{}},
	}
}

// betweens are pairs of changes.
func betweens() map[string][2]client.Detail {
	edit := cases()[0].d
	shifted := edited("src/total.go", "// first\n"+goBefore, "// first\n"+goAfter, 0o644, 0o755)
	other := edited("src/total.go", strings.Replace(goBefore, "sum * 2", "sum * 3", 1), strings.Replace(goAfter, "sum * 2", "sum * 3", 1), 0o644, 0o755)
	other.Hazards = append([]client.Hazard{{Kind: "coarse_diff", Text: "the diff is coarse"}}, edit.Hazards...)
	other.Effects = []client.Effect{{Kind: "file.write", Key: "/w/src/total.go", Before: client.State{Exists: true, Kind: "file", SHA256: "sha256:bb", Computed: true}}}
	return map[string][2]client.Detail{
		"same":    {edit, edit},
		"shifted": {withHazards(edit, nil), shifted},
		"other":   {edit, other},
		"opaque":  {of("opaque", `{"a":1,"b":[1,2]}`), of("opaque", `{"a":1,"b":[1,3]}`)},
		"nul":     {of("opaque", "x\x00\n1\n"), of("opaque", "x\x00\n2\n")},
		"pruned":  {edit, client.Detail{Diff: client.Diff{Type: "unified", Pruned: true}}},
	}
}

func withHazards(d client.Detail, h []client.Hazard) client.Detail {
	d.Hazards, d.Effects = h, nil
	return d
}
