package sandbox

import (
	"encoding/hex"
	"io"
	"os"
)

// Op says what happened to a path.
type Op string

// The operations.
const (
	OpAdd    Op = "add"
	OpModify Op = "modify"
	OpDelete Op = "delete"
	// OpTouch is a change of the modification time alone.
	OpTouch Op = "touch"
)

// Change is one path that differs after the run. A path whose type changed is a
// delete and an add, in this order.
type Change struct {
	Tree string // of Spec.Trees
	Path string // below Tree, with slashes; any bytes but NUL
	Op   Op
	// Before is the real state before the run, nil for an added path; After is
	// the state after it, nil for a deleted one.
	Before, After *Entry
}

// Entry is the state of one path.
type Entry struct {
	Type   byte   // 'f' file, 'd' folder, 'l' link, 'p' pipe, 's' socket, 'c' and 'b' devices
	Mode   uint32 // permission bits with set-id and sticky
	Size   int64  // of a file
	Sum    string // sha256 of a file's content, in hex
	Target string // of a link
	Xattrs map[string]string
	MTime  int64 // nanoseconds since 1970
	Links  int   // hard links
	// Inode tells which added or changed files are one file with several names;
	// 0 where there is one name.
	Inode uint64
	// At is where a file's content begins in the contents that the run keeps.
	At int64
}

// Contents is the file that holds what a run wrote, one content after the other,
// as Entry.At and Entry.Size say. It has no name and ends with Close.
func (r *Run) Contents() *os.File { return r.contents }

// Content returns the bytes that a change left at its path, nil where it left no
// file. They are those that Entry.Sum was computed over.
func (r *Run) Content(c Change) io.Reader {
	if c.After == nil || c.After.Type != 'f' {
		return nil
	}
	return io.NewSectionReader(r.contents, c.After.At, c.After.Size)
}

// Close removes what the run keeps. It is safe to call more than once.
func (r *Run) Close() error {
	if r.contents == nil {
		return nil
	}
	err := r.contents.Close()
	r.contents = nil
	return err
}

func sumText(sum []byte) string { return hex.EncodeToString(sum) }
