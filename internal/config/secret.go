package config

import (
	"regexp"
	"strings"
)

// secretShapes matches tokens that are recognised by their form alone.
var secretShapes = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY|` +
	`\b(?:sk-ant-[A-Za-z0-9_-]{16,}|sk-(?:proj-)?[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|` +
	`(?:AKIA|ASIA)[A-Z0-9]{16}|xox[abposr]-[A-Za-z0-9-]{10,}|npm_[A-Za-z0-9]{30,}|AIza[A-Za-z0-9_-]{30,}|[sr]k_live_[A-Za-z0-9]{16,}|` +
	`SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{32,}|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})`)

// credentialURL matches a password inside an address.
var credentialURL = regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@`)

const secretWord = `(?:api[-_]?key|access[-_]?key|access[-_]?token|auth[-_]?token|bearer|token|password|passwd|passphrase|secret|client[-_]?secret|private[-_]?key)`

var (
	secretFlag   = regexp.MustCompile(`(?i)^--?(?:[a-z0-9]+[-_])*` + secretWord + `$`)
	secretAssign = regexp.MustCompile(`(?i)^(?:--?)?(?:[a-z0-9]+[-_])*` + secretWord + `\s*[=:]\s*(\S{6,})`)
)

// findSecrets reports texts that look like a secret. Messages do not quote them.
func findSecrets(root *node, report func(Pos, string, string)) {
	const message = "this looks like a secret, and a secret written into the file does not load"
	const suggestion = `put it into a file of yours and name it: secrets: {NAME: "file:~/.secrets/…"} (or env:, cmd:)`
	var walk func(n *node)
	walk = func(n *node) {
		switch n.kind {
		case kindString:
			if secretShapes.MatchString(n.text) || credentialURL.MatchString(n.text) {
				report(n.pos, message, suggestion)
			}
		case kindList:
			for i, x := range n.items {
				walk(x)
				if x.kind != kindString {
					continue
				}
				if m := secretAssign.FindStringSubmatch(x.text); m != nil && !isReference(m[1]) {
					report(x.pos, message, suggestion)
				}
				if i > 0 && n.items[i-1].kind == kindString && secretFlag.MatchString(n.items[i-1].text) && len(x.text) >= 6 && !isReference(x.text) {
					report(x.pos, message, suggestion)
				}
			}
		case kindMap:
			for i, x := range n.items {
				if secretShapes.MatchString(n.keys[i].name) {
					report(n.keys[i].pos, message, suggestion)
				}
				walk(x)
			}
		}
	}
	walk(root)
}

// isReference reports whether a value says where a secret is, rather than being
// one.
func isReference(s string) bool {
	return strings.HasPrefix(s, "/") || strings.HasPrefix(s, "~/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "$") || strings.HasPrefix(s, "-")
}
