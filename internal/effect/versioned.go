package effect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Limits on what is read to tell whether git tracks a file. No program is run,
// because git itself runs commands that a repository configures.
const (
	maxIndex      = 64 << 20 // bytes of .git/index
	maxIgnoreFile = 256 << 10
)

// versioned describes the version control of a file if that is worth saying. It
// returns nothing for a tracked file, for a new one that may become tracked, and if
// the repository cannot be read.
func versioned(p resolvedPath) string {
	top, gitDir := repository(p)
	if top == "" {
		if p.exists {
			return "the file is outside version control"
		}
		return ""
	}
	rel, err := filepath.Rel(top, p.abs())
	if err != nil || rel == "." || strings.HasPrefix(rel, "..") {
		return ""
	}
	rel = filepath.ToSlash(rel)
	if rel == ".git" || strings.HasPrefix(rel, ".git/") {
		return "the file is the repository's own"
	}
	index, err := readBounded(filepath.Join(gitDir, "index"), maxIndex)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return ""
	}
	folder := p.exists && p.stat.isDir()
	kept, known := indexed(index, rel, folder)
	switch {
	case kept || !known:
		return ""
	case ignored(top, gitDir, rel, folder):
		return "the file is ignored by version control"
	case p.exists:
		return "the file is not kept by version control yet"
	}
	return ""
}

// repository finds the work tree that holds a path, and its git folder.
func repository(p resolvedPath) (top, gitDir string) {
	dir := p.abs()
	for {
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ""
		}
		dir = parent
		at := filepath.Join(dir, ".git")
		info, err := os.Lstat(at)
		switch {
		case err != nil:
		case info.IsDir():
			return dir, at
		case info.Mode().IsRegular(): // a linked work tree or a submodule
			data, err := readBounded(at, 4<<10)
			to, ok := strings.CutPrefix(strings.TrimSpace(string(data)), "gitdir: ")
			if err != nil || !ok {
				return "", ""
			}
			if !filepath.IsAbs(to) {
				to = filepath.Join(dir, to)
			}
			return dir, to
		}
	}
}

// readBounded reads a regular file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, errTooMuch
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errTooMuch
	}
	return data, err
}

var errTooMuch = errors.New("larger than what is read of it")

// indexed reports whether an index lists a file, or files below a folder
// (gitformat-index). known is false if the index cannot be read. A repository
// without an index tracks nothing yet.
func indexed(index []byte, rel string, folder bool) (kept, known bool) {
	if len(index) == 0 {
		return false, true
	}
	if len(index) < 12 || string(index[:4]) != "DIRC" {
		return false, false
	}
	version, n := binary.BigEndian.Uint32(index[4:]), binary.BigEndian.Uint32(index[8:])
	if version < 2 || version > 4 {
		return false, false
	}
	at, name := index[12:], []byte(nil)
	for range n {
		const fixed, extended = 62, 1 << 14
		if len(at) < fixed+2 {
			return false, false
		}
		head := fixed
		mode := binary.BigEndian.Uint32(at[24:])
		if version >= 3 && binary.BigEndian.Uint16(at[60:])&extended != 0 {
			head += 2
		}
		rest := at[head:]
		if version == 4 {
			strip, size := indexOffset(rest)
			if size == 0 || strip > len(name) {
				return false, false
			}
			rest, name = rest[size:], name[:len(name)-strip]
		} else {
			name = name[:0]
		}
		end := bytes.IndexByte(rest, 0)
		if end < 0 {
			return false, false
		}
		name = append(name, rest[:end]...)
		if version == 4 {
			at = rest[end+1:]
		} else {
			step := (head + end + 8) &^ 7
			if step > len(at) {
				return false, false
			}
			at = at[step:]
		}
		const sparse, submodule = 0o040000, 0o160000
		switch {
		case string(name) == rel, folder && strings.HasPrefix(string(name), rel+"/"):
			return true, true
		case mode&0o170000 == sparse && strings.HasPrefix(rel, string(name)),
			mode&0o170000 == submodule && strings.HasPrefix(rel, string(name)+"/"):
			return false, false // this index does not list the entries below
		}
	}
	return false, true
}

// indexOffset reads the number of bytes that version 4 removes from the previous
// name, in the encoding of pack offsets.
func indexOffset(b []byte) (n, size int) {
	for i, c := range b {
		if i > 4 {
			return 0, 0
		}
		if i > 0 {
			n++
		}
		n = n<<7 | int(c&0x7f)
		if c&0x80 == 0 {
			return n, i + 1
		}
	}
	return 0, 0
}

// ignored reports whether the rules of a repository leave a path out. A folder
// that is left out takes along what is in it.
func ignored(top, gitDir, rel string, folder bool) bool {
	parts := strings.Split(rel, "/")
	rules := ignoreRules(filepath.Join(gitDir, "info", "exclude"), "")
	for i := range parts {
		base := strings.Join(parts[:i], "/")
		rules = append(rules, ignoreRules(filepath.Join(top, base, ".gitignore"), base)...)
		at := strings.Join(parts[:i+1], "/")
		isDir := folder || i < len(parts)-1
		out := false
		for _, r := range rules { // the last that fits counts
			if r.fits(at, isDir) {
				out = !r.negated
			}
		}
		if out {
			return true
		}
	}
	return false
}

// ignoreRule is one line of a .gitignore file.
type ignoreRule struct {
	base            string // folder that the file is in, relative to the top
	pattern         string
	negated, folder bool
	anywhere        bool // it names no folder, so it fits at any depth
}

// ignoreRules reads a file of rules; one that cannot be read has none.
func ignoreRules(name, base string) []ignoreRule {
	data, err := readBounded(name, maxIgnoreFile)
	if err != nil {
		return nil
	}
	var out []ignoreRule
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
			line = line[:len(line)-1]
		}
		r := ignoreRule{base: base}
		if line == "" || line[0] == '#' {
			continue
		}
		line, r.negated = strings.CutPrefix(line, "!")
		line, r.folder = strings.CutSuffix(line, "/")
		r.anywhere = !strings.Contains(line, "/")
		r.pattern = strings.NewReplacer("{", `\{`, "}", `\}`).Replace(strings.TrimPrefix(line, "/"))
		if r.pattern != "" && doublestar.ValidatePattern(r.pattern) {
			out = append(out, r)
		}
	}
	return out
}

func (r ignoreRule) fits(path string, isDir bool) bool {
	if r.folder && !isDir {
		return false
	}
	if r.base != "" {
		var below bool
		if path, below = strings.CutPrefix(path, r.base+"/"); !below {
			return false
		}
	}
	if r.anywhere {
		path = path[strings.LastIndexByte(path, '/')+1:]
	}
	ok, err := doublestar.Match(r.pattern, path)
	return err == nil && ok
}
