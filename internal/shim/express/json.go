package express

import "unicode/utf8"

// hello encodes ipc.Hello with the newline that ends it.
func hello(server, version string, getenv func(string) (string, bool)) []byte {
	b := []byte(`{"protocol":`)
	b = append(b, '0'+protocol)
	b = member(b, "version", version)
	b = member(b, "server", server)
	b = member(b, "cwd", cwd())
	first := true
	for _, name := range [...]string{"CLAUDE_CODE_SESSION_ID", "CLAUDE_PROJECT_DIR"} {
		v, ok := getenv(name)
		if !ok {
			continue
		}
		if first {
			b = append(b, `,"env":{`...)
			b = quote(b, name)
		} else {
			b = append(b, ',')
			b = quote(b, name)
		}
		b = append(b, ':')
		b = quote(b, v)
		first = false
	}
	if !first {
		b = append(b, '}')
	}
	return append(b, '}', '\n')
}

func member(b []byte, name, value string) []byte {
	b = append(b, ',')
	b = quote(b, name)
	b = append(b, ':')
	return quote(b, value)
}

const hex = "0123456789abcdef"

// quote appends s as a JSON string; bytes that are no UTF-8 become U+FFFD.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s { // U+FFFD for what is invalid
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// welcome is what is needed of ipc.Welcome, and of the words after it.
type welcome struct {
	protocol int
	ok, end  bool
	notice   string
	notices  []string
}

// parse reads an object of strings, booleans, plain integers and arrays of
// strings, which is what the daemon says. It reports false for anything else.
func parse(line []byte) (welcome, bool) {
	var w welcome
	p := &parser{b: line}
	if !p.eat('{') {
		return w, false
	}
	for n := 0; !p.eat('}'); n++ {
		if n > 0 && !p.eat(',') {
			return w, false
		}
		name, ok := p.str()
		if !ok || !p.eat(':') || !p.value(name, &w) {
			return w, false
		}
	}
	p.space()
	return w, p.i == len(p.b)
}

type parser struct {
	b []byte
	i int
}

func (p *parser) space() {
	for p.i < len(p.b) && (p.b[p.i] == ' ' || p.b[p.i] == '\t' || p.b[p.i] == '\r') {
		p.i++
	}
}

func (p *parser) eat(c byte) bool {
	p.space()
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *parser) word(s string) bool {
	p.space()
	if len(p.b)-p.i < len(s) || string(p.b[p.i:p.i+len(s)]) != s {
		return false
	}
	p.i += len(s)
	return true
}

// value reads the value of a member, and keeps it if it is one of w's.
func (p *parser) value(name string, w *welcome) bool {
	p.space()
	if p.i == len(p.b) {
		return false
	}
	switch c := p.b[p.i]; {
	case c == '"':
		s, ok := p.str()
		if name == "notice" {
			w.notice = s
		}
		return ok
	case c == '[':
		list, ok := p.list()
		if name == "notices" {
			w.notices = list
		}
		return ok
	case c >= '0' && c <= '9':
		n, ok := p.number()
		if name == "protocol" {
			w.protocol = n
		}
		return ok
	}
	truth := p.word("true")
	if !truth && !p.word("false") {
		return false
	}
	switch name {
	case "ok":
		w.ok = truth
	case "end":
		w.end = truth
	}
	return true
}

func (p *parser) number() (int, bool) {
	n, from := 0, p.i
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		n = n*10 + int(p.b[p.i]-'0')
		p.i++
	}
	return n, p.i-from < 10 && (p.i-from == 1 || p.b[from] != '0')
}

func (p *parser) list() ([]string, bool) {
	var out []string
	if !p.eat('[') {
		return nil, false
	}
	for n := 0; !p.eat(']'); n++ {
		if n > 0 && !p.eat(',') {
			return nil, false
		}
		s, ok := p.str()
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}

func (p *parser) str() (string, bool) {
	if !p.eat('"') {
		return "", false
	}
	var out []byte
	for p.i < len(p.b) {
		c := p.b[p.i]
		p.i++
		switch {
		case c == '"':
			return string(out), true
		case c < ' ':
			return "", false
		case c != '\\':
			out = append(out, c)
			continue
		}
		if p.i == len(p.b) {
			return "", false
		}
		c = p.b[p.i]
		p.i++
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b', 'f', 'n', 'r', 't':
			out = append(out, ' ') // for people: one line
		case 'u':
			r, ok := p.hex4()
			if !ok {
				return "", false
			}
			// A surrogate becomes U+FFFD: the daemon writes others as they are.
			out = utf8.AppendRune(out, r)
		default:
			return "", false
		}
	}
	return "", false
}

func (p *parser) hex4() (rune, bool) {
	if len(p.b)-p.i < 4 {
		return 0, false
	}
	var r rune
	for _, c := range p.b[p.i : p.i+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	p.i += 4
	return r, true
}
