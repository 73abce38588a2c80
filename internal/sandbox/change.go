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

	at int64 // offset of the content in the pack; of After alone
}

// pack holds the contents that a run wrote, one after the other.
type pack struct{ f *os.File }

// Content returns the bytes that a change left at its path. They are those that
// Entry.Sum was computed over; the reader is valid until Run.Close.
func (r *Run) Content(c Change) io.Reader {
	if c.After == nil || c.After.Type != 'f' {
		return nil
	}
	return io.NewSectionReader(r.content.f, c.After.at, c.After.Size)
}

// Close removes what the run keeps. It is safe to call more than once.
func (r *Run) Close() error {
	if r.content == nil || r.content.f == nil {
		return nil
	}
	err := r.content.f.Close()
	r.content.f = nil
	return err
}

func sumText(sum []byte) string { return hex.EncodeToString(sum) }
