package jsonrpc

// Lines puts together a message that was written over several lines, which the
// transport forbids and some programs do. It is never forwarded: the lines tell
// whose it is, so that nobody waits for it. The zero value is empty. It is for
// one goroutine.
type Lines struct {
	text  []byte
	depth int
}

// Open reports whether the beginning of a message has been added.
func (l *Lines) Open() bool { return l.depth > 0 }

// Len returns how many bytes were added.
func (l *Lines) Len() int { return len(l.text) }

// Reset forgets what was added.
func (l *Lines) Reset() { *l = Lines{} }

// Add adds a line and reports whether the message is complete. ok is false,
// and everything forgotten, if the line does not belong to one: the first must
// begin an object or an array and not end it. Over maxBytes it is none either.
func (l *Lines) Add(line []byte, maxBytes int) (whole []byte, ok bool) {
	first := l.depth == 0
	if first && !opensText(line) || len(l.text)+len(line) >= maxBytes || !l.nest(line) || first && l.depth == 0 {
		l.Reset()
		return nil, false
	}
	l.text = append(append(l.text, line...), '\n')
	if l.depth > 0 {
		return nil, true
	}
	whole = l.text
	l.Reset()
	return whole, true
}

// opensText reports whether a line begins like an object or array of JSON.
func opensText(line []byte) bool {
	line = trimBlanks(line)
	if len(line) == 0 || line[0] != '{' && line[0] != '[' {
		return false
	}
	rest := trimBlanks(line[1:])
	return len(rest) == 0 || rest[0] == '"' || line[0] == '[' && (rest[0] == '{' || rest[0] == '[')
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// nest follows the brackets and strings of a line. It reports false where the
// line cannot be one of a JSON text: a string that it does not end, or
// something after the text's end.
func (l *Lines) nest(line []byte) bool {
	inString, escaped, ended := false, false, false
	for _, c := range line {
		switch {
		case inString:
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				inString = false
			}
			continue
		case c == ' ', c == '\t', c == '\r':
			continue
		case ended:
			return false
		}
		switch c {
		case '"':
			inString = true
		case '{', '[':
			l.depth++
		case '}', ']':
			l.depth--
			ended = l.depth == 0
		}
		if l.depth <= 0 && !ended {
			return false
		}
	}
	return !inString
}

// maxBatch bounds how many messages of a batch are told apart.
const maxBatch = 1000

// Refused tells what was refused in a text that was refused as a whole: the
// messages of a batch, or the one message. It returns nothing if no message can
// be made out.
func Refused(text []byte, why Reason) []*Refusal {
	one := func(raw []byte) (*Refusal, bool) {
		var sn sniffer
		sn.write(raw)
		id, kind := sn.verdict()
		return &Refusal{Reason: why, ID: id, Kind: kind}, kind != 0
	}
	if line := trimBlanks(text); len(line) > 0 && line[0] == '{' {
		if r, ok := one(text); ok {
			return []*Refusal{r}
		}
		return nil
	}
	root, ok := Root(text)
	if !ok || TypeOf(text, root) != ArrayType || Check(text, Limits{MaxFrame: max(len(text), 1), AllowCR: true}) != nil {
		return nil
	}
	var out []*Refusal
	for el := range Elements(text, root) {
		if r, ok := one(el.Of(text)); ok && len(out) < maxBatch {
			out = append(out, r)
		}
	}
	return out
}
