package redact

import (
	"bytes"
	"strings"
)

// secretEndings are how names of secrets end, in lower case without separators.
var secretEndings = []string{
	"password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "apikey", "privatekey", "secretkey",
	"accesskey", "accountkey", "encryptionkey", "signingkey", "masterkey", "authkey", "credential", "authorization", "connectionstring",
	"passwords", "passphrases", "secrets", "apikeys", "privatekeys", "credentials",
}

// notTokens are beginnings with which a name that ends in "token" is no secret:
// places in a list, parts of a text, bookkeeping of the protocol.
var notTokens = []string{
	"progress", "page", "nextpage", "prevpage", "next", "previous", "continuation", "cursor", "sync", "resume", "nextsync",
	"max", "min", "num", "total", "prompt", "completion", "input", "output", "special", "stop", "start", "end", "eos", "bos",
	"pad", "unk", "cls", "sep", "mask", "per", "first", "last", "current", "peek", "cancellation", "cancel",
}

// maxName is the length in bytes over which nothing is a name.
const maxName = 80

// secretName reports whether a member or variable of this name holds a secret.
func secretName(name []byte) bool {
	if len(name) == 0 || len(name) > maxName || string(name) == "PWD" || string(name) == "OLDPWD" {
		return false // the shell's working directories
	}
	var buf [maxName]byte
	low := buf[:0]
	for _, c := range name {
		switch c = fold(c); {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			low = append(low, c)
		case c == '_', c == '-', c == '.', c == ' ', c == '$':
		default:
			return false
		}
	}
	switch string(low) {
	case "cookie", "setcookie", "pgpass":
		return true
	}
	for _, end := range secretEndings {
		if rest, ok := bytes.CutSuffix(low, []byte(end)); ok {
			return end != "token" || !oneOf(string(rest), notTokens)
		}
	}
	return false
}

func oneOf(s string, list []string) bool {
	for _, x := range list {
		if s == x {
			return true
		}
	}
	return false
}

// placeholders are parts of values that stand for a secret in examples, or that
// name one.
var placeholders = []string{
	"your", "example", "changeme", "change-me", "change_me", "placeholder", "dummy", "xxxx", "****", "....", "redacted", "insert",
	"password", "passwd", "secret", "token", "apikey", "api_key", "api-key", "credential",
}

// placeholder reports whether a value is no secret by its wording.
func placeholder(v []byte) bool {
	if bytes.ContainsAny(v, "<>{}$") || bytes.Contains(v, []byte("://")) || bytes.HasPrefix(v, []byte("%")) {
		return true
	}
	low := strings.ToLower(string(v[:min(len(v), 64)]))
	for _, p := range placeholders {
		if strings.Contains(low, p) {
			return true
		}
	}
	return false
}
