package change

import (
	"slices"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// A call that is no change of a file is described by the daemon in rows of one
// name and one value each, the values in one column, and then, behind a row that
// is a name alone, a text up to the end:
//
//	method  POST
//	host    api.example.org
//	body
//	{"x":1}
//
// What stands in that text cannot be taken for a row: the first such name ends
// them.

// fact is one row of a description.
type fact struct{ name, value string }

// sheet is a description: its rows, and the text behind them.
type sheet struct {
	facts []fact
	title string // of the text; empty where there is none
	text  string
}

// readSheet parses a description whose text follows one of the titles. ok is
// false if s is not a description.
func readSheet(s string, titles ...string) (sh sheet, ok bool) {
	var rows []string
	for rest := s; rest != ""; {
		line, more, ended := strings.Cut(rest, "\n")
		if slices.Contains(titles, line) && ended {
			sh.title, sh.text = line, more
			break
		}
		rows = append(rows, line)
		rest = more
	}
	if len(rows) == 0 {
		return sh, sh.title != ""
	}
	col := column(rows)
	if col == 0 {
		return sheet{}, false
	}
	for _, r := range rows {
		sh.facts = append(sh.facts, fact{strings.TrimRight(r[:col], " "), r[col:]})
	}
	return sh, true
}

// column returns where the values of all rows begin, 0 if they are not
// aligned.
func column(rows []string) int {
	const widest = 24
	for col := 2; col <= widest; col++ {
		if !slices.ContainsFunc(rows, func(r string) bool { return !beginsAt(r, col) }) {
			return col
		}
	}
	return 0
}

// beginsAt reports whether the row is a name, blanks, and a value from col on.
func beginsAt(r string, col int) bool {
	if len(r) <= col || r[col] == ' ' || r[col-1] != ' ' {
		return false
	}
	name := strings.TrimRight(r[:col], " ")
	if name == "" || strings.Contains(name, "  ") {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c != ' ' && c != '-' && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// facts adds the rows of a description.
func (b *builder) facts(list []fact) {
	widest := 0
	for _, f := range list {
		widest = max(widest, len(f.name))
	}
	for _, f := range list {
		label := f.name + ": " + strings.Repeat(" ", widest-len(f.name))
		switch {
		case f.name == "argv" && b.argv(f.value):
		case mails(f.name):
			b.recipients(label, addresses(f.value))
		case namesOne(f.name):
			b.identity(label, f.value)
		default:
			b.field(label, f.value)
		}
	}
}

// described adds a description, and reports whether text is one.
func (b *builder) described(text string, lang language, titles ...string) bool {
	sh, ok := readSheet(text, titles...)
	if !ok {
		return false
	}
	b.facts(sh.facts)
	if sh.title == "" {
		return true
	}
	b.header()
	b.hunks[len(b.hunks)-1].asText = true
	b.hunks[len(b.hunks)-1].lang = lang
	b.title(sh.title)
	b.plainText(sh.text)
	return true
}

// argv adds the arguments of a program, formatted as Go formats a list of
// strings, one per row. It reports whether s is such a list.
func (b *builder) argv(s string) bool {
	rest, ok := strings.CutPrefix(s, "[")
	if !ok {
		return false
	}
	var words []string
	for rest != "]" {
		q, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return false
		}
		w, err := strconv.Unquote(q)
		if err != nil {
			return false
		}
		words = append(words, w)
		rest = strings.TrimPrefix(rest[len(q):], " ")
	}
	b.title(count(len(words), "argument", "arguments"))
	for i, w := range words {
		add := b.field
		if i == 0 {
			add = b.identity // the program
		}
		add("["+strconv.Itoa(i)+"] ", shellWord(w))
	}
	return true
}

// mails reports whether a name precedes recipients.
func mails(name string) bool {
	switch strings.ToLower(name) {
	case "to", "cc", "bcc", "recipients":
		return true
	}
	return false
}

// addresses splits a list of addresses, if s is one.
func addresses(s string) []string {
	parts := strings.Split(s, ",")
	for i, p := range parts {
		parts[i] = strings.TrimSpace(p)
		if !strings.Contains(parts[i], "@") {
			return []string{s}
		}
	}
	return parts
}

// domainOf returns what follows the last @ of an address, in lower case.
func domainOf(address string) string {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return ""
	}
	d := address[i+1:]
	if end := strings.IndexAny(d, "> \t\"'(),;]}"); end >= 0 {
		d = d[:end]
	}
	return strings.ToLower(d)
}

// recipients adds the recipients of a message by domain, which shows how far
// it goes.
func (b *builder) recipients(label string, list []string) {
	var domains []string
	at := map[string][]string{}
	for _, a := range list {
		d := domainOf(a)
		if at[d] == nil {
			domains = append(domains, d)
		}
		at[d] = append(at[d], a)
	}
	switch {
	case len(list) == 1:
		b.identity(label, list[0])
		return
	case len(domains) == 1:
		b.field(label, count(len(list), "recipient", "recipients")+" in 1 domain")
	default:
		b.field(label, count(len(list), "recipient", "recipients")+" in "+strconv.Itoa(len(domains))+" domains")
	}
	for _, d := range domains {
		if d == "" {
			b.note("  without a domain:")
			for _, a := range at[d] {
				b.identity("    ", a)
			}
			continue
		}
		b.identity("  @", d)
		for _, a := range at[d] {
			b.identity("    ", a)
		}
	}
}

// recipientsOf reads recipients from a value: a list, or a text.
func recipientsOf(v jsonvalue.Value) []string {
	if v.Type() != jsonvalue.TypeArray {
		if v.Type() == jsonvalue.TypeString && word1(v) == v.Text() {
			return addresses(v.Text())
		}
		return []string{word1(v)}
	}
	var out []string
	for _, e := range v.Elems() {
		out = append(out, word1(e))
	}
	return out
}
