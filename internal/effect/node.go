package effect

import (
	"path/filepath"
	"regexp"
	"strings"
)

// This file computes the path that @modelcontextprotocol/server-filesystem would
// use (its validatePath, version 2026.8.31), and refuses what it would refuse.

var windowsPath = regexp.MustCompile(`^[A-Za-z]:([\\/]|$)`)

// nodeAbsolute returns the absolute path that the server derives from p before it
// reads the disk. allowed are the folders given to the server.
func nodeAbsolute(p, home string, allowed []string) (string, error) {
	if p == "~" || strings.HasPrefix(p, "~/") {
		if home == "" {
			// fail closed: the server's home folder is not known here
			return "", refusePath(useAbsolute, "what ~ means to the server is not known")
		}
		p = filepath.Join(home, p[1:])
	}
	if windowsPath.MatchString(p) {
		return "", refusePath(useAbsolute, "a path of Windows was given on another system")
	}
	abs := filepath.Clean(p)
	if !filepath.IsAbs(p) {
		abs = nodeRelative(p, allowed)
	}
	if abs == "" || !nodeAllowed(nodeNormalize(abs), allowed) {
		return "", errOutside()
	}
	return abs, nil
}

// nodeRelative tries each allowed folder in turn; the first that keeps the result
// inside wins.
func nodeRelative(p string, allowed []string) string {
	for _, dir := range allowed {
		if c := filepath.Join(dir, p); nodeAllowed(nodeNormalize(c), allowed) {
			return c
		}
	}
	return ""
}

// nodeNormalize is normalizePath for an absolute path on POSIX: it trims white
// space and one quote at each end. It is used for the check only.
func nodeNormalize(p string) string {
	p = jsTrim(p)
	if p != "" && strings.ContainsRune(`"'`, rune(p[0])) {
		p = p[1:]
	}
	if p != "" && strings.ContainsRune(`"'`, rune(p[len(p)-1])) {
		p = p[:len(p)-1]
	}
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	if len(p) > 1 {
		p = strings.TrimSuffix(p, "/")
	}
	return p
}

func nodeAllowed(p string, allowed []string) bool {
	if p == "" || !filepath.IsAbs(p) {
		return false
	}
	p = filepath.Clean(p)
	for _, dir := range allowed {
		if _, ok := within(p, filepath.Clean(dir)); ok {
			return true
		}
	}
	return false
}

// nodeFolders lists the folders as the server keeps them: each as given and, if
// different, with links resolved.
func nodeFolders(roots []string) []string {
	var out []string
	for _, r := range roots {
		r = filepath.Clean(r)
		real, err := filepath.EvalSymlinks(r)
		if err != nil {
			continue // the server drops folders that it cannot stat
		}
		out = append(out, nodeNormalize(r))
		if real != r {
			out = append(out, nodeNormalize(real))
		}
	}
	return out
}

// nodeTemp is how many bytes the server's temporary name for new content adds to
// the file's name: ".", 32 hexadecimal digits, ".tmp".
const nodeTemp = 1 + 32 + 4
