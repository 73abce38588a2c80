package redact

import (
	"bytes"
	"math"
	"strings"
)

// keywords are parts of names by which assignments are found; secretName and
// weakName then evaluate the whole name. Some short ones count only at the end of a
// name, and so include what follows it.
var keywords = append(spelledApart(
	"password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "credential", "authorization", "cookie", "mnemonic",
	"api key", "private key", "access key", "account key", "encryption key", "signing key", "master key", "auth key", "app key",
	"subscription key", "preshared key", "fastly key", "connection string", "client-key-data",
), "_pass", "-pass", ".pass", "dbpass", "userpass", "pass=", "pass =", "pass:", `pass"`, `pass\`, "pass'", "psk=", "psk:", `psk"`, `psk\`,
	"_pat=", "_pat:", `_pat"`, `_pat\`, "_pat ")

// spelledApart returns the names with the spaces between words removed, or replaced
// by a dash or underscore.
func spelledApart(names ...string) []string {
	var out []string
	for _, name := range names {
		if !strings.Contains(name, " ") {
			out = append(out, name)
			continue
		}
		for _, sep := range []string{"", "_", "-"} {
			out = append(out, strings.ReplaceAll(name, " ", sep))
		}
	}
	return out
}

// window is how many bytes of a value are examined. A value found to be a secret is
// masked to its end.
const window = 256

// matchAssignment checks whether the name with a keyword at b[i:end] is assigned a
// literal value: NAME=value, name: "value", "name": "value", name := 'value',
// --name value.
//
// What it masks must look like a literal: quoted, or without signs of an
// expression. Names of passwords require less evidence than names of tokens and
// keys, which mean many other things in code.
func matchAssignment(b []byte, i, end int) (from, to int, ok bool) {
	nameStart, nameEnd := i, wordDash.run(b, i, 2*maxName)
	for nameStart > 0 && i-nameStart < maxName && wordDash[b[nameStart-1]] {
		nameStart--
	}
	if nameStart >= 1 && b[nameStart-1] == '\\' && nameStart < i {
		nameStart++ // the n of \n
	}
	name := bytes.TrimLeft(b[nameStart:nameEnd], "-")
	strong := secretName(name)
	if !strong && !weakName(name) {
		return 0, 0, false
	}
	if v, told := toldByForm(b, nameStart, nameEnd); told {
		val := b[v.start:v.end]
		return v.start, v.whole(b), secretWord(val) && !oneOf(strings.ToLower(string(val)), plainWords)
	}
	j, tight, flag, ok := separator(b, nameStart, nameEnd)
	if !ok {
		return 0, 0, false
	}
	if from, to, ok := blockScalar(b, nameStart, j); ok {
		return from, to, true
	}
	v := findValue(b, j)
	if v.end <= v.start || !secretWord(b[v.start:v.end]) {
		return 0, 0, false
	}
	a := assignment{b: b, name: name, nameStart: nameStart, v: v, tight: tight}
	if a.argument(flag) || a.privateSetting() || a.inSettings() || strong && a.environment() || !strong && a.member() {
		return v.start, v.whole(b), true
	}
	env := strong && tight && isEnvName(name) && !flag
	if !strong {
		switch {
		case !v.quoted && !tight && (string(name) == "PASS" || !a.wholeLine()):
			return 0, 0, false // the result of a test
		case nameStart > 1 && string(b[nameStart-2:nameStart]) == "::", bytes.IndexByte(b[v.start:v.end], '.') > 0 && decimal.run(b, v.start, window) >= v.end:
			return 0, 0, false // a class or a number
		}
	}
	if !a.literal(env) && !a.word() {
		return 0, 0, false
	}
	return v.start, v.whole(b), true
}

// assignment is the name of a secret, and the value apparently assigned to it.
type assignment struct {
	b         []byte
	name      []byte
	nameStart int
	v         value
	tight     bool // no space around the sign
}

// inList reports whether the assignment is one of several in a connection string or
// a query.
func (a assignment) inList() bool {
	return a.tight && !a.v.quoted && a.nameStart > 0 && bytes.IndexByte([]byte(";&?"), a.b[a.nameStart-1]) >= 0
}

// word reports whether a password is assigned one or more plain words in a settings
// file, where a word is not a variable.
func (a assignment) word() bool {
	val := a.b[a.v.start:a.v.end]
	if !passwordName(a.name) {
		return false
	}
	if a.v.quoted && bytes.IndexByte(val, ' ') > 0 {
		return phrase(val)
	}
	if len(val) < 8 || lowCase.run(val, 0, window) < len(val) || oneOf(string(val), plainWords) {
		return false
	}
	return a.v.quoted || a.inList() || a.wholeLine() && !a.inCode() && (a.tight || a.b[a.v.start-1] != ' ' || a.colon() || a.inSection())
}

// colon reports whether the assignment uses a colon.
func (a assignment) colon() bool {
	return bytes.IndexByte(a.b[a.nameStart+len(a.name):a.v.start], ':') >= 0
}

// wholeLine reports whether the line holds only the assignment, as in YAML, INI and
// property files.
func (a assignment) wholeLine() bool {
	at := a.nameStart
	for at > 0 && a.nameStart-at < maxName && (wordDash[a.b[at-1]] || a.b[at-1] == '.') {
		at--
	}
	for at > 0 && (a.b[at-1] == ' ' || a.b[at-1] == '\t') {
		at--
	}
	end := a.v.end
	if a.v.quoted {
		end++
	}
	return (at == 0 || a.b[at-1] == '\n') && (end >= len(a.b) || a.b[end] == '\n' || a.b[end] == '\r')
}

// inCode reports whether the surrounding lines are code: the previous line, or the
// one that opens the block, ends as no settings line does.
func (a assignment) inCode() bool {
	start, _ := lineStart(a.b, a.nameStart, 2*maxName)
	own := indent(a.b[start:a.v.start])
	if end := lineEnd(a.b, a.v.end, window); end < len(a.b) {
		if next := bytes.TrimLeft(a.b[end:min(len(a.b), end+window)], " \t\r\n"); len(next) > 0 && bytes.IndexByte([]byte("})],;"), next[0]) >= 0 {
			return true
		}
	}
	from := max(0, start-nearby/2)
	for n := 0; start > from && n < 12; n++ {
		end := start - 1
		start, _ = lineStart(a.b, end, nearby/2)
		line := bytes.TrimRight(a.b[start:end], " \t\r")
		text := bytes.TrimLeft(line, " \t")
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		if bytes.IndexByte([]byte(",;{(="), text[len(text)-1]) >= 0 {
			return true
		}
		if word, _, _ := strings.Cut(string(text[:min(len(text), 16)]), " "); oneOf(word, codeWords) {
			return true
		}
		if indent(line) < own {
			return false
		}
	}
	return false
}

func indent(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " \t")) }

// codeWords begin the line above a list of variables or members.
var codeWords = []string{"class", "def", "func", "function", "interface", "type", "struct", "let", "const", "var", "if", "for", "return", "import", "from"}

// inSection reports whether the line is under a [section] with only settings in
// between.
func (a assignment) inSection() bool {
	at := a.nameStart
	for n := 0; n < 20; n++ {
		start, ok := lineStart(a.b, at, nearby/2)
		line := bytes.TrimSpace(a.b[start:at])
		if n > 0 && len(line) > 2 && line[0] == '[' && line[len(line)-1] == ']' {
			return true
		}
		if n > 0 && len(line) > 0 && !bytes.ContainsAny(line, "=#;") || !ok || start == 0 {
			return false
		}
		at = start - 1
	}
	return false
}

// phrase reports whether v is four words or more and not a message to a user.
func phrase(v []byte) bool {
	words := strings.Split(string(v), " ")
	for _, w := range words {
		if len(w) < 3 || lowCase.run([]byte(w), 0, window) < len(w) || oneOf(w, sentenceWords) {
			return false
		}
	}
	return len(words) >= 4
}

// toldByForm finds the value of a name that has no assignment sign: in XML, PHP's
// define, .netrc, SQL and a Dockerfile.
func toldByForm(b []byte, nameStart, nameEnd int) (value, bool) {
	name, rest := b[nameStart:nameEnd], b[nameEnd:min(len(b), nameEnd+window)]
	before := b[max(0, nameStart-300):nameStart]
	switch {
	case len(rest) < 2:
	case rest[0] == '>':
		if open := bytes.LastIndexByte(before, '<'); open < 0 || bytes.ContainsAny(before[open:], " >\n") {
			break
		}
		v := value{start: nameEnd + 1, end: nameEnd + 1 + max(0, bytes.Index(rest[1:], []byte("</"))), quoted: true, quote: '<'}
		return v, v.end > v.start && !bytes.ContainsAny(b[v.start:v.end], " \n<") && (passwordName(name) || literal(b[v.start:v.end], name, true, true))
	case rest[0] == '"' && bytes.HasPrefix(bytes.ToLower(rest), []byte(`" value="`)):
		v := findValue(b, nameEnd+len(`" value=`))
		return v, v.end > v.start
	case (rest[0] == '\'' || rest[0] == '"') && bytes.HasSuffix(bytes.TrimRight(before[:max(0, len(before)-1)], " "), []byte("define(")):
		j := nameEnd + 1
		for j < len(b) && j < nameEnd+8 && (b[j] == ',' || b[j] == ' ') {
			j++
		}
		v := findValue(b, j)
		return v, v.quoted && v.end > v.start
	case rest[0] == ' ' && rest[1] == '\'' && bytes.EqualFold(name, []byte("password")):
		if words := bytes.Fields(bytes.ToLower(before)); len(words) > 0 && oneOf(string(words[len(words)-1]), []string{"with", "encrypted"}) {
			v := findValue(b, nameEnd+1)
			return v, v.quoted && v.end > v.start
		}
	case (rest[0] == ' ' || rest[0] == '\t') && string(name) == "password":
		// machine NAME login NAME password VALUE
		words := bytes.Fields(before)
		n := len(words)
		if n >= 3 && string(words[n-2]) == "login" && (string(words[n-3]) == "default" || n >= 4 && string(words[n-4]) == "machine") {
			v := findValue(b, nameEnd+1)
			return v, v.end > v.start
		}
	case rest[0] == ' ' && isEnvName(name):
		line := before[bytes.LastIndexByte(before, '\n')+1:]
		if f := bytes.Fields(line); len(f) == 1 && bytes.EqualFold(f[0], []byte("env")) {
			v := findValue(b, nameEnd+1)
			return v, v.end-v.start >= 4 && b[v.start] != '='
		}
	}
	return value{}, false
}

// separator finds the assignment sign after the name. tight means there is no
// space around it.
func separator(b []byte, nameStart, j int) (at int, tight, flag, ok bool) {
	start := j
	for j < len(b) && (b[j] == '"' || b[j] == '\'' || b[j] == '`' || b[j] == '\\' || b[j] == ']') && j < start+3 {
		j++
	}
	spaces := j
	for j < len(b) && (b[j] == ' ' || b[j] == '\t') && j < spaces+40 {
		j++
	}
	tight = j == spaces
	sign := j
	for j < len(b) && j < sign+2 && (b[j] == '=' || b[j] == ':' || b[j] == '>') {
		j++
	}
	switch string(b[sign:j]) {
	case "=", ":", ":=", "=>":
	case "":
		// --password value
		flag = nameStart < len(b) && b[nameStart] == '-' && !tight
		return j, false, true, flag
	default:
		return 0, false, false, false // comparisons, C++ scopes
	}
	spaces = j
	for j < len(b) && (b[j] == ' ' || b[j] == '\t') && j < spaces+40 {
		j++
	}
	return j, tight && j == spaces, false, true
}

// value is an assigned value, or as much of it as is examined.
type value struct {
	start, end int
	quoted     bool
	quote      byte
	escaped    bool // the quotes themselves have a backslash
}

// findValue finds the value at j: in quotes, or up to white space or a sign that
// ends an argument. A scheme before a token ("Token abc…") is skipped.
func findValue(b []byte, j int) value {
	v := value{start: j}
	for j < len(b) && b[j] == '\\' && j < v.start+3 {
		j++
	}
	v.escaped = j > v.start
	if j < len(b) && (b[j] == '"' || b[j] == '\'' || b[j] == '`') {
		v.quoted, v.quote, v.start = true, b[j], j+1
		v.end = v.quotedEnd(b, window)
		return v
	}
	if v.escaped {
		return value{}
	}
	v.end = bareEnd(b, j, window)
	if n := v.end - j; n > 0 && n <= 10 && v.end < len(b) && b[v.end] == ' ' {
		if end := bareEnd(b, v.end+1, window); end-v.end > 16 {
			v.start, v.end = v.end+1, end
		}
	}
	return v
}

// whole returns where the complete value ends.
func (v value) whole(b []byte) int {
	if v.quoted {
		return v.quotedEnd(b, len(b))
	}
	return bareEnd(b, v.start, len(b))
}

func (v value) quotedEnd(b []byte, limit int) int {
	stop := min(len(b), v.start+limit)
	for e := v.start; e < stop; e++ {
		switch c := b[e]; {
		case c == '\n':
			return e
		case c == v.quote:
			for v.escaped && e > v.start && b[e-1] == '\\' {
				e--
			}
			return e
		case c == '\\' && !v.escaped:
			e++
		}
	}
	return stop
}

func bareEnd(b []byte, j, limit int) int {
	stop := min(len(b), j+limit)
	for e := j; e < stop; e++ {
		switch c := b[e]; {
		case c <= ' ', c == ',', c == ';', c == '&', c == '"', c == '\'', c == '`', c == '|', c == '\\', c == ')', c == ']', c == '}':
			return e
		}
	}
	return stop
}

// isEnvName reports whether the name is written like an environment variable.
func isEnvName(name []byte) bool {
	for _, c := range name {
		if 'a' <= c && c <= 'z' || c == '-' {
			return false
		}
	}
	return true
}

// literal reports whether the value looks like a secret rather than code or a word.
func (a assignment) literal(env bool) bool {
	v := a.b[a.v.start:a.v.end]
	if env {
		return len(v) >= 4 && !bytes.ContainsAny(v, "()[]") && !bytes.ContainsAny(v[:1], "+,. ")
	}
	return literal(v, a.name, a.v.quoted || a.inList() && !bytes.ContainsAny(v, "()["), a.tight || a.wholeLine())
}

func literal(v, name []byte, quoted, settings bool) bool {
	if bytes.ContainsAny(v, " \t") {
		return false
	}
	letters, digits, others := 0, 0, 0
	for _, c := range v {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
			letters++
		case '0' <= c && c <= '9':
			digits++
		default:
			others++
		}
	}
	if !quoted && (digits == 0 || expression(v)) {
		return false
	}
	if passwordName(name) {
		switch {
		case quoted:
			return len(v) >= 6 && (digits > 0 || others > 0 && letters > 0 || mixedCase(v))
		case settings:
			return len(v) >= 6
		}
		return len(v) >= 8 && letters > 0
	}
	if bytes.HasPrefix(v, []byte(`\u`)) && len(v)%6 == 0 && bytes.Count(v, []byte(`\u`)) == len(v)/6 {
		return false // characters that cannot be typed
	}
	if letters == 0 || len(v) < 12 || !quoted && len(v) < 16 || wordy(v) {
		return false
	}
	return digits > 0 && entropy(v) >= 2.8 || len(v) >= 24 && mixedCase(v) && entropy(v) >= 3.5 && others*4 <= len(v)
}

// expression reports whether an unquoted value is a call, index, selector or
// operand.
func expression(v []byte) bool {
	return bytes.ContainsAny(v, "([") || bytes.ContainsAny(v[:1], "*!&.") || bytes.IndexByte(v, '.') > 0 && dotted.run(v, 0, window) == len(v)
}

var dotted = newCharset("a-zA-Z0-9_.")

// wordy reports whether a value consists of words and short numbers, as names of
// roles, classes and types do.
func wordy(v []byte) bool {
	parts := bytes.FieldsFunc(v, func(r rune) bool { return bytes.ContainsRune([]byte("_-./:?#@ "), r) })
	long := 0
	for _, p := range parts {
		letters, humps := 0, 1
		for letters < len(p) && alpha[p[letters]] {
			if letters > 0 && 'A' <= p[letters] && p[letters] <= 'Z' && 'a' <= p[letters-1] {
				humps++
			}
			letters++
		}
		n := len(p) - letters
		if letters > 14*humps || humps > 1 && letters < 4*humps || n > 4 || letters > 2 && n > 2 && humps < 2 || digits.run(p, letters, n) < len(p) {
			return false
		}
		if letters > 2 {
			long++
		}
	}
	return long > 0 && 2*long >= len(parts)
}

var (
	alpha   = newCharset("a-zA-Z")
	decimal = newCharset("0-9.")
)

func passwordName(name []byte) bool {
	var low [maxName]byte
	n := copy(low[:], name)
	for i := range n {
		low[i] = fold(low[i])
	}
	return bytes.Contains(low[:n], []byte("pass")) || bytes.HasSuffix(low[:n], []byte("pwd")) || bytes.HasSuffix(low[:n], []byte("psk"))
}

func mixedCase(v []byte) bool {
	inner := false
	lower := false
	for _, c := range v[1:] {
		inner = inner || 'A' <= c && c <= 'Z'
		lower = lower || 'a' <= c && c <= 'z'
	}
	return inner && lower
}

// entropy returns the bits per byte of v, by the byte frequencies in v.
func entropy(v []byte) float64 {
	v = v[:min(len(v), 256)]
	var count [256]int
	for _, c := range v {
		count[c]++
	}
	var h float64
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(v))
			h -= p * math.Log2(p)
		}
	}
	return h
}
