package commands

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // git names objects so
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// putTree puts, in place of the tree that an index keeps for its top, another one.
const putTree = `puttree() { python3 - "$1" <<'P'
import sys, hashlib
d = open('.git/index', 'rb').read()
j = d.index(b'\n', d.index(b'TREE'))
d = d[:j+1] + bytes.fromhex(sys.argv[1]) + d[j+21:-20]
open('.git/index', 'wb').write(d + hashlib.sha1(d).digest())
P
}; `

// TestPromise3_NothingPassesForAnObjectThatItIsNot: git does not compare the name of
// an object with what is in it when it reads it, and takes from the index the trees
// that stand there. What a command forges of that is a hazard, as is an object that
// goes.
func TestPromise3_NothingPassesForAnObjectThatItIsNot(t *testing.T) {
	const (
		setup = "git init -q -b main; echo good > a; mkdir d; echo 1 > d/x; git add .; git commit -qm 1; echo 2 > b; "
		evil  = `e=$(printf 'EVIL\n' | git hash-object -w --stdin); `
		blob  = `o=$(git rev-parse HEAD:a); f=.git/objects/${o:0:2}/${o:2}; `
	)
	for name, c := range map[string]struct{ before, line string }{
		"content of a loose object":  {"", evil + blob + `chmod u+w $f; cp .git/objects/${e:0:2}/${e:2} $f`},
		"loose object beside a pack": {"git gc -q", evil + blob + `mkdir -p ${f%/*}; cp .git/objects/${e:0:2}/${e:2} $f`},
		"deleted object":             {"", blob + `rm -f $f`},
		"index of a pack": {"git gc -q", blob + `i=$(ls .git/objects/pack/*.idx); chmod u+w $i; python3 - $i <<'P'
import sys, hashlib
d = bytearray(open(sys.argv[1], 'rb').read())
n = int.from_bytes(d[8+255*4:8+256*4], 'big')
at = 8 + 256*4 + n*24
d[at:at+4], d[at+4:at+8] = d[at+4:at+8], d[at:at+4]
d = d[:-20]
open(sys.argv[1], 'wb').write(d + hashlib.sha1(d).digest())
P`},
		"graph of commits": {"git commit-graph write --reachable", `i=.git/objects/info/commit-graph; chmod u+w $i; python3 - $i $(git rev-parse HEAD^{tree}) $(git rev-parse HEAD:d) <<'P'
import sys, hashlib
d = open(sys.argv[1], 'rb').read().replace(bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3]))[:-20]
open(sys.argv[1], 'wb').write(d + hashlib.sha1(d).digest())
P`},
		"tree in the index": {"", evil + putTree + `t=$(printf "100644 blob $e\ta\n" | git mktree); git add b; git write-tree >/dev/null; puttree $t`},
	} {
		x := newFixture(t)
		x.real(setup + c.before)
		_, p := x.preview(x.command(c.line))
		if !strings.Contains(hazardKinds(p), HazardGitDamaged) {
			t.Errorf("%s: hazards %q\n%s", name, hazardKinds(p), p.Change.Text)
		}
	}
}

// TestWhatGitDoesIsNotForged: what git itself writes passes its own comparison.
func TestWhatGitDoesIsNotForged(t *testing.T) {
	for _, line := range []string{
		"git add b; git write-tree", "git commit -qam 2", "git rm -rq d; git commit -qm 2", "git gc -q", "git repack -qad", "git commit-graph write --reachable",
		"git add -N b; git status", "mkdir -p e/f/g; echo 1 > e/f/g/h; echo 1 > e-f; echo 1 > e.f; git add .; git commit -qm 2; git reset -q --soft HEAD~1; git reset -q",
		"git update-index --index-version 4; git add .; git commit -qm 2; ln -s a l; chmod +x a; git add .; git write-tree", "git checkout -q -b x; echo 3 > a; git commit -qam 3; git checkout -q main; echo 4 > a; git commit -qam 4; git merge -q x; git add a",
		"git sparse-checkout set --cone --sparse-index d/k; git status",
		"git multi-pack-index write; git repack -q; git multi-pack-index write",
	} {
		x := newFixture(t)
		x.real("git init -q -b main; echo good > a; mkdir -p d/k; echo 1 > d/x; echo 2 > d/k/y; git add .; git commit -qm 1; echo 2 > b")
		rec, p := x.preview(x.command(line))
		if strings.Contains(hazardKinds(p), HazardGitDamaged) || rec.Git == nil || rec.Git.Unread {
			t.Errorf("%s: hazards %v\n%s", line, p.Hazards, p.Change.Text)
		}
	}
}

// TestTreesOfAnIndexOfSHA256 reads the longer names of objects, too.
func TestTreesOfAnIndexOfSHA256(t *testing.T) {
	x := newFixture(t)
	x.real("git init -q -b main --object-format=sha256; mkdir d; echo 1 > d/x; git add .; git commit -qm 1; git write-tree")
	at := filepath.Join(x.ws, ".git/index")
	data, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkTrees(data); err != nil {
		t.Error(err)
	}
}

func TestObjectsTogetherHaveALimit(t *testing.T) {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	text := "blob 4\x00text"
	if _, err := z.Write([]byte(text)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	name := hex.EncodeToString(gitSum([]byte(text), sha1.Size))
	left := int64(2*len(text) + 1)
	for i, want := range []bool{true, true, false, false} {
		if got := isObject(bytes.NewReader(packed.Bytes()), name, &left); got != want {
			t.Errorf("object %d: %v with %d left", i, got, left)
		}
	}
}
