package change

import (
	"path"
	"strings"
)

// language is how the lines of a file are coloured. Each line is coloured by
// itself, from its own characters alone: nothing in one line can make another
// look like a comment.
type language uint8

const (
	noLanguage language = iota
	curly               // comments //, strings "" '' ``
	hashed              // comments #, strings "" ''
	dashed              // comments --, strings ''
	data                // JSON
)

// maxColoured is the longest line that is coloured, in bytes.
const maxColoured = 2000

func languageOf(file string) language {
	switch strings.ToLower(path.Ext(file)) {
	case ".go", ".c", ".h", ".cc", ".cpp", ".hpp", ".java", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".rs", ".kt", ".swift", ".cs", ".scala", ".dart", ".proto":
		return curly
	case ".py", ".sh", ".bash", ".zsh", ".rb", ".yaml", ".yml", ".toml", ".pl", ".tf", ".dockerfile", ".mk":
		return hashed
	case ".sql", ".lua":
		return dashed
	case ".json", ".jsonc":
		return data
	}
	return noLanguage
}

// keywords are words of the languages above, between blanks.
const keywords = " and as async await begin bool break case catch chan class const continue create def default defer delete do elif else end enum esac except export extends false fi finally float fn for from func function go goto if impl implements import in insert int interface into is lambda let map match mod module mut new nil none not null or package pass private protected pub public raise range return select self set static string struct super switch table then this throw trait true try type undefined union update use using values var void where while with yield "

// sqlWords are the words of SQL, and those of Lua that are not among them.
const sqlWords = " add all alter and any as asc begin between by cascade case check column commit constraint create cross database default delete desc distinct do drop else elseif end except exists explain false for foreign from full function grant group having if in index inner insert into is join key left like limit local natural nil not null offset on or order outer pragma primary references repeat replace return returning revoke right rollback row schema select set table then trigger true truncate union unique until update using values view where while with "

// overlaySyntax colours a line.
func overlaySyntax(s string, l language, classes []class) {
	if l == noLanguage {
		return
	}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case begins(s, i, l):
			paint(classes, i, len(s), comment)
			return
		case c == '"' || c == '\'' && l != data || c == '`' && l == curly:
			end := quoted(s, i)
			if end < 0 { // not closed on this line: it may be no string at all
				i++
				continue
			}
			paint(classes, i, end, str)
			i = end
		case '0' <= c && c <= '9':
			end := run(s, i)
			paint(classes, i, end, number)
			i = end
		case wordByte(c):
			end := run(s, i)
			w := s[i:end]
			known := keywords
			if l == dashed {
				known = sqlWords
			}
			switch {
			case len(w) <= 10 && strings.Contains(known, " "+lower(w, l)+" "):
				paint(classes, i, end, keyword)
			case end < len(s) && s[end] == '(':
				paint(classes, i, end, name)
			}
			i = end
		default:
			i++
		}
	}
}

// lower returns a word in the form of the keyword list; only SQL ignores case.
func lower(w string, l language) string {
	if l == dashed {
		return strings.ToLower(w)
	}
	return w
}

// begins reports whether a comment starts at i: at the start of the line or
// after a blank.
func begins(s string, i int, l language) bool {
	if i > 0 && s[i-1] != ' ' && s[i-1] != '\t' {
		return false
	}
	switch l {
	case curly:
		return strings.HasPrefix(s[i:], "//")
	case hashed:
		return s[i] == '#'
	case dashed:
		return strings.HasPrefix(s[i:], "-- ")
	}
	return false
}

// quoted returns where the string ends that starts at i, -1 if it does not.
func quoted(s string, i int) int {
	q := s[i]
	for j := i + 1; j < len(s); j++ {
		switch {
		case s[j] == '\\' && q != '`':
			j++
		case s[j] == q:
			return j + 1
		}
	}
	return -1
}

func run(s string, i int) int {
	for i < len(s) && wordByte(s[i]) {
		i++
	}
	return i
}
