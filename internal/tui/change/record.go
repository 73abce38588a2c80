package change

import (
	"slices"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// pathText returns a name unchanged, or as a JSON string if it could be
// misread.
func pathText(s string) string {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return quoteJSON(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}

// quoteJSON returns s as a JSON string; invalid UTF-8 bytes are kept.
func quoteJSON(s string) string {
	if v, err := jsonvalue.String(s); err == nil {
		return string(v.Encode())
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// jsonLine returns a value on one line.
func jsonLine(v jsonvalue.Value) string { return string(v.Encode()) }

// jsonLines returns a value over several lines, each with its newline.
func jsonLines(v jsonvalue.Value) string {
	var b strings.Builder
	spread(v, "", "", "", func(_ int, s string, _ bool) {
		b.WriteString(s)
		b.WriteByte('\n')
	})
	return b.String()
}

// maxInline is the longest array of scalars that is shown on one line.
const maxInline = 60

// spread yields the lines of a value, indented. A string with newlines
// continues on a new line after the escape of each; more marks these lines.
// named is how many bytes of a line are indentation and member name, 0 without
// a name.
func spread(v jsonvalue.Value, indent, name, tail string, yield func(named int, s string, more bool)) {
	head, named := indent+name, 0
	if name != "" {
		named = len(head)
	}
	open, end := "{", "}"
	if v.Type() == jsonvalue.TypeArray {
		open, end = "[", "]"
	}
	switch {
	case v.Type() == jsonvalue.TypeString:
		for i, part := range stringParts(string(v.Encode()) + tail) {
			if i > 0 {
				yield(0, part, true)
			} else {
				yield(named, head+part, false)
			}
		}
		return
	case v.Type() != jsonvalue.TypeArray && v.Type() != jsonvalue.TypeObject, v.Len() == 0, short(v):
		yield(named, head+string(v.Encode())+tail, false)
		return
	}
	yield(named, head+open, false)
	n := 0
	comma := func() string {
		if n++; n < v.Len() {
			return ","
		}
		return ""
	}
	for key, m := range v.Members() {
		spread(m, indent+"  ", quoteJSON(key)+": ", comma(), yield)
	}
	for _, e := range v.Elems() {
		spread(e, indent+"  ", "", comma(), yield)
	}
	yield(0, indent+end+tail, false)
}

// short reports whether v is an array that fits on a line.
func short(v jsonvalue.Value) bool {
	if v.Type() != jsonvalue.TypeArray || v.Len() > maxInline/2 {
		return false
	}
	for _, e := range v.Elems() {
		if e.Type() == jsonvalue.TypeArray || e.Type() == jsonvalue.TypeObject || lines(e) {
			return false
		}
	}
	return len(v.Encode()) <= maxInline
}

// stringParts splits an encoded string after the escape of each newline,
// except one at its end.
func stringParts(s string) []string {
	var out []string
	from := 0
	for i := 0; i+1 < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		if s[i] == 'n' && i+1 < len(s) && s[i+1] != '"' {
			out = append(out, s[from:i+1])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

// value adds a JSON text, pretty-printed; anything else is added unchanged.
func (b *builder) value(text string) {
	v, err := jsonvalue.Decode([]byte(text))
	if err != nil {
		b.plainText(text)
		return
	}
	b.jsonValue(v)
}

func (b *builder) jsonValue(v jsonvalue.Value) {
	b.json = true
	spread(v, "", "", "", func(named int, s string, more bool) {
		switch {
		case more:
			b.line(kindMore, 0, s)
		case named > 0:
			b.field(s[:named], s[named:])
		default:
			b.line(kindText, 0, s)
		}
	})
}

// namesOne reports whether a member of a record is a name.
func namesOne(member string) bool {
	switch strings.ToLower(member) {
	case "from", "to", "cc", "bcc", "replyto", "reply-to", "reply_to", "method", "url", "scheme", "host", "path", "cwd", "folder", "program", "programs", "database", "table", "tables":
		return true
	}
	return false
}

// list adds a member of a record; several items get one line each.
func (b *builder) list(name string, v jsonvalue.Value) {
	add := b.field
	if namesOne(name) {
		add = b.identity
	}
	switch {
	case v.Type() == jsonvalue.TypeArray && v.Len() > 0:
		b.field(name+" ("+strconv.Itoa(v.Len())+"): ", "")
		for _, e := range v.Elems() {
			add("  ", word1(e))
		}
	case v.Type() == jsonvalue.TypeObject && v.Len() > 0:
		b.field(name+": ", "")
		for key, m := range v.Members() {
			add("  "+pathText(key)+": ", word1(m))
		}
	default:
		add(name+": ", word1(v))
	}
}

// word1 returns a value on one line; a string has no quotes if it cannot be
// misread.
func word1(v jsonvalue.Value) string {
	s := v.Text()
	if v.Type() != jsonvalue.TypeString || s == "" || strings.ContainsAny(s, "\"\\\n\r\t") || strings.TrimSpace(s) != s {
		return jsonLine(v)
	}
	return s
}

// record adds an object: first the members named in first, then all others,
// then those in bodies as text. It reports whether text is an object.
func (b *builder) record(text string, first, bodies []string) bool {
	v, err := jsonvalue.Decode([]byte(text))
	if err != nil || v.Type() != jsonvalue.TypeObject {
		return false
	}
	b.json = true
	for _, name := range first {
		switch m := v.Member(name); {
		case !m.Present():
		case mails(name) && (m.Type() == jsonvalue.TypeString || m.Len() > 0):
			b.recipients(name+": ", recipientsOf(m))
		default:
			b.list(name, m)
		}
	}
	for name, m := range v.Members() {
		if !slices.Contains(first, name) && !slices.Contains(bodies, name) {
			b.list(pathText(name), m)
		}
	}
	for _, name := range bodies {
		m := v.Member(name)
		if !m.Present() {
			continue
		}
		if m.Type() != jsonvalue.TypeString {
			b.field(name+": ", "")
			b.jsonValue(m)
			continue
		}
		b.header()
		b.hunks[len(b.hunks)-1].asText = true
		b.title(name)
		b.plainText(m.Text())
	}
	return true
}

// letter adds a message: recipients, subject, then the text.
func (b *builder) letter(text string) {
	if b.described(text, noLanguage, "body", "text", "message", "content") {
		return
	}
	if !b.record(text, []string{"from", "to", "cc", "bcc", "replyTo", "reply_to", "subject", "date", "attachments"}, []string{"body", "text", "html", "content", "message"}) {
		b.headed(text)
	}
}

// request adds an HTTP request: method and address, headers, then the body.
func (b *builder) request(text string) {
	if b.described(text, noLanguage, "body") {
		return
	}
	if !b.record(text, []string{"method", "url", "scheme", "host", "path", "query", "headers"}, []string{"body"}) {
		b.headed(text)
	}
}

// headed adds a text that begins with "Name: value" lines up to an empty one.
func (b *builder) headed(text string) {
	head := true
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		head = head && strings.TrimSuffix(line, "\r") != ""
		if i := strings.Index(line, ": "); head && i > 0 && !strings.ContainsAny(line[:i], " \t") {
			switch {
			case mails(line[:i]):
				b.recipients(line[:i+2], addresses(line[i+2:]))
			case namesOne(line[:i]):
				b.identity(line[:i+2], line[i+2:])
			default:
				b.field(line[:i+2], line[i+2:])
			}
			continue
		}
		b.line(kindText, 0, line)
	}
}

// command adds a command: its arguments one by one, then what is set around it.
func (b *builder) command(text string) {
	if b.described(text, noLanguage, "command") {
		return
	}
	v, err := jsonvalue.Decode([]byte(text))
	if err != nil {
		b.plainText(text)
		return
	}
	argv := v
	source := ""
	if v.Type() == jsonvalue.TypeObject {
		argv = jsonvalue.Value{}
		for _, name := range []string{"argv", "command", "cmd", "args"} {
			if m := v.Member(name); m.Type() == jsonvalue.TypeArray {
				argv, source = m, name
				break
			}
		}
	}
	if argv.Type() != jsonvalue.TypeArray {
		b.jsonValue(v)
		return
	}
	b.json = true
	command := v.Member("command")
	if source == "args" && command.Present() {
		b.identity("command: ", argument(command))
	}
	b.title(count(argv.Len(), "argument", "arguments"))
	for i, a := range argv.Elems() {
		add := b.field
		if i == 0 && source != "args" {
			add = b.identity // the program
		}
		add("["+strconv.Itoa(i)+"] ", argument(a))
	}
	for name, m := range v.Members() {
		if name != source && (source != "args" || name != "command") {
			b.list(pathText(name), m)
		}
	}
}

// argument returns one argument: unchanged if a shell would take it as one
// word, otherwise as a JSON string.
func argument(v jsonvalue.Value) string {
	if v.Type() != jsonvalue.TypeString {
		return jsonLine(v)
	}
	return shellWord(v.Text())
}

// shellWord returns a word unchanged if a shell would take it as one,
// otherwise as a JSON string.
func shellWord(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"'`\\$&|;<>(){}[]*?!#~", r)
	}) {
		return quoteJSON(s)
	}
	return s
}

// statement adds an SQL statement, after what is known about it.
func (b *builder) statement(text string) {
	if sh, ok := readSheet(text, "statement", "statements", "sql", "query"); ok && sh.title != "" {
		b.described(text, dashed, sh.title)
		return
	}
	b.lang = dashed
	b.plainText(text)
}
