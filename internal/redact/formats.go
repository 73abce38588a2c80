package redact

import (
	"bytes"
	"encoding/base64"
)

// Secrets recognised by the file or command around them. Each matcher examines a
// bounded number of bytes around its anchor.

// nearby is how many bytes around an anchor the matchers examine.
const nearby = 1024

// lineStart returns where the line of b[i] begins, looking back at most limit
// bytes. It returns false if the line begins before that.
func lineStart(b []byte, i, limit int) (int, bool) {
	from := max(0, i-limit)
	n := bytes.LastIndexByte(b[from:i], '\n')
	return from + n + 1, n >= 0 || from == 0
}

// lineEnd returns where the line of b[i] ends, excluding its newline.
func lineEnd(b []byte, i, limit int) int {
	stop := min(len(b), i+limit)
	end := stop
	if n := bytes.IndexByte(b[i:stop], '\n'); n >= 0 {
		end = i + n
	}
	if end > i && b[end-1] == '\r' {
		end--
	}
	return end
}

// secretWord reports whether v may be a secret, given its context: it is not a
// marker, reference or placeholder.
func secretWord(v []byte) bool {
	return len(v) > 0 && !bytes.Contains(v, []byte(markerPrefix)) && !placeholder(v)
}

// isBasic reports whether v is the base64 of user:password.
func isBasic(v []byte) bool {
	v = bytes.TrimRight(v, "=")
	if len(v) < 8 || len(v) > 2048 {
		return false
	}
	dec, err := base64.RawStdEncoding.DecodeString(string(v))
	if err != nil || bytes.IndexByte(dec, ':') < 1 {
		return false
	}
	for _, c := range dec {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// matchNpmAuth matches _auth=dXNlcjpwYXNz in an .npmrc.
func matchNpmAuth(b []byte, i int) (int, int, bool) {
	j, _, _, ok := separator(b, i, i+len("_auth"))
	if !ok {
		return 0, 0, false
	}
	v := findValue(b, j)
	return v.start, v.whole(b), v.end > v.start && isBasic(b[v.start:v.whole(b)])
}

// matchDockerAuth matches "auth": "dXNlcjpwYXNz".
func matchDockerAuth(b []byte, i int) (int, int, bool) {
	end := i + len(`"auth`)
	if end < len(b) && b[end] != '"' && b[end] != '\\' {
		return 0, 0, false
	}
	return matchNpmAuth(b, i) // both names have the same length
}

// matchJWK matches the private part of a JSON web key.
func matchJWK(b []byte, i int) (int, int, bool) {
	from, to := max(0, i-nearby), min(len(b), i+nearby)
	if n := bytes.LastIndexByte(b[from:i], '{'); n >= 0 {
		from += n
	}
	if n := bytes.IndexByte(b[i:to], '}'); n >= 0 {
		to = i + n
	}
	for _, name := range jwkNames {
		n := bytes.Index(b[from:to], []byte(`"`+name+`"`))
		if n < 0 {
			continue
		}
		j, _, _, ok := separator(b, from+n, from+n+len(name)+1)
		if !ok {
			continue
		}
		v := findValue(b, j)
		if v.quoted && v.end-v.start >= 16 && wordDash.run(b, v.start, window) >= v.end {
			return v.start, v.whole(b), true
		}
	}
	return 0, 0, false
}

// jwkNames are the private members of a JSON web key.
var jwkNames = []string{"d", "p", "q", "dp", "dq", "qi", "k"}

// matchKubernetes matches the values in a Secret's data.
func matchKubernetes(b []byte, i int) (int, int, bool) {
	from, ok := lineStart(b, i, 8)
	if !ok || lineEnd(b, i, nearby) != i+len("kind: Secret") {
		return 0, 0, false
	}
	from = max(0, from-nearby)
	if n := bytes.LastIndex(b[from:i], []byte("\n---")); n >= 0 {
		from += n
	}
	part := b[from:min(len(b), i+2*nearby)]
	if n := bytes.Index(part[i-from:], []byte("\n---")); n >= 0 {
		part = part[:i-from+n]
	}
	if !bytes.Contains(part, []byte("ata:\n")) && !bytes.Contains(part, []byte("ata:\r")) {
		return 0, 0, false
	}
	start, end, inside := 0, 0, false
	at := from
	for line := range bytes.Lines(part) {
		text := bytes.TrimRight(line, " \t\r\n")
		switch name, value, pair := bytes.Cut(bytes.TrimLeft(text, " "), []byte(": ")); {
		case len(text) > 0 && text[0] != ' ':
			inside = string(text) == "data:" || string(text) == "stringData:"
		case inside && pair && len(name) > 0:
			if value = bytes.TrimSpace(value); len(value) > 1 && secretWord(value) {
				if start == 0 {
					start = at + len(text) - len(value)
				}
				end = at + len(text)
			}
		}
		at += len(line)
	}
	return start, end, end > 0
}

// matchPgpass matches the password in host:port:database:user:password.
func matchPgpass(b []byte, i int) (int, int, bool) {
	start, ok := lineStart(b, i, 300)
	end := lineEnd(b, i, 600)
	if !ok || start == end {
		return 0, 0, false
	}
	fields := bytes.SplitN(b[start:end], []byte(":"), 5)
	if len(fields) < 5 {
		return 0, 0, false
	}
	for n, f := range fields {
		if len(f) == 0 || bytes.ContainsAny(f, " \t\"'`,;(){}<>|&") || n == 1 && string(f) != "*" && digits.run(f, 0, 6) < len(f) {
			return 0, 0, false
		}
	}
	return end - len(fields[4]), end, len(fields[4]) >= 4 && secretWord(fields[4])
}

// matchPuTTY matches the private lines of a PuTTY key, to its end.
func matchPuTTY(b []byte, i int) (int, int, bool) {
	at := lineEnd(b, i, 64)
	body := at
	for n := 0; n < 200 && at < len(b); n++ {
		next := at + 1
		if at+1 < len(b) && b[at] == '\r' {
			next++
		}
		end := pemLine.run(b, min(next, len(b)), 80)
		if end <= next || end < len(b) && b[end] != '\r' && b[end] != '\n' {
			break
		}
		at = end
	}
	if at < body+17 {
		return 0, 0, false
	}
	const mac = "Private-MAC: "
	if n := bytes.Index(b[at:min(len(b), at+8)], []byte(mac[:5])); n >= 0 {
		at = lineEnd(b, at+n, 200)
	}
	return body + 1, at, true
}

// matchSAS matches the signature in an Azure address, which is next to the version
// or the expiry.
func matchSAS(b []byte, i int) (int, int, bool) {
	if i > 0 && alnum[b[i-1]] {
		return 0, 0, false
	}
	from := i + len("sig=")
	end := percentSet.run(b, from, 256)
	around := b[max(0, i-512):min(len(b), end+256)]
	return from, end, end-from >= 32 && hasDigit(b[from:end]) && (bytes.Contains(around, []byte("sv=")) || bytes.Contains(around, []byte("se=")))
}

var percentSet = newCharset("a-zA-Z0-9%+/=_-")

func matchSignature(b []byte, i int) (int, int, bool) {
	from := i + bytes.IndexByte(b[i:], '=') + 1
	end := hexDigits.run(b, from, 1024)
	return from, end, end-from >= 64
}

// matchWallet matches the recovery phrase of a wallet: twelve words or more.
func matchWallet(b []byte, i int) (int, int, bool) {
	sign := bytes.IndexAny(b[i:min(len(b), i+64)], "=:")
	if sign < 0 {
		return 0, 0, false
	}
	j := i + sign + 1
	for j < len(b) && j < i+64 && bytes.IndexByte([]byte(" \t\"'\\"), b[j]) >= 0 {
		j++
	}
	words, end := 0, j
	for at := j; words < 24; {
		next := lowCase.run(b, at, 9)
		if next < at+3 || next > at+8 {
			break
		}
		words, end = words+1, next
		if next == len(b) || b[next] != ' ' {
			break
		}
		at = next + 1
	}
	return j, end, words >= 12
}

// matchIdentifiedBy matches CREATE USER … IDENTIFIED BY 'password'.
func matchIdentifiedBy(b []byte, i int) (int, int, bool) {
	j := i + len("identified by ")
	if bytes.HasPrefix(bytes.ToLower(b[j:min(len(b), j+9)]), []byte("password ")) {
		j += len("password ")
	}
	v := findValue(b, j)
	return v.start, v.whole(b), v.quoted && v.quote != '`' && v.end > v.start && secretWord(b[v.start:v.end])
}

// inCommand reports whether one of the programs precedes i on its line.
func inCommand(b []byte, i int, programs ...string) bool {
	start, _ := lineStart(b, i, 300)
	for _, p := range programs {
		n := bytes.LastIndex(b[start:i], []byte(p))
		if n < 0 || n > 0 && (wordDash[b[start+n-1]] || b[start+n-1] == '.') {
			continue
		}
		if at := start + n + len(p); at == i || b[at] == ' ' {
			return true
		}
	}
	return false
}

// matchCurlUser matches the password in curl -u user:password.
func matchCurlUser(b []byte, i int) (int, int, bool) {
	j := i + 1 + bytes.IndexByte(b[i+1:], ' ') + 1
	if !inCommand(b, i, "curl", "wget", "httpie", "http") {
		return 0, 0, false
	}
	v := findValue(b, j)
	if v.end <= v.start {
		return 0, 0, false
	}
	n := bytes.IndexByte(b[v.start:v.end], ':')
	return v.start + n + 1, v.whole(b), n > 0 && !bytes.HasPrefix(b[v.start+n:v.end], []byte("://")) && secretWord(b[v.start+n+1:v.end])
}

func matchSSHPass(b []byte, i int) (int, int, bool) {
	j := i + len("sshpass -p")
	if j < len(b) && b[j] == ' ' {
		j++
	}
	v := findValue(b, j)
	return v.start, v.whole(b), v.end > v.start && secretWord(b[v.start:v.end])
}

// matchMySQL matches the password in mysql -ppassword.
func matchMySQL(b []byte, i int) (int, int, bool) {
	j := i + len(" -p")
	if j >= len(b) || b[j] == ' ' || !inCommand(b, i, "mysql", "mysqldump", "mysqladmin", "mariadb") {
		return 0, 0, false
	}
	v := findValue(b, j)
	return v.start, v.whole(b), v.end-v.start >= 4 && b[v.start] != '-' && !bytes.HasPrefix(b[v.start:v.end], []byte("rotocol")) && secretWord(b[v.start:v.end])
}

// matchDirective matches a setting written as a word and its value on a line.
func matchDirective(b []byte, i int) (int, int, bool) {
	start, ok := lineStart(b, i, 64)
	j := i + bytes.IndexByte(b[i:], ' ') + 1
	if !ok || len(bytes.TrimSpace(b[start:i])) > 0 {
		return 0, 0, false
	}
	v := findValue(b, j)
	return v.start, v.whole(b), v.end-v.start >= 6 && v.whole(b) <= lineEnd(b, j, nearby) && secretWord(b[v.start:v.end])
}
