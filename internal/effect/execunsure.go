package effect

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// interpreters run the program that their first operand names, or that they read
// from their standard input.
var interpreters = slices.Concat(shells, []string{".", "bun", "deno", "exec", "lua", "node", "osascript", "perl", "php", "pwsh", "python", "ruby", "source", "tclsh", "ts-node", "tsx"})

// unsure reports whether a line runs something that none of its words names: the name
// is computed, it comes through a pipe, or a variable decides.
func (s *shellText) unsure() bool {
	if s.computed || slices.ContainsFunc(s.environment, steers) {
		return true
	}
	return slices.ContainsFunc(s.commands, func(words []shellWord) bool {
		if !slices.Contains(interpreters, known(words[0].text)) {
			return false
		}
		for _, w := range words[1:] {
			switch {
			case !w.plain || w.text == "{}" || w.text == "-" || w.text == "-s":
				return true
			case w.text == "-m" || len(w.text) > 1 && w.text[0] == '-' && w.text[1] != '-' && strings.ContainsAny(w.text[1:], "ce"):
				return false // its program stands there
			case !strings.HasPrefix(w.text, "-"):
				return false
			}
		}
		return true
	})
}

// mayName reports whether the text of a command may stand for a file: it has the
// file's name, a pattern of it, or something that is computed when it runs.
func (c command) mayName(file string) bool {
	text := c.line + "\x00" + strings.Join(c.argv, "\x00")
	base := filepath.Base(file)
	if strings.Contains(text, base) || strings.ContainsAny(text, "$`{\\") {
		return true
	}
	for token := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" \t\n\x00;|&()<>\"'=", r) }) {
		if ok, err := path.Match(path.Base(token), base); ok || err != nil {
			return true
		}
	}
	return false
}

// isProgram reports whether a file may be run by its name.
func isProgram(file string) bool {
	st, err := os.Stat(file)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}
