package effect

import (
	"os"
	"path/filepath"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/mcpguard/mcpguard/internal/expr"
)

// StaysWithin reports whether a shell line names no file outside the folders: each
// word is literal, and none that is or contains a path leads out. folder is where
// the line runs. It does not know which files programs read on their own.
func StaysWithin(line, folder string, roots []string) bool {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(line), "")
	if err != nil || len(line) > maxCommand {
		return false
	}
	var words []string
	within := true
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Word:
			text, plain := literal(n)
			within = within && plain
			words = append(words, text)
		case *syntax.ParamExp, *syntax.CmdSubst, *syntax.ProcSubst, *syntax.ArithmExp, *syntax.ExtGlob, *syntax.BraceExp:
			within = false
		}
		return within
	})
	bases := []string{folder}
	for _, w := range words {
		if d := filepath.Join(folder, w); !filepath.IsAbs(w) && isFolder(d) {
			bases = append(bases, d) // the line may change to it
		}
	}
	for _, w := range words {
		within = within && !leadsOut(w, bases, roots)
	}
	return within
}

func isFolder(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// leadsOut reports whether a word may name a file outside the folders.
func leadsOut(w string, bases, roots []string) bool {
	if strings.HasPrefix(w, "~") || strings.Contains(w, "~/") || strings.ContainsAny(w, "{}") && strings.Contains(w, "/") && strings.Contains(w, ",") {
		return true
	}
	if len(bases) > 1 && strings.Contains(w, "..") {
		return true // its starting point is unknown
	}
	var paths []string
	for i, r := range w {
		// Each position where an absolute path may begin.
		if r == '/' && (i == 0 || strings.HasPrefix(w, "-") || !isPathByte(w[i-1])) {
			end := i
			for end < len(w) && (w[end] == '/' || isPathByte(w[end])) {
				end++
			}
			paths = append(paths, w[i:end], w[i:])
		}
	}
	for _, part := range append([]string{w}, strings.FieldsFunc(w, func(r rune) bool { return r == '=' || r == ':' || r == ',' })...) {
		if part != "" && !filepath.IsAbs(part) {
			for _, b := range bases {
				paths = append(paths, filepath.Join(b, part))
			}
		}
	}
	for _, p := range paths {
		found := []string{p}
		if strings.ContainsAny(p, "*?[") {
			found, _ = filepath.Glob(p) // then it is not a glob pattern
		}
		for _, p := range found {
			if _, err := os.Lstat(p); err != nil || p == os.DevNull {
				continue // it does not exist
			}
			real, err := filepath.EvalSymlinks(p)
			if err != nil {
				return true
			}
			in := false
			for _, root := range roots {
				in = in || expr.Under(real, root)
			}
			if !in {
				return true
			}
		}
	}
	return false
}

func isPathByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("._-+@%", b) >= 0
}

// EndsIn returns the folder in which a shell line ends if it succeeds: "" means the
// one where it began. known is false if the line does not tell.
func EndsIn(line string) (folder string, known bool) {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(line), "")
	if err != nil || len(line) > maxCommand {
		return "", false
	}
	var moves []*syntax.CallExpr
	known = true
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Subshell, *syntax.CmdSubst, *syntax.ProcSubst:
			return false // its effect stays inside the subshell
		case *syntax.FuncDecl:
			known = false
		case *syntax.CallExpr:
			if len(n.Args) == 0 {
				return true
			}
			name, plain := literal(n.Args[0])
			switch {
			case !plain:
				known = false
			case name == "cd":
				moves = append(moves, n)
			case name == "pushd", name == "popd", name == "eval", name == "source", name == ".", name == "builtin", name == "command", name == "alias", name == "exec", name == "trap", name == "exit":
				known = false
			}
		}
		return known
	})
	switch {
	case !known:
		return "", false
	case len(moves) == 0:
		return "", true
	case len(moves) > 1 || len(moves[0].Args) != 2 || len(moves[0].Assigns) > 0 || leftmost(f) != moves[0]:
		return "", false
	}
	to, plain := literal(moves[0].Args[1])
	if !plain || to == "" || strings.HasPrefix(to, "-") || strings.HasPrefix(to, "~") || strings.ContainsAny(to, "*?[{") {
		return "", false
	}
	return to, true
}

// leftmost returns the command that a line always begins with, in its own shell.
func leftmost(f *syntax.File) *syntax.CallExpr {
	if len(f.Stmts) == 0 {
		return nil
	}
	s := f.Stmts[0]
	for {
		if s.Negated || s.Background || s.Coprocess || len(s.Redirs) > 0 {
			return nil
		}
		switch c := s.Cmd.(type) {
		case *syntax.CallExpr:
			return c
		case *syntax.BinaryCmd:
			if c.Op != syntax.AndStmt {
				return nil
			}
			s = c.X
		default:
			return nil
		}
	}
}
