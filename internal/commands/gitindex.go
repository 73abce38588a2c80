package commands

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"os"
	"path/filepath"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// errIndex says that a file is no index of git that is understood.
var errIndex = errors.New("no index of git")

// indexSum is a hash over what an index says: paths with mode, object and flags.
// What git keeps in it to save itself work, the status of files and the cached
// trees, is left out: every look at the status of a repository renews that.
func indexSum(data []byte) (string, error) {
	h := sha256.New()
	err := readIndex(data, h)
	return hex.EncodeToString(h.Sum(nil)), err
}

// Of an entry: the status that is left out, and the object's name behind it.
const (
	indexStat  = 40 // bytes: times, device, inode, mode, owner, size
	indexMode  = 24 // where the mode stands among them
	objectSize = 20 // SHA-1; a repository of SHA-256 is not understood
)

func readIndex(data []byte, h hash.Hash) error {
	return walkIndex(data, objectSize, func(e indexEntry) {
		var mode [4]byte
		binary.BigEndian.PutUint32(mode[:], e.mode)
		h.Write(mode[:])
		h.Write(e.object)
		var state [4]byte
		binary.BigEndian.PutUint16(state[:], e.flags)
		binary.BigEndian.PutUint16(state[2:], e.more)
		h.Write(state[:])
		h.Write(e.name)
		h.Write([]byte{0})
	}, func(whole []byte) {
		if whole[0] < 'A' || whole[0] > 'Z' { // the first letter tells whether it may be passed over
			h.Write(whole)
		}
	})
}

// indexEntry is what an index says of a path.
type indexEntry struct {
	mode        uint32
	object      []byte
	flags, more uint16 // without the length of the name
	name        []byte
}

// walkIndex calls entry for each entry of an index, then extension for each
// extension, with its name and length before it. What they get is only valid during
// the call. size is the length of an object's name.
func walkIndex(data []byte, size int, entry func(indexEntry), extension func(whole []byte)) error {
	if len(data) < 12+size || string(data[:4]) != "DIRC" {
		return errIndex
	}
	version, count := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	if version < 2 || version > 4 {
		return errIndex
	}
	rest := data[12 : len(data)-size]
	var name []byte
	for range count {
		head := indexStat + size + 2
		if len(rest) < head+1 {
			return errIndex
		}
		e := indexEntry{mode: binary.BigEndian.Uint32(rest[indexMode:]), object: rest[indexStat : indexStat+size]}
		flags := binary.BigEndian.Uint16(rest[indexStat+size:])
		e.flags = flags & 0xf000
		if flags&0x4000 != 0 { // more flags follow
			if len(rest) < head+3 {
				return errIndex
			}
			e.more = binary.BigEndian.Uint16(rest[head:])
			head += 2
		}
		used := 0
		if version == 4 {
			strip, n := indexNumber(rest[head:])
			if n == 0 || strip > len(name) {
				return errIndex
			}
			end := bytes.IndexByte(rest[head+n:], 0)
			if end < 0 {
				return errIndex
			}
			name = append(name[:len(name)-strip], rest[head+n:head+n+end]...)
			used = head + n + end + 1
		} else {
			end := bytes.IndexByte(rest[head:], 0)
			if end < 0 {
				return errIndex
			}
			name = rest[head : head+end]
			used = (head + end + 8) &^ 7 // padded with one to eight NULs
		}
		if used > len(rest) {
			return errIndex
		}
		e.name = name
		entry(e)
		if version == 4 {
			name = bytes.Clone(name)
		}
		rest = rest[used:]
	}
	for len(rest) >= 8 {
		n := int(binary.BigEndian.Uint32(rest[4:]))
		if n > len(rest)-8 {
			return errIndex
		}
		extension(rest[:8+n])
		rest = rest[8+n:]
	}
	return nil
}

// indexNumber reads a number of variable length, as git writes offsets.
func indexNumber(b []byte) (value, n int) {
	for n < len(b) && n < 5 {
		c := b[n]
		n++
		value = value<<7 | int(c&0x7f)
		if c&0x80 == 0 {
			return value, n
		}
		value++
	}
	return 0, 0
}

// indexes notes, for each index that a run changed, what it says before and
// after.
func (r *Record) indexes() {
	for _, c := range r.Changes {
		if filepath.Base(c.Path) != "index" || !inGit(c.Path) || c.Op != sandbox.OpModify {
			continue
		}
		before, err := (&summary{Record: r}).contentBefore(c)
		if err != nil {
			continue
		}
		after := make([]byte, c.After.Size)
		if _, err := r.contents.ReadAt(after, c.After.At); err != nil {
			continue
		}
		was, err1 := indexSum(before)
		now, err2 := indexSum(after)
		if err1 != nil || err2 != nil {
			continue // it is compared byte by byte
		}
		if r.Indexes == nil {
			r.Indexes = map[string]string{}
		}
		r.Indexes[c.Before.Sum], r.Indexes[c.After.Sum] = was, now
	}
}

// alike reports whether a file says what one of the given hash says, although
// its bytes differ.
func (r *Record) alike(sum string, now []byte) bool {
	want, ok := r.Indexes[sum]
	if !ok {
		return false
	}
	have, err := indexSum(now)
	return err == nil && have == want
}

// refreshIndex lets git, in a sandbox, note in its index which files are as it
// knows them: those that were landed are new to it.
func (r *Runner) refreshIndex(ctx context.Context, rec *Record) error {
	c := Command{Call: guard.NewCallID(), Folder: rec.Folder, Roots: rec.Roots}
	spec, err := r.spec(c)
	if err != nil {
		return err
	}
	spec.Env, spec.Scratch, spec.Stored = safeEnv, nil, nil
	spec.Argv = []string{"/bin/sh", "-c", safeGit + `cd "$1" && set -- && while IFS= read -r key; do [ -z "$key" ] || set -- "$@" -c "$key="; done <<E
$(g config --name-only --get-regexp '^filter\.')
E
g "$@" update-index -q --refresh; true`, "refresh", rec.Folder}
	run, err := sandbox.Exec(ctx, spec)
	if err != nil {
		return err
	}
	defer run.Close()
	if len(run.Changes) != 1 || run.Changes[0].Path != rec.Git.IndexPath || run.Changes[0].Tree != rec.Git.Tree || run.Changes[0].Op != sandbox.OpModify {
		return nil // of what was only touched, there is no content
	}
	before, err := os.ReadFile(filepath.Join(rec.Git.Tree, rec.Git.IndexPath))
	if err != nil {
		return err
	}
	after := make([]byte, run.Changes[0].After.Size)
	if _, err := run.Contents().ReadAt(after, run.Changes[0].After.At); err != nil {
		return err
	}
	was, err1 := indexSum(before)
	now, err2 := indexSum(after)
	if err1 != nil || err2 != nil || was != now {
		return nil // fail closed: it would say something else
	}
	l := sandbox.Landing{ID: newID(), Changes: run.Changes, Contents: run.Contents()}
	_, err = l.Land(ctx)
	return err
}
