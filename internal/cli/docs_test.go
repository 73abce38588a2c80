package cli_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/cli/approve"
	"github.com/mcpguard/mcpguard/internal/cli/mcpguard"
	"github.com/mcpguard/mcpguard/internal/cli/mcpguardd"
)

// Where a page shows a command: at the beginning of a line of code (behind the
// prompt where there is one), as a span of code, or inside $(…).
var (
	codeLine = regexp.MustCompile(`^(?:    |\t)?(?:\$ )?((?:mcpguardd?|approve) .*)$`)
	codeSpan = regexp.MustCompile("`((?:mcpguardd?|approve) [^`]+)`")
	inline   = regexp.MustCompile(`\$\(((?:mcpguardd?|approve) [^)]+)\)`)
	// word is one of a command line. What ends a command ends the match before
	// it; so do two blanks, behind which a column of remarks begins.
	word = regexp.MustCompile(`^ ("[^"]*"|'[^']*'|[^\s|;&<>#()"']+(?:"[^"]*")?)`)
)

// commands returns the command lines of a page, in words.
func commands(page string) (list [][]string) {
	fenced := false
	for l := range strings.Lines(page) {
		l = strings.TrimSuffix(l, "\n")
		if strings.HasPrefix(l, "```") {
			fenced = !fenced
			continue
		}
		var found []string
		if m := codeLine.FindStringSubmatch(l); m != nil && (fenced || strings.HasPrefix(l, "    ")) {
			found = append(found, m[1])
		}
		for _, re := range []*regexp.Regexp{codeSpan, inline} {
			for _, m := range re.FindAllStringSubmatch(l, -1) {
				found = append(found, m[1])
			}
		}
		for _, text := range found {
			name, rest, _ := strings.Cut(text, " ")
			words, rest := []string{name}, " "+rest
			for {
				m := word.FindStringSubmatch(rest)
				if m == nil {
					break
				}
				words, rest = append(words, strings.Trim(m[1], `"'`)), rest[len(m[0]):]
			}
			list = append(list, words)
		}
	}
	return list
}

// clientProgram is mcpguard as a command line that prints into a file.
func clientProgram(args []string, in *os.File, out, stderr io.Writer) int {
	f, err := os.CreateTemp("", "out")
	if err != nil {
		return 1
	}
	defer os.Remove(f.Name())
	defer f.Close()
	code := mcpguard.Main(mcpguard.Command{Args: args, In: in, Out: f, Err: stderr})
	text, err := os.ReadFile(f.Name())
	if err != nil {
		return 1
	}
	if _, err := out.Write(text); err != nil {
		return 1
	}
	return code
}

// misspelt says what is wrong with a command line; it runs nothing but its help.
func misspelt(words []string) string {
	args := []string{}
	for _, w := range words[1:] {
		if w == "--" {
			break
		}
		args = append(args, w)
	}
	run := mcpguardd.Main
	switch words[0] {
	case "approve":
		run = approve.Main
	case "mcpguard":
		run = clientProgram
	}
	var out, stderr bytes.Buffer
	if run(append(args, "--help"), os.Stdin, &out, &stderr) != 0 {
		return stderr.String()
	}
	// An unknown command gets the help of the one above it.
	path := words[:1:1]
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			break
		}
		path = append(path, a)
	}
	for n := 1; n < len(path); n++ {
		if strings.Contains(out.String(), "\n  "+strings.Join(path[:n], " ")+" [command]\n") {
			return "there is no such command"
		}
	}
	return ""
}

// TestCommandsInTheDocs tries each command that a page shows: it exists, with
// these flags.
func TestCommandsInTheDocs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../*.md")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, page := range append(pages, more...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range commands(string(text)) {
			tried++
			if wrong := misspelt(words); wrong != "" {
				t.Errorf("%s: %q: %s", page, words, wrong)
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d commands were found; the test does not read the pages", tried)
	}
	for _, bad := range []string{"mcpguardd ad files", "mcpguardd import --rite", "mcpguardd audit exprt", "approve sho 1", "approve --cont", "mcpguardd hooks install --scop user", "mcpguard stdio files --ass x", "mcpguard hook pre --timeout 5s", "mcpguard serve"} {
		if misspelt(strings.Fields(bad)) == "" {
			t.Errorf("%q passes for a command", bad)
		}
	}
}
