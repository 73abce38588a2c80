package redact

import (
	"bytes"
	"encoding/base64"
)

// A shape is a kind of token that is recognised by its form.
type shape struct {
	kind   string
	anchor string // as it is written, found ignoring case and then compared
	// match examines b, where the anchor begins at i, and returns what to mask. It
	// must fail within bounded effort, or within the word that begins at i.
	match func(b []byte, i int) (start, end int, ok bool)
	// around says that match examines the lines or members around the anchor, which
	// differ between a text and its spelling as a JSON string.
	around bool
}

// Kinds of markers beyond those in the table of shapes.
const (
	kindConfigured = "configured_secret"
	kindMember     = "member"
	kindAssignment = "assignment"
	kindUnscanned  = "unscanned"
)

// charset is a set of bytes.
type charset [256]bool

func newCharset(ranges string) *charset {
	var s charset
	for i := 0; i < len(ranges); i++ {
		if i+2 < len(ranges) && ranges[i+1] == '-' {
			for c := int(ranges[i]); c <= int(ranges[i+2]); c++ {
				s[c] = true
			}
			i += 2
			continue
		}
		s[ranges[i]] = true
	}
	return &s
}

var (
	alnum     = newCharset("a-zA-Z0-9")
	word      = newCharset("a-zA-Z0-9_")
	wordDash  = newCharset("a-zA-Z0-9_-")
	upperNum  = newCharset("A-Z0-9")
	hexDigits = newCharset("a-fA-F0-9")
	lowerHex  = newCharset("a-f0-9")
	digits    = newCharset("0-9")
	lowCase   = newCharset("a-z")
	base64Any = newCharset("a-zA-Z0-9+/_-")
	pemLine   = newCharset("a-zA-Z0-9+/=")
	bearerSet = newCharset("a-zA-Z0-9._~+/=-")
)

// run returns the index after the longest run of bytes of the set from i on, up to
// limit bytes.
func (s *charset) run(b []byte, i, limit int) int {
	end := min(len(b), i+limit)
	for i < end && s[b[i]] {
		i++
	}
	return i
}

// boundary reports whether a word can begin at i: not after a letter or digit,
// unless that belongs to an escape like \n.
func boundary(b []byte, i int) bool {
	if i == 0 || !word[b[i-1]] {
		return true
	}
	return i >= 2 && b[i-2] == '\\' && bytes.IndexByte([]byte("nrtbfv0"), b[i-1]) >= 0
}

// prefixed matches the shape of most tokens: a prefix and a run of at least `least`
// bytes of a set, masked to its end.
func prefixed(anchor string, set *charset, least int, more func(tail []byte) bool) func([]byte, int) (int, int, bool) {
	return func(b []byte, i int) (int, int, bool) {
		if !boundary(b, i) {
			return 0, 0, false
		}
		from := i + len(anchor)
		if set.run(b, from, least) < from+least {
			return 0, 0, false
		}
		if more != nil && !more(b[from:set.run(b, from, 64)]) {
			return 0, 0, false
		}
		return i, set.run(b, from, len(b)), true
	}
}

func mixed(v []byte) bool {
	var digit, upper, lower bool
	for _, c := range v {
		digit = digit || '0' <= c && c <= '9'
		upper = upper || 'A' <= c && c <= 'Z'
		lower = lower || 'a' <= c && c <= 'z'
	}
	return digit && upper && lower
}

func hasDigit(v []byte) bool { return bytes.ContainsAny(v, "0123456789") }

// folds reports whether the anchor of a shape is compared ignoring case.
func (s *shape) folds() bool {
	switch s.kind {
	case "bearer_token", "age_key":
		return true
	case "basic_auth":
		return s.anchor == "basic "
	case "sql_password", "wallet_words", "mailgun_key":
		return true
	}
	return false
}

// exactly matches a token of one fixed length.
func exactly(anchor string, set *charset, n int) func([]byte, int) (int, int, bool) {
	return func(b []byte, i int) (int, int, bool) {
		end := set.run(b, i+len(anchor), n+1)
		ok := end == i+len(anchor)+n && boundary(b, i) && (end == len(b) || !alnum[b[end]]) && !bytes.HasSuffix(b[i:end], []byte("EXAMPLE"))
		return i, end, ok
	}
}

func matchSendGrid(b []byte, i int) (int, int, bool) {
	dot := wordDash.run(b, i+3, 40)
	if !boundary(b, i) || dot < i+19 || dot == len(b) || b[dot] != '.' || wordDash.run(b, dot+1, 30) < dot+31 {
		return 0, 0, false
	}
	return i, wordDash.run(b, dot+1, len(b)), true
}

// matchJWT matches header.payload.signature, of which the first two begin with {"
// in base64; the signature may be empty. A JSON web encryption has two more parts.
func matchJWT(b []byte, i int) (int, int, bool) {
	if !boundary(b, i) || i > 0 && b[i-1] == '-' {
		return 0, 0, false // inside a word: only the beginning of a word is examined
	}
	dot := wordDash.run(b, i, len(b))
	if dot < i+15 || dot+1 >= len(b) || b[dot] != '.' {
		return 0, 0, false
	}
	end := wordDash.run(b, dot+1, len(b))
	if end < dot+11 && !bytes.HasPrefix(b[dot:], []byte("..")) {
		return 0, 0, false
	}
	for range 3 {
		if end >= len(b) || b[end] != '.' {
			break
		}
		next := wordDash.run(b, end+1, len(b))
		if next == end+1 {
			break // a full stop
		}
		end = next
	}
	return i, end, true
}

// matchPEM matches a private key block, also as a string literal or truncated.
func matchPEM(b []byte, i int) (int, int, bool) {
	head := b[i:min(len(b), i+64)]
	n := bytes.Index(head, []byte("PRIVATE KEY"))
	if n < 0 {
		return 0, 0, false
	}
	at := i + n + len("PRIVATE KEY")
	if bytes.HasPrefix(b[at:], []byte(" BLOCK")) {
		at += len(" BLOCK")
	}
	if !bytes.HasPrefix(b[at:], []byte("-----")) {
		return 0, 0, false
	}
	end := pemBody(b, at+len("-----"))
	return i, end, end > 0
}

// pemBody returns where the key block whose body begins at at ends, or 0 if it is
// not a key. Anything short may separate the lines of the body: line endings, also
// escaped, quotes, headers.
func pemBody(b []byte, at int) int {
	end, tail, other := 0, 0, 0
	for at < len(b) && other < 300 {
		if b[at] == '-' && bytes.HasPrefix(b[at:], []byte("-----END")) {
			if end == 0 {
				return 0
			}
			stop := b[at+8 : min(len(b), at+64)]
			if k := bytes.Index(stop, []byte("-----")); k >= 0 {
				return at + 8 + k + 5
			}
			return at + 8
		}
		next := pemLine.run(b, at, len(b))
		switch {
		case next-at >= 32:
			end, tail, other = next, next, 0
		case next == at:
			next++
			other++
		default:
			if end > 0 && tail == end && at-end <= 4 {
				tail = next // the last line of a truncated key
			}
			other += next - at
		}
		at = next
	}
	return max(end, tail)
}

// matchURL matches the password in scheme://user:password@host, and a token used as
// the user.
func matchURL(b []byte, i int) (int, int, bool) {
	from := i + 3
	at, colon := -1, -1
	for j := from; j < len(b) && j < from+1024; j++ {
		c := b[j]
		if c == '[' && bytes.HasPrefix(b[j:], []byte(markerPrefix)) {
			if n := bytes.IndexByte(b[j:min(len(b), j+64)], ']'); n > 0 {
				j += n // its colon does not precede a password
				continue
			}
		}
		if c == '@' {
			at = j // a password may hold @; the host begins after the last one
			continue
		}
		if c == ':' && colon < 0 {
			colon = j
		}
		if c <= ' ' || c >= 0x7f || c == '/' || c == '?' || c == '#' || c == '"' || c == '\'' || c == '`' || c == '<' || c == '>' || c == '\\' {
			break
		}
	}
	if at < 0 {
		return 0, 0, false
	}
	if colon < 0 || colon > at {
		user := b[from:at]
		return from, at, len(user) >= 20 && hasDigit(user) && !placeholder(user)
	}
	user, pass := b[from:colon], b[colon+1:at]
	if len(pass) == 0 || oneOf(string(pass), exampleWords) || string(user) == "username" && string(pass) == "p@ssword" || bytes.HasPrefix(pass, []byte("&lt;")) || bytes.HasPrefix(pass, []byte(markerPrefix)) || bytes.ContainsAny(pass, "{}$()") || bytes.HasPrefix(pass, []byte("%s")) {
		return 0, 0, false
	}
	return colon + 1, at, true
}

func matchBearer(b []byte, i int) (int, int, bool) {
	from := i + len("bearer ")
	if !boundary(b, i) {
		return 0, 0, false
	}
	if bearerSet.run(b, from, 12) < from+12 {
		return 0, 0, false
	}
	v := b[from:bearerSet.run(b, from, 128)]
	if !hasDigit(v) || placeholder(v) {
		return 0, 0, false
	}
	return from, bearerSet.run(b, from, len(b)), true
}

// exampleBasic are the credentials in RFC 7617, which documentation repeats.
const exampleBasic = "Aladdin:open sesame"

// matchBasic matches HTTP basic authentication credentials, which decode to
// user:password.
func matchBasic(b []byte, i int) (int, int, bool) {
	from := i + len("basic ")
	if !boundary(b, i) {
		return 0, 0, false
	}
	end := base64Any.run(b, from, 512)
	if end < from+8 {
		return 0, 0, false
	}
	dec, err := base64.RawStdEncoding.DecodeString(string(b[from:end]))
	if err != nil || bytes.IndexByte(dec, ':') < 1 || string(dec) == exampleBasic {
		return 0, 0, false
	}
	for _, c := range dec {
		if c < 0x20 {
			return 0, 0, false
		}
	}
	for end < len(b) && b[end] == '=' {
		end++
	}
	return from, end, true
}
