package redact

import (
	"bytes"
	"strings"
)

// secretEndings are the endings of secret names, in lower case without separators.
var secretEndings = []string{
	"password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "apikey", "privatekey", "secretkey",
	"accesskey", "accountkey", "encryptionkey", "signingkey", "masterkey", "authkey", "credential", "authorization", "connectionstring",
	"passwords", "passphrases", "secrets", "apikeys", "privatekeys", "credentials",
	"secretkeybase", "presharedkey", "subscriptionkey", "clientkeydata", "requirepass", "fastlykey",
}

// weakEndings are endings of names that mostly hold a secret but sometimes
// something else: their values are examined, in JSON too.
var weakEndings = []string{"pass", "psk", "pat", "appkey"}

// notPasses are words that end in "pass" and are not passwords.
var notPasses = []string{
	"by", "com", "sur", "tres", "tress", "over", "under", "one", "first", "second", "third", "last", "next", "two", "single", "multi",
	"render", "shader", "final", "num", "max", "test", "tests", "should", "did", "does", "must", "all", "boarding", "low", "high", "band",
}

// notTokens are prefixes of names that end in "token" but are not secrets: list
// positions, parts of a text, protocol bookkeeping.
var notTokens = []string{
	"progress", "page", "nextpage", "prevpage", "next", "previous", "continuation", "cursor", "sync", "resume", "nextsync",
	"max", "min", "num", "total", "prompt", "completion", "input", "output", "special", "stop", "start", "end", "eos", "bos",
	"pad", "unk", "cls", "sep", "mask", "per", "first", "last", "current", "peek", "cancellation", "cancel",
}

// maxName is the maximum length of a name, in bytes.
const maxName = 80

// secretName reports whether a member or variable of this name holds a secret.
func secretName(name []byte) bool {
	if string(name) == "PWD" || string(name) == "OLDPWD" {
		return false // the shell's working directories
	}
	var buf [maxName]byte
	low := plainName(&buf, name)
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

// weakName reports whether a member or variable of this name may hold a secret,
// depending on its value.
func weakName(name []byte) bool {
	var buf [maxName]byte
	low := plainName(&buf, name)
	for _, end := range weakEndings {
		rest, ok := bytes.CutSuffix(low, []byte(end))
		if !ok {
			continue
		}
		switch n := len(name) - len(end); {
		case end == "pass":
			apart := len(rest) == 0 || oneOf(string(rest), []string{"db", "user", "root", "admin", "my", "ftp", "smtp", "mail"}) ||
				n > 0 && (bytes.IndexByte([]byte("_-."), name[n-1]) >= 0 || name[n] == 'P' && 'a' <= name[n-1])
			return apart && !oneOf(string(rest), notPasses)
		case end == "psk":
			return len(rest) == 0 || string(rest) == "wpa"
		default: // a word of its own behind others: GITHUB_PAT, app_key
			return end == "appkey" || n > 0 && (name[n-1] == '_' || name[n-1] == '-')
		}
	}
	return false
}

// plainName returns the name in lower case without separators, or nil if it is not
// a name.
func plainName(buf *[maxName]byte, name []byte) []byte {
	if len(name) == 0 || len(name) > maxName {
		return nil
	}
	low := buf[:0]
	for _, c := range name {
		switch c = fold(c); {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			low = append(low, c)
		case c == '_', c == '-', c == '.', c == ' ', c == '$':
		default:
			return nil
		}
	}
	return low
}

func oneOf(s string, list []string) bool {
	for _, x := range list {
		if s == x {
			return true
		}
	}
	return false
}

// placeholders are parts of values that stand for a secret in examples.
var placeholders = []string{
	"your", "example", "changeme", "change-me", "change_me", "placeholder", "dummy", "xxxx", "****", "....", "redacted", "insert",
}

// secretNames are parts of values that name a secret.
var secretNames = []string{"password", "passwd", "secret", "token", "apikey", "api_key", "api-key", "credential"}

// placeholder reports whether the wording of a value shows that it is not a secret.
func placeholder(v []byte) bool { return standsFor(v) || namesSecret(v) }

// standsFor reports whether a value is a version, a reference or an example.
func standsFor(v []byte) bool {
	if isVersion(v) || bytes.HasPrefix(v, []byte("urn:")) || len(v) > 2 && bytes.Count(v, v[:1]) == len(v) {
		return true
	}
	if bytes.ContainsAny(v, "<>{}$") || bytes.Contains(v, []byte("://")) || bytes.HasPrefix(v, []byte("%")) {
		return true
	}
	return containsOne(v, placeholders)
}

// namesSecret reports whether a value contains a name of secrets.
func namesSecret(v []byte) bool { return containsOne(v, secretNames) }

func containsOne(v []byte, parts []string) bool {
	low := strings.ToLower(string(v[:min(len(v), 64)]))
	for _, p := range parts {
		if strings.Contains(low, p) {
			return true
		}
	}
	return false
}

// isVersion reports whether v is a version or a version range, as found next to
// package names.
func isVersion(v []byte) bool {
	v = bytes.TrimLeft(v, "^~>=<v ")
	numbers := digits.run(v, 0, 8)
	return numbers > 0 && numbers < len(v) && v[numbers] == '.' && len(v) < 40 && versionSet.run(v, numbers, 40) == len(v) && bytes.Count(v, []byte(".")) >= 2
}

var versionSet = newCharset("a-z0-9.+-")

// plainWords are words in place of a password that are not one.
var plainWords = []string{
	"string", "varchar", "integer", "boolean", "optional", "required", "nullable", "undefined", "disabled", "enabled", "default", "inherit",
	"prompt", "always", "invalid", "incorrect", "mismatch", "missing", "internal", "external", "plaintext", "encrypted", "generated", "random",
	"automatic", "manual", "username", "anonymous", "textfield", "keychain", "interactive", "environment", "protected", "unchanged", "unknown",
	"forgotten", "expired", "unsupported", "disallowed", "forbidden", "scrypt", "pbkdf2", "argon2", "bcrypt", "visible", "sensitive",
	"different", "textbox", "masked", "obscured", "optionally", "readonly", "writeonly", "external", "onelogin", "lastpass", "keepass", "bitwarden",
}

// exampleWords stand for the password in an address.
var exampleWords = []string{"password", "passwd", "pass", "pwd", "pw", "secret", "token"}

// sentenceWords occur in messages to a user about a password, not in one.
var sentenceWords = []string{
	"the", "and", "for", "not", "you", "your", "this", "that", "are", "can", "must", "should", "cannot", "will", "have", "has", "please", "enter",
	"least", "than", "too", "short", "long", "match", "contain", "with", "without", "from", "does", "was", "were", "only", "may", "characters",
	"letters", "field", "value", "user", "use", "new", "old", "current", "reset", "forgot", "login", "change",
}

// otherWords stand where the word of a password could: answers, sources, results and
// the types of values.
var otherWords = []string{
	"none", "null", "nil", "undef", "true", "false", "yes", "no", "on", "off", "empty", "auto", "ask", "never", "skip", "keep", "hide", "show",
	"files", "compat", "systemd", "ldap", "nis", "sss", "winbind", "crypt", "plain", "hash", "hashed", "basic", "bearer", "stdin", "file", "env",
	"pass", "passed", "fail", "failed", "success", "error", "warn", "warning", "pending", "skipped", "blocked", "unstable", "forward", "deferred",
	"shadow", "opaque", "main", "depth", "color", "first", "second", "third", "final", "test", "tests",
	"str", "text", "int", "bool", "bytes", "name", "path", "number", "object", "type", "any", "func", "self", "arg", "args",
	"param", "options", "flags", "variable", "setting", "mode", "set", "sets", "add", "adding", "all", "more", "other",
}

// proseWords occur in a sentence about an option, and not on a command line.
var proseWords = []string{
	"the", "and", "for", "not", "you", "your", "this", "that", "are", "can", "must", "should", "cannot", "will", "have", "has", "please", "than",
	"with", "without", "from", "only", "may", "option", "flag", "argument", "parameter", "or", "if", "is", "in", "to", "of", "as", "at", "by", "be",
	"it", "its", "an", "a", "when", "where", "which", "while", "via", "using", "used", "use", "uses", "passing", "specify", "specifies", "provide",
	"provided", "supply", "supports", "accepts", "requires", "given", "see", "also", "instead", "because", "since", "unless", "until", "then",
	"them", "they", "into", "but", "both", "either", "same", "each", "takes", "names", "holds", "gives", "wants", "needs", "expects", "reads", "sets",
}
