package redact

import (
	"bytes"
	"math"
)

// keywords are parts of names by which assignments are found; the whole name is
// then judged by secretName.
var keywords = []string{
	"password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "apikey", "api_key", "api-key",
	"privatekey", "private_key", "private-key", "accesskey", "access_key", "access-key", "accountkey", "account_key",
	"encryptionkey", "encryption_key", "signingkey", "signing_key", "masterkey", "master_key", "authkey", "auth_key",
	"credential", "authorization", "connectionstring", "connection_string", "cookie",
}

// window is how many bytes of a value are looked at to judge it. What is judged
// a secret is then masked to its end.
const window = 256

// matchAssignment looks at the name that holds a keyword at b[i:end] for an
// assignment of a literal value: NAME=value, name: "value", "name": "value",
// name := 'value', --name value.
//
// What it masks must look like a literal: quoted, or without the signs of an
// expression. Names of passwords ask for less than names of tokens and keys,
// which stand for many other things in code.
func matchAssignment(b []byte, i, end int) (from, to int, ok bool) {
	nameEnd := wordDash.run(b, end, maxName)
	nameStart := i
	for nameStart > 0 && i-nameStart < maxName && wordDash[b[nameStart-1]] {
		nameStart--
	}
	if nameStart >= 1 && b[nameStart-1] == '\\' && nameStart < i {
		nameStart++ // the n of \n
	}
	name := b[nameStart:nameEnd]
	if !secretName(bytes.TrimLeft(name, "-")) {
		return 0, 0, false
	}
	j, tight, flag, ok := separator(b, nameStart, nameEnd)
	if !ok {
		return 0, 0, false
	}
	v := findValue(b, j)
	if v.end <= v.start {
		return 0, 0, false
	}
	val := b[v.start:v.end]
	if bytes.Contains(val, []byte(markerPrefix)) || placeholder(val) {
		return 0, 0, false
	}
	env := tight && isEnvName(name) && !flag
	if !literal(val, name, v.quoted, tight || settingsLine(b, nameStart, v.end), env) {
		return 0, 0, false
	}
	return v.start, v.whole(b), true
}

// settingsLine reports whether the assignment is all that its line holds, as in
// YAML, INI and property files.
func settingsLine(b []byte, nameStart, valueEnd int) bool {
	for nameStart > 0 && (b[nameStart-1] == ' ' || b[nameStart-1] == '\t') {
		nameStart--
	}
	return (nameStart == 0 || b[nameStart-1] == '\n') && (valueEnd == len(b) || b[valueEnd] == '\n' || b[valueEnd] == '\r')
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

// value is an assigned value, as much of it as is needed to judge it.
type value struct {
	start, end int
	quoted     bool
	quote      byte
	escaped    bool // the quotes themselves have a backslash
}

// findValue finds the value at j: within quotes, or up to white space or a sign
// that ends an argument. A scheme before a token ("Token abc…") is skipped.
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

// whole returns where the value ends in truth.
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

// literal reports whether a value looks like a secret rather than like code or a
// word.
func literal(v, name []byte, quoted, tight, env bool) bool {
	if env {
		return len(v) >= 4 && !bytes.ContainsAny(v, "()[]") && !bytes.ContainsAny(v[:1], "+,. ")
	}
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
	if !quoted && (bytes.ContainsAny(v, "([.*!") || digits == 0) {
		return false // an expression: a call, an index, a selector; or a word
	}
	if passwordName(name) {
		switch {
		case quoted:
			return len(v) >= 6 && (digits > 0 || others > 0 && letters > 0 || mixedCase(v))
		case tight:
			return len(v) >= 6
		}
		return len(v) >= 8 && letters > 0
	}
	if letters == 0 || len(v) < 12 || !quoted && len(v) < 16 {
		return false
	}
	return digits > 0 && entropy(v) >= 2.8 || len(v) >= 24 && mixedCase(v) && entropy(v) >= 3.5 && others*4 <= len(v)
}

func passwordName(name []byte) bool {
	var low [maxName]byte
	n := copy(low[:], name)
	for i := range n {
		low[i] = fold(low[i])
	}
	return bytes.Contains(low[:n], []byte("pass")) || bytes.HasSuffix(low[:n], []byte("pwd"))
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

// entropy returns the bits a byte of v carries, by the frequencies within v.
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
