package commands

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // git names objects so
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// gitHash is the hash by which git names objects, by the length of a name in bytes.
func gitHash(size int) hash.Hash {
	if size == sha256.Size {
		return sha256.New()
	}
	return sha1.New() //nolint:gosec // see above
}

// Files below objects that git makes, and that it or forged checks.
var (
	looseObject = regexp.MustCompile(`^objects/([0-9a-f]{2})/([0-9a-f]{38}|[0-9a-f]{62})$`)
	objectFile  = regexp.MustCompile(`^objects(/[0-9a-f]{2}|/pack|/info|/info/commit-graphs|/pack/pack-[0-9a-f]{40,64}\.(pack|idx|rev|bitmap|mtimes)|/pack/multi-pack-index|/info/packs|/info/commit-graph|/info/commit-graphs/(graph-[0-9a-f]{40,64}\.graph|commit-graph-chain))?$`)
)

// isObjectFile reports whether a path below .git is one in which git keeps objects,
// or what it finds them by.
func isObjectFile(rest string) bool {
	return looseObject.MatchString(rest) || objectFile.MatchString(rest)
}

// maxObjects bounds what the loose objects of a run may hold together, in bytes: a
// few kilobytes can unpack to gigabytes.
const maxObjects = 1 << 30

// forged says what a run has put into a repository that git would take for something
// else than it is: an object under another one's name, which git does not notice
// when it reads it, or trees in the index that are not those of its entries, which
// the next commit would have. It is empty where there is none.
func (g *GitChange) forged(run *sandbox.Run) string {
	left := int64(maxObjects)
	for _, c := range run.Changes {
		if c.After == nil || c.After.Type != 'f' || c.Op == sandbox.OpTouch || gitFolder(c) != g.Common {
			continue
		}
		_, rest, _ := strings.Cut("/"+c.Path, "/.git/")
		content := io.NewSectionReader(run.Contents(), c.After.At, c.After.Size)
		if name := looseObject.FindStringSubmatch(rest); name != nil {
			if !isObject(content, name[1]+name[2], &left) {
				return "the object " + short(name[1]+name[2]) + " has another content than its name says, or more than can be compared"
			}
		}
		if rest == "index" {
			data, err := io.ReadAll(content)
			if err == nil {
				err = checkTrees(data)
			}
			if err != nil {
				return "the index cannot be told by its entries: " + err.Error()
			}
		}
	}
	return ""
}

// isObject reports whether a file is the object of a name and holds no more than
// left, which it takes that from.
func isObject(file io.Reader, name string, left *int64) bool {
	z, err := zlib.NewReader(file)
	if err != nil {
		return false
	}
	h := gitHash(len(name) / 2)
	n, err := io.Copy(h, io.LimitReader(z, *left+1))
	*left -= n
	return err == nil && *left >= 0 && hex.EncodeToString(h.Sum(nil)) == name
}

// checkTrees compares the trees that an index keeps, so that a commit need not make
// them anew, with its entries.
func checkTrees(data []byte) error {
	size := objectSize
	if n := len(data) - sha256.Size; n > 0 && bytes.Equal(gitSum(data[:n], sha256.Size), data[n:]) {
		size = sha256.Size
	}
	t := indexTrees{size: size, trees: map[string]indexTree{}}
	var kept []byte
	var failed error
	err := walkIndex(data, size, func(e indexEntry) {
		e.object, e.name = bytes.Clone(e.object), bytes.Clone(e.name)
		t.entries = append(t.entries, e)
	}, func(whole []byte) {
		switch string(whole[:4]) {
		case "TREE":
			kept = whole[8:]
		case "link":
			failed = errors.New("a part of them lies elsewhere")
		}
	})
	if err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	if len(kept) == 0 {
		return nil
	}
	t.tree("", 0, len(t.entries))
	rest, err := t.compare("", kept)
	if err == nil && len(rest) > 0 {
		err = errIndex
	}
	return err
}

func gitSum(data []byte, size int) []byte {
	h := gitHash(size)
	h.Write(data)
	return h.Sum(nil)
}

// indexTrees are the trees that a commit of an index has, by path.
type indexTrees struct {
	size    int
	entries []indexEntry
	trees   map[string]indexTree
}

type indexTree struct {
	object  string
	entries int
	partly  bool // it has entries that no commit can have, or is not to have yet
}

const (
	treeMode    = 0o040000
	intentToAdd = 0x2000
	stageBits   = 0x3000
)

// tree makes the tree of a path, which entries from the one to before the other are
// of.
func (t *indexTrees) tree(path string, from, to int) indexTree {
	out := indexTree{entries: to - from}
	var text bytes.Buffer
	for i := from; i < to; {
		e := t.entries[i]
		name := string(e.name[len(path):])
		first, below, deep := strings.Cut(name, "/")
		if deep && (below != "" || e.mode != treeMode) {
			end := i + 1
			for end < to && strings.HasPrefix(string(t.entries[end].name), path+first+"/") {
				end++
			}
			kid := t.tree(path+first+"/", i, end)
			out.partly = out.partly || kid.partly
			fmt.Fprintf(&text, "40000 %s\x00%s", first, kid.object)
			i = end
			continue
		}
		if e.mode == treeMode { // a folder that is not checked out
			t.trees[path+first+"/"] = indexTree{object: string(e.object), entries: 1}
		}
		out.partly = out.partly || e.flags&stageBits != 0 || e.more&intentToAdd != 0
		fmt.Fprintf(&text, "%o %s\x00%s", e.mode, first, e.object)
		i++
	}
	out.object = string(gitSum(fmt.Appendf(nil, "tree %d\x00%s", text.Len(), text.Bytes()), t.size))
	t.trees[path] = out
	return out
}

// compare reads one kept tree and those below it, and returns what follows them.
func (t *indexTrees) compare(above string, kept []byte) ([]byte, error) {
	name, rest, ok := bytes.Cut(kept, []byte{0})
	line, rest, ok2 := bytes.Cut(rest, []byte("\n"))
	first, second, ok3 := strings.Cut(string(line), " ")
	count, err1 := strconv.Atoi(first)
	kids, err2 := strconv.Atoi(second)
	if !ok || !ok2 || !ok3 || err1 != nil || err2 != nil || kids < 0 {
		return nil, errIndex
	}
	path := above + string(name)
	if len(name) > 0 {
		path += "/"
	}
	if count >= 0 {
		if len(rest) < t.size {
			return nil, errIndex
		}
		is, ok := t.trees[path]
		if !ok || is.partly || is.entries != count || is.object != string(rest[:t.size]) {
			return nil, fmt.Errorf("the next commit would have another tree in %q", "/"+path)
		}
		rest = rest[t.size:]
	}
	for range kids {
		var err error
		if rest, err = t.compare(path, rest); err != nil {
			return nil, err
		}
	}
	return rest, nil
}
