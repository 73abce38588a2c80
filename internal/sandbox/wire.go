package sandbox

import "time"

// The arguments that tell [Main] which part it plays.
const (
	// InitArg is the first argument of the first process inside.
	InitArg = "sandbox-init"
	execArg = "sandbox-exec"
)

// Descriptors of the first process. The command's output pipes are its 1 and 2.
const (
	fdSpec   = 3 // the spec, as JSON, to its end
	fdStatus = 4 // reports, one JSON object per line
	fdPack   = 5 // contents of what changed
)

// order is what the first process is told.
type order struct {
	Spec   Spec
	Root   string // an empty folder for the new root
	Upper  string // a folder for upper layers on disk; "" for memory
	Limits Limits
}

// report is one line of the first process.
type report struct {
	Started *time.Time    `json:",omitempty"`
	Want    *Want         `json:",omitempty"`
	Retry   string        `json:",omitempty"`
	Change  *changeReport `json:",omitempty"`
	Moved   []byte        `json:",omitempty"`
	Name    *nameReport   `json:",omitempty"`
	Probe   []byte        `json:",omitempty"`
	Done    *doneReport   `json:",omitempty"`
	Error   string        `json:",omitempty"` // the sandbox failed
	Missing string        `json:",omitempty"` // what this machine lacks; with Error
}

// doneReport ends a run. Without it there is none.
type doneReport struct {
	Exit, Signal int
	Stopped      string
	Left         []string
	Ended        time.Time
}

// nameReport is one name of a file that has several.
type nameReport struct {
	Inode      uint64
	Tree, Path []byte
}

// changeReport is a Change with its names as bytes, which JSON strings cannot
// hold.
type changeReport struct {
	Tree, Path    []byte
	Op            Op
	Before, After *entryReport `json:",omitempty"`
}

type entryReport struct {
	Type   byte
	Mode   uint32
	Size   int64             `json:",omitempty"`
	Sum    string            `json:",omitempty"`
	Target []byte            `json:",omitempty"`
	Xattrs map[string][]byte `json:",omitempty"`
	MTime  int64
	Links  int
	Inode  uint64 `json:",omitempty"`
	At     int64  `json:",omitempty"`
}

func (c changeReport) change() Change {
	return Change{Tree: string(c.Tree), Path: string(c.Path), Op: c.Op, Before: c.Before.entry(), After: c.After.entry()}
}

func (e *entryReport) entry() *Entry {
	if e == nil {
		return nil
	}
	out := &Entry{Type: e.Type, Mode: e.Mode, Size: e.Size, Sum: e.Sum, Target: string(e.Target), MTime: e.MTime, Links: e.Links, Inode: e.Inode, At: e.At}
	for k, v := range e.Xattrs {
		if out.Xattrs == nil {
			out.Xattrs = map[string]string{}
		}
		out.Xattrs[k] = string(v)
	}
	return out
}
