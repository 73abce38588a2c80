package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// maxLooked bounds the entries of a workspace that are looked at for secrets, those
// of installed packages among them.
const maxLooked = 1_000_000

// maxKnown bounds the folders of which is remembered what was found: workspaces, and
// those for temporary files.
const maxKnown = 10

// settled is how long a folder must not have changed before what was read of it is
// remembered: a change within the same tick of the file system's clock would not
// show in its time.
const settled = 2 * time.Second

// secretFinder finds the paths below workspaces that hold keys or credentials.
// What it read of a folder counts until the folder's inode says that an entry was
// made, removed or renamed there: to look at all names of a large workspace takes
// longer than most commands. The zero secretFinder is ready; it is safe for
// concurrent use.
type secretFinder struct {
	now func() time.Time // nil for time.Now

	mu    sync.Mutex
	known map[string]*knownTree // by workspace
}

type knownTree struct {
	mu   sync.Mutex
	used time.Time
	top  knownFolder
}

// knownFolder is what was read of a folder. Its zero value knows nothing.
type knownFolder struct {
	dev, ino uint64
	changed  unix.Timespec // the status change time; zero where it is to be read again
	entries  int
	secrets  []knownSecret
	folders  map[string]*knownFolder // those that are looked into
}

type knownSecret struct {
	name string
	link bool
}

// below lists the paths below a folder that hold keys or credentials, and what
// links of such a name lead to. The folder has no links in its path.
func (s *secretFinder) below(root string, secret func(string) bool) ([]string, error) {
	tree := s.tree(root)
	tree.mu.Lock()
	defer tree.mu.Unlock()
	look := secretSearch{root: root, secret: secret, now: s.time(), left: maxLooked, tells: map[uint64]bool{}}
	if err := look.folder(root, &tree.top); err != nil {
		return nil, err
	}
	return look.found, nil
}

// tree returns what is known of a workspace, and forgets the one that was not used
// for longest.
func (s *secretFinder) tree(root string) *knownTree {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]*knownTree{}
	}
	t := s.known[root]
	if t == nil {
		if len(s.known) >= maxKnown {
			oldest := ""
			for name, other := range s.known {
				if oldest == "" || other.used.Before(s.known[oldest].used) {
					oldest = name
				}
			}
			delete(s.known, oldest)
		}
		t = &knownTree{}
		s.known[root] = t
	}
	t.used = s.time()
	return t
}

func (s *secretFinder) time() time.Time {
	if s.now != nil {
		return s.now()
	}
	return time.Now()
}

// secretSearch is one look at a workspace.
type secretSearch struct {
	root   string
	secret func(string) bool
	now    time.Time // at its start
	left   int
	found  []string
	tells  map[uint64]bool // by device: whether its folders tell when they changed
}

// folder adds what is below a folder, reading it where k is not how it is now. One
// that this user cannot look into is added itself: a command could open it to itself,
// read a key in it, and close it again.
func (s *secretSearch) folder(path string, k *knownFolder) error {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		*k = knownFolder{}
		return nil
	}
	if err == nil && (k.changed == (unix.Timespec{}) || k.changed != st.Ctim || k.ino != st.Ino || k.dev != uint64(st.Dev)) {
		err = s.read(path, k)
	}
	if err != nil {
		*k = knownFolder{}
		switch {
		case !errors.Is(err, fs.ErrPermission) || st.Mode != 0 && int(st.Uid) != os.Geteuid(): // another's stays shut for a command, too
		case path == s.root:
			return fmt.Errorf("%w: %s cannot be looked at for keys", sandbox.ErrUnavailable, s.root)
		default:
			s.found = append(s.found, path)
		}
		return nil // it is gone, or holds nothing that can be read
	}
	if s.left -= k.entries; s.left < 0 {
		// fail closed: what was not looked at may be a key
		return fmt.Errorf("%w: %s has more than %d files, too many to be looked at for keys", sandbox.ErrUnavailable, s.root, maxLooked)
	}
	for _, e := range k.secrets {
		at := filepath.Join(path, e.name)
		s.found = append(s.found, at)
		if target, err := filepath.EvalSymlinks(at); e.link && err == nil && target != s.root {
			s.found = append(s.found, target)
		}
	}
	for name, kid := range k.folders {
		if err := s.folder(filepath.Join(path, name), kid); err != nil {
			return err
		}
	}
	return nil
}

// read puts into k what is in a folder now; what is known of folders in it stays.
func (s *secretSearch) read(path string, k *knownFolder) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil { // before it is read: a change meanwhile has another time
		return err
	}
	entries, err := f.ReadDir(-1)
	if err != nil {
		return err
	}
	old := k.folders
	*k = knownFolder{dev: uint64(st.Dev), ino: st.Ino, entries: len(entries)}
	if s.tellsChanges(path, k.dev) && s.now.Sub(time.Unix(st.Ctim.Unix())) > settled {
		k.changed = st.Ctim
	}
	for _, e := range entries {
		at := filepath.Join(path, e.Name())
		isSecret := s.secret(at)
		if isSecret {
			k.secrets = append(k.secrets, knownSecret{e.Name(), e.Type()&fs.ModeSymlink != 0})
		}
		if isSecret || !e.IsDir() {
			continue
		}
		if k.folders == nil {
			k.folders = map[string]*knownFolder{}
		}
		kid := old[e.Name()]
		if kid == nil {
			kid = &knownFolder{}
		}
		k.folders[e.Name()] = kid
	}
	return nil
}

// tellsChanges reports whether folders of a device change their time with each
// change of their entries, as those of local file systems do.
func (s *secretSearch) tellsChanges(path string, dev uint64) bool {
	tells, ok := s.tells[dev]
	if !ok {
		tells = isLocal(path)
		s.tells[dev] = tells
	}
	return tells
}
