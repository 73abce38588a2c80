package onboard

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/redact"
)

// Handling says where the value of an environment variable is stored.
type Handling struct {
	Name   string
	Secret bool   // in a file of its own, 0600; otherwise in the recorded environment
	Reason string // why it is taken for a secret, or where the value came from
	value  string
	// elsewhere is true if the file only refers to the value.
	elsewhere bool
}

var (
	reference = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}`)
	envName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`)
	input     = regexp.MustCompile(`\$\{(input|env|workspaceFolder|userHome)\b[^}]*\}`)
)

// maxSecretFile is the largest secret file, in bytes; longer values are
// recorded with the rest.
const maxSecretFile = 64 << 10

// secretShaped reports whether a value looks like a secret by its name or
// form.
func secretShaped(r *redact.Redactor, name, value string) (reason string, ok bool) {
	if value == "" {
		return "", false
	}
	if _, found := r.Text([]byte(value)); len(found) > 0 {
		return "it has the form of a secret", true
	}
	// An invented random value, so that only the name is evaluated.
	if _, found := r.Text([]byte(name + "=Zx81kQ0v7LmN4pR2tY6w")); len(found) > 0 {
		return "it is named like a secret", true
	}
	return "", false
}

// unset returns the variables that a text refers to and that have no value
// here.
func unset(text string, lookup func(string) (string, bool)) (names []string) {
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		if _, ok := lookup(m[1]); !ok && m[2] == "" {
			names = append(names, m[1])
		}
	}
	return names
}

// handlings decides where each variable of an entry is stored. A value that is
// not known here is an error: the guard would start the server with a
// different one.
func handlings(r *redact.Redactor, vars []Variable, lookup func(string) (string, bool)) ([]Handling, error) {
	var out []Handling
	for _, v := range vars {
		if !envName.MatchString(v.Name) {
			return nil, fmt.Errorf("%q cannot be the name of an environment variable", v.Name)
		}
		if m := input.FindString(v.Value); m != "" {
			return nil, fmt.Errorf("%s refers to %s, which only its own client can fill in", v.Name, m)
		}
		if missing := unset(v.Value, lookup); len(missing) > 0 {
			return nil, fmt.Errorf("%s refers to ${%s}, which is not set in this shell; run it where it is set", v.Name, missing[0])
		}
		h := Handling{Name: v.Name, value: expandVars(v.Value, lookup)}
		if strings.ContainsRune(h.value, 0) {
			return nil, fmt.Errorf("the value of %s holds a NUL", v.Name)
		}
		reason, secret := secretShaped(r, v.Name, h.value)
		// Reading a secret's file removes trailing line ends.
		if secret && len(h.value) <= maxSecretFile && strings.TrimRight(h.value, "\r\n") == h.value {
			h.Secret, h.Reason = true, reason
		}
		if m := reference.FindStringSubmatch(v.Value); m != nil && m[0] == v.Value {
			if _, set := lookup(m[1]); set {
				h.Reason, h.elsewhere = strings.TrimPrefix(h.Reason+", with the value that "+m[1]+" has in this shell", ", "), true
			}
		}
		out = append(out, h)
	}
	return out, nil
}

// containerSecrets removes secrets from the arguments of `docker run`: "-e
// NAME=VALUE" becomes "-e NAME", and the value is handled like the entry's
// environment, from which docker takes it.
func containerSecrets(r *redact.Redactor, args []string, image int) (words []string, vars []Variable) {
	words = slices.Clone(args)
	for i := 1; i < image; i++ {
		var flag, value string
		joined := false
		switch {
		case (words[i] == "-e" || words[i] == "--env") && i+1 < image:
			i++
			value = words[i]
		case strings.HasPrefix(words[i], "--env="):
			flag, value, joined = "--env=", strings.TrimPrefix(words[i], "--env="), true
		default:
			continue
		}
		name, v, ok := strings.Cut(value, "=")
		if _, secret := secretShaped(r, name, v); !ok || !secret || !envName.MatchString(name) {
			continue
		}
		if joined {
			name = flag + name
		}
		words[i] = name
		vars = append(vars, Variable{strings.TrimPrefix(name, flag), v})
	}
	return words, vars
}

// slug makes a valid guard name of any text; "" if nothing is left of it.
func slug(s string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '.', r == '-':
			return r
		}
		return '-'
	}, s)
	out = strings.Trim(out, "-._")
	return out[:min(len(out), 48)]
}

// secretFile is where a secret of a server is kept.
func secretFile(state, server, name string) string {
	return filepath.Join(state, "secrets", server, name)
}
