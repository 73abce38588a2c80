package sandbox

import (
	"errors"
	"os"
	"time"
)

// Spec says what to run, and what of the machine the command may see. All paths
// are absolute, clean and free of symbolic links.
type Spec struct {
	// Program is the executable whose main calls [Main] for the arguments that
	// begin with [InitArg]; it becomes the first process inside.
	Program string
	// Argv is the command; Argv[0] is looked up in the PATH of Env if it has no
	// slash. Env is its whole environment, Dir the folder it starts in.
	Argv []string
	Env  []string
	Dir  string
	// Probe is a second command that runs in the same place once changes are
	// captured, if there are any, to say what they mean. Nothing that it does counts.
	// Its standard input is the paths that changed, in full, each ended by a zero.
	// It has ProbeEnv for its environment, in which nothing is the command's choice.
	Probe, ProbeEnv []string
	// Umask is the command's; 0 means 022.
	Umask int

	// Trees are the folders that the command may change. Changes are captured,
	// the real folders stay as they are. A tree within another is captured as
	// its own.
	Trees []string
	// Stored are trees that the command sees at another path than the one that they
	// have outside of it, their store. Their changes name the store as the tree.
	Stored []Scratch
	// Visible are files and folders that are there, read-only.
	Visible []string
	// Scratch are folders with a store of their own that outlives the run, for
	// caches: what is written there is neither captured nor landed.
	Scratch []Scratch
	// Closed are paths inside of what is visible that are masked: touching one is
	// a Want. Whatever no other list names is closed as well.
	Closed []string
	// Quiet are paths that are not there, and that nobody minds missing: asking
	// for one is no Want.
	Quiet []string

	// State is a folder of the caller's, mode 0700, on a file system that can
	// hold an upper layer. Each run works in a folder of its own below it and
	// removes it. It is never visible inside.
	State string
	// Copies are the trees of which the command gets a full copy instead of an
	// overlay, by the paths at which it sees them.
	Copies []string

	Limits Limits
}

// MaxProbe bounds what a probe may print, in bytes.
const MaxProbe = 32 << 20

// Scratch is a folder as the command sees it, and the real folder behind it.
type Scratch struct{ Path, Store string }

// Limits bound one run. A zero field means the default.
type Limits struct {
	Time      time.Duration // wall clock; 2 minutes
	CPU       time.Duration // of all processes together; 4 minutes
	Memory    int64         // bytes resident, of all processes together; 4 GiB
	Processes int           // at once; 512
	Written   int64         // bytes in the trees; 2 GiB
	Output    int64         // bytes of both streams together; 10 MiB
	Copied    int64         // bytes of a full copy; 200 MB
}

// OrDefault returns l with the defaults for what it leaves open.
func (l Limits) OrDefault() Limits {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def((*int64)(&l.Time), int64(2*time.Minute))
	def((*int64)(&l.CPU), int64(4*time.Minute))
	def(&l.Memory, 4<<30)
	def(&l.Written, 2<<30)
	def(&l.Output, 10<<20)
	def(&l.Copied, 200_000_000)
	if l.Processes <= 0 {
		l.Processes = 512
	}
	return l
}

// A Run is what became of a command. Close releases what it holds.
type Run struct {
	Exit   int // the command's exit code; meaningless where Signal is set
	Signal int // that ended it; 0 if it exited

	Output    []Chunk // both streams in the order they were read
	Truncated bool    // the output was over its limit

	Started, Ended time.Time

	// Probe is what Spec.Probe printed; nil where it failed or printed too much.
	Probe []byte

	Changes []Change // of all trees, in byte order of their paths
	Wanted  []Want   // what it wanted and did not get, each once, in order
	// Stopped names the limit that ended the run: time, cpu, memory, processes,
	// written, output; "" where none did. "cancelled" is the caller's context.
	Stopped string
	// Left are the names of processes that still lived after the command's end.
	// They were ended; what they would have written is not among Changes.
	Left []string
	// Retry says why an overlay could not do what the real folder would have
	// done, so that the run tells nothing; run again with Copies.
	Retry []string
	// Moved are paths of which the real one changed after the run began.
	Moved []string

	// Names are the names of files that have several, by Entry.Inode, changed or
	// not; as paths of their trees.
	Names map[uint64][]Name

	contents *os.File
}

// Unchanged reports whether the run proves that the command does nothing: it
// changed nothing, wanted nothing, and was not cut short in any way.
func (r *Run) Unchanged() bool {
	return len(r.Changes) == 0 && r.Whole()
}

// Whole reports whether the run tells all that the command would do.
func (r *Run) Whole() bool {
	return len(r.Wanted) == 0 && r.Stopped == "" && !r.Truncated && len(r.Left) == 0 && len(r.Retry) == 0 && len(r.Moved) == 0
}

// Name is a path of a tree.
type Name struct{ Tree, Path string }

// Chunk is a piece of output.
type Chunk struct {
	Stderr bool
	Data   []byte
}

// Want is something of the world outside that the command tried to reach.
type Want struct {
	Kind WantKind
	What string // a host, an address, a path, a process; as the command named it
}

// WantKind says of what kind a want is.
type WantKind string

// The kinds of wants.
const (
	WantHost    WantKind = "host"    // a name that it asked to be resolved
	WantNetwork WantKind = "network" // an address and port
	WantSocket  WantKind = "socket"  // a unix socket that was there before, or another kind of socket
	WantSignal  WantKind = "signal"  // a process outside
	WantProcess WantKind = "process" // the list of the machine's processes
	WantPath    WantKind = "path"    // a closed path
	WantWrite   WantKind = "write"   // a change outside of its folders
	WantKernel  WantKind = "kernel"  // a call that the sandbox refuses, by its name
)

// Errors of Run, for errors.Is.
var (
	// ErrUnavailable means that this machine cannot contain a command; the text
	// says why and what would help.
	ErrUnavailable = errors.New("commands cannot be contained on this machine")
	// ErrTooLarge means that a full copy would be over its limit.
	ErrTooLarge = errors.New("the folders are too large for a full copy")
)
