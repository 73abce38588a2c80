package redact

import (
	"bytes"
	"strings"
)

// Values that look like ordinary words, or span lines, and are secrets by where they
// stand: in a YAML block, on a command line, in a settings file, in an object.

// blockScalar finds the lines of a YAML block scalar assigned to the name that
// begins at nameStart: "password: |" and an indented text. j is where the value of an
// assignment would begin.
func blockScalar(b []byte, nameStart, j int) (from, to int, ok bool) {
	if j >= len(b) || b[j] != '|' && b[j] != '>' || j < 2 || b[j-1] != ' ' {
		return 0, 0, false
	}
	end := lineEnd(b, j, 64)
	if end >= len(b) {
		return 0, 0, false
	}
	head, _, _ := bytes.Cut(b[j+1:end], []byte(" #"))
	head = bytes.TrimRight(head, " ")
	start, whole := lineStart(b, nameStart, 2*maxName)
	key := bytes.TrimLeft(b[start:nameStart], ` -"'`)
	if len(head) > 2 || len(bytes.Trim(head, "+-123456789")) > 0 || !whole || len(key) > 0 {
		return 0, 0, false
	}
	outer := indent(b[start:j])
	for _, c := range b[start+outer : nameStart] {
		if c == '-' || c == ' ' {
			outer++ // an item of a list: its members are indented with its first one
		}
	}
	secret := false
	for at := end; at < len(b); {
		at += bytes.IndexByte(b[at:], '\n') + 1
		stop := len(b)
		if n := bytes.IndexByte(b[at:], '\n'); n >= 0 {
			stop = at + n
		}
		text := bytes.TrimRight(b[at:stop], " \t\r")
		if len(text) > 0 {
			in := len(text) - len(bytes.TrimLeft(text, " "))
			if in <= outer {
				break
			}
			if from == 0 {
				from = at + in
			}
			to = at + len(text)
			secret = secret || blockLine(text[in:min(len(text), in+window)])
		}
		at = stop
	}
	return from, to, secret && from > 0
}

// blockLine reports whether a line of a block scalar that is named like a secret may
// hold one, rather than a sentence.
func blockLine(v []byte) bool {
	return len(v) > 0 && !bytes.Contains(v, []byte(markerPrefix)) && !standsFor(v) && (hasDigit(v) || !namesSecret(v)) && !oneOf(strings.ToLower(string(v)), plainWords) && (bytes.IndexByte(v, ' ') < 0 || phrase(v))
}

// argument reports whether the assignment is an option of a command line that gives
// a secret: --password word, --token=word, -e password=word.
func (a assignment) argument(flag bool) bool {
	val := a.b[a.v.start:a.v.end]
	if !a.v.quoted && !alnum[val[0]] || len(val) < 3 || stopWord(val) || bytes.ContainsAny(val, "()[]") {
		return false
	}
	if bytes.IndexByte(val, ' ') >= 0 && sentence(val) {
		return false
	}
	start, whole := lineStart(a.b, a.nameStart, nearby)
	before := a.b[start:a.nameStart]
	switch option := a.b[a.nameStart] == '-' && (len(before) == 0 || bytes.IndexByte([]byte(" \t\"'`([=,"), before[len(before)-1]) >= 0); {
	case option && flag:
		return whole && a.onCommandLine(before)
	case option:
		return a.tight && a.b[a.v.start-1] != ' ' && !a.colon()
	}
	return a.tight && !a.colon() && setsOne(before)
}

// setsOne reports whether a command line ends, but for the beginning of a name, with
// an option that takes NAME=VALUE.
func setsOne(before []byte) bool {
	for len(before) > 0 && (wordDash[before[len(before)-1]] || before[len(before)-1] == '.') {
		before = before[:len(before)-1]
	}
	if len(before) == 0 || before[len(before)-1] != ' ' && before[len(before)-1] != '=' {
		return false
	}
	words := bytes.Fields(before[:len(before)-1])
	return len(words) > 1 && oneOf(string(words[len(words)-1]), []string{"--from-literal", "--set", "--set-string", "--build-arg", "--env", "-e"})
}

// onCommandLine reports whether an option stands on a command line rather than in a
// sentence or a table of options. before is its line up to it.
func (a assignment) onCommandLine(before []byte) bool {
	rest := a.b[a.v.end:lineEnd(a.b, a.v.end, nearby)]
	if a.v.quoted && len(rest) > 0 {
		rest = rest[1:]
	}
	if next := bytes.Fields(rest); len(next) > 0 && (stopWord(next[0]) || len(rest)-len(bytes.TrimLeft(rest, " ")) > 1 && !bytes.HasPrefix(next[0], []byte(`\`))) {
		return false
	}
	if quote := bytes.LastIndexAny(before, "\"'`"); quote >= 0 {
		if before = before[quote+1:]; len(bytes.TrimSpace(before)) == 0 {
			return false
		}
	}
	words := bytes.Fields(before)
	for len(words) > 0 && oneOf(string(words[0]), []string{"$", "#", ">", "%", "+", "-", "RUN", "CMD", "ENTRYPOINT", "run:", "command:", "sudo"}) {
		words = words[1:]
	}
	if len(words) == 0 {
		at := a.nameStart - len(before)
		return at == 0 && bytes.IndexByte(a.b, '\n') < 0 || at >= 2 && bytes.HasSuffix(bytes.TrimRight(a.b[max(0, at-3):at], "\r\n"), []byte(`\`))
	}
	for _, w := range words {
		if oneOf(strings.ToLower(string(w)), proseWords) {
			return false
		}
	}
	program := words[0]
	return len(program) > 0 && commandSet.run(program, 0, window) == len(program) && bytes.IndexByte(program, ':') < 0
}

var commandSet = newCharset("a-z0-9._/~+@-")

// inSettings reports whether a password is assigned a word in a text in which all
// lines nearby are settings of the form NAME = VALUE, and the word is none of the
// names.
func (a assignment) inSettings() bool {
	val := a.b[a.v.start:a.v.end]
	if !passwordName(a.name) || a.v.quoted || a.colon() || len(val) < 4 || !alpha[val[0]] || alnum.run(val, 0, window) < len(val) || stopWord(val) || !a.wholeLine() {
		return false
	}
	at, ok := lineStart(a.b, a.nameStart, 2*maxName)
	if !ok || a.b[at] == '\t' || a.v.start-a.nameStart-len(a.name) > len(" = ") {
		return false
	}
	for n, from := 0, at; n < 12 && from > 0; n++ {
		end := from - 1
		if from, ok = lineStart(a.b, end, nearby); !ok || !isSetting(a.b[from:end], val) {
			return false
		}
	}
	for n, from := 0, a.v.end; n < 12 && from < len(a.b); n++ {
		end := lineEnd(a.b, from, nearby)
		if !isSetting(a.b[from:end], val) && n > 0 || end-from >= nearby-1 {
			return false
		}
		next := bytes.IndexByte(a.b[end:], '\n')
		if next < 0 {
			break
		}
		from = end + next + 1
	}
	return true
}

// environment reports whether the line sets a variable of a container to a password
// that is a word: POSTGRES_PASSWORD: word.
func (a assignment) environment() bool {
	val := a.b[a.v.start:a.v.end]
	return isEnvName(a.name) && passwordName(a.name) && a.colon() && !a.v.quoted && len(val) >= 4 &&
		alnum.run(val, 0, window) == len(val) && !stopWord(val) && a.wholeLine() && !a.inCode()
}

// isSetting reports whether a line is NAME = VALUE of a name other than val, a
// section, a comment or empty.
func isSetting(line, val []byte) bool {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] == '#' || line[0] == ';' || line[0] == '[' && line[len(line)-1] == ']' {
		return true
	}
	name, value, ok := bytes.Cut(line, []byte("="))
	name = bytes.TrimSpace(name)
	return ok && len(name) > 0 && nameSet.run(name, 0, maxName) == len(name) && !bytes.Equal(name, val) &&
		!bytes.ContainsAny(value, "({") && (len(value) == 0 || bytes.IndexByte([]byte("=,;\\"), value[len(value)-1]) < 0) && !bytes.HasPrefix(value, []byte("="))
}

var nameSet = newCharset("a-zA-Z0-9_.:/-")

// privateSetting reports whether the assignment is a member of an .npmrc: _password=
// at the beginning of a line, alone or behind the registry's address.
func (a assignment) privateSetting() bool {
	if len(a.name) == 0 || a.name[0] != '_' || !a.tight || a.colon() || !a.wholeSetting() {
		return false
	}
	start, _ := lineStart(a.b, a.nameStart, nearby)
	switch host := a.b[start:a.nameStart]; {
	case len(host) == 0:
		return !stopWord(a.b[a.v.start:a.v.end]) && !a.inCode()
	default:
		return bytes.HasPrefix(host, []byte("//")) && host[len(host)-1] == ':' && bytes.IndexByte(host, ' ') < 0
	}
}

// wholeSetting reports whether the value ends its line.
func (a assignment) wholeSetting() bool {
	end := a.v.end
	if a.v.quoted {
		end++
	}
	return end >= len(a.b) || a.b[end] == '\n' || a.b[end] == '\r'
}

// member reports whether the assignment is a member "pass" of a JSON object with a
// word as its value.
func (a assignment) member() bool {
	if !a.v.quoted || a.v.quote != '"' || a.v.escaped || a.nameStart < 2 || a.b[a.nameStart-1] != '"' || !a.colon() {
		return false
	}
	before := bytes.TrimRight(a.b[max(0, a.nameStart-64):a.nameStart-1], " \t\r\n")
	after := bytes.TrimLeft(a.b[min(len(a.b), a.v.end+1):min(len(a.b), a.v.end+64)], " \t\r\n")
	return len(before) > 0 && (before[len(before)-1] == '{' || before[len(before)-1] == ',') &&
		len(after) > 0 && (after[0] == '}' || after[0] == ',') && passMember(a.name, a.b[a.v.start:a.v.end])
}

// passMember reports whether a member named "pass", or with that as its last word,
// holds a password by its value: one word that is not a result or a stage.
func passMember(name, val []byte) bool {
	return endsFold(name, "pass") && len(val) >= 3 && !bytes.ContainsAny(val, " \t\n()[]") && secretWord(val) && !stopWord(val)
}

// sentence reports whether words in quotes are a message to a user.
func sentence(v []byte) bool {
	for w := range bytes.FieldsSeq(v) {
		if stopWord(w) {
			return true
		}
	}
	return false
}

// stopWord reports whether a word is one of a sentence or a table of options, or the
// name of a value rather than one: STRING, none, files.
func stopWord(v []byte) bool {
	low := strings.ToLower(string(bytes.TrimRight(v[:min(len(v), 32)], ".,:;!?")))
	if low == "" || oneOf(low, plainWords) || oneOf(low, sentenceWords) || oneOf(low, otherWords) || oneOf(low, proseWords) {
		return true
	}
	for _, c := range v {
		if (c < 'A' || c > 'Z') && c != '_' {
			return false
		}
	}
	return true
}
