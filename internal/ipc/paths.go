package ipc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Names of the environment variables that say where the guard's files are.
const (
	EnvHome       = "MCPGUARD_HOME"   // one folder for everything
	envConfigHome = "XDG_CONFIG_HOME" // else …/mcpguard below this one
	envStateHome  = "XDG_STATE_HOME"  // and this one
)

const folderName = "mcpguard"

// Paths are the two folders of one guard; they may be the same. The runtime
// folder of the XDG specification is not used: it differs between contexts of
// one user and vanishes on logout.
type Paths struct {
	Config string // config.yaml, tools.lock
	State  string // database, sockets, log
}

// DefaultPaths reads the folders from the environment: MCPGUARD_HOME for both,
// else mcpguard below XDG_CONFIG_HOME (~/.config) and XDG_STATE_HOME
// (~/.local/state). It creates nothing.
func DefaultPaths() (Paths, error) { return PathsOf(os.Getenv) }

// PathsOf is DefaultPaths of a process with another environment.
func PathsOf(getenv func(string) string) (Paths, error) {
	if home := getenv(EnvHome); home != "" {
		if !filepath.IsAbs(home) {
			return Paths{}, fmt.Errorf("%s=%q is not an absolute path, so that daemon and clients would look in different folders", EnvHome, home)
		}
		home = filepath.Clean(home)
		return Paths{Config: home, State: home}, nil
	}
	base := func(name, fallback string) (string, error) {
		// The XDG specification: relative paths are invalid and to be ignored.
		if dir := getenv(name); filepath.IsAbs(dir) {
			return filepath.Join(dir, folderName), nil
		}
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return "", fmt.Errorf("neither %s nor %s nor HOME names a folder", EnvHome, name)
		}
		return filepath.Join(home, fallback, folderName), nil
	}
	config, err := base(envConfigHome, ".config")
	if err != nil {
		return Paths{}, err
	}
	state, err := base(envStateHome, filepath.Join(".local", "state"))
	if err != nil {
		return Paths{}, err
	}
	return Paths{Config: config, State: state}, nil
}

// Environ returns the variables with which DefaultPaths of another process
// returns p, for starting a daemon with its own environment.
func (p Paths) Environ() []string {
	if p.Config == p.State {
		return []string{EnvHome + "=" + p.State}
	}
	return []string{
		envConfigHome + "=" + filepath.Dir(p.Config),
		envStateHome + "=" + filepath.Dir(p.State),
	}
}

// ConfigFile is the configuration.
func (p Paths) ConfigFile() string { return filepath.Join(p.Config, "config.yaml") }

// ToolsLock holds the accepted tool definitions.
func (p Paths) ToolsLock() string { return filepath.Join(p.Config, "tools.lock") }

// EditLock is locked while a program changes the configuration.
func (p Paths) EditLock() string { return filepath.Join(p.Config, "edit.lock") }

// EnvironmentFile holds the environment that `add` recorded.
func (p Paths) EnvironmentFile() string { return filepath.Join(p.State, "environment.json") }

// DB is the database. Its lock also ensures a single daemon.
func (p Paths) DB() string { return filepath.Join(p.State, "guard.db") }

// Pin is the last state of the audit log seen by this user's approve. It is
// beside the configuration and not the database, so that restoring an old copy
// of the database does not restore the old pin.
func (p Paths) Pin() string { return filepath.Join(p.Config, "approve.checkpoint") }

// AgentSocket is where shims connect.
func (p Paths) AgentSocket() string { return filepath.Join(p.State, "agent.sock") }

// ApproverSocket is where the control API listens.
func (p Paths) ApproverSocket() string { return filepath.Join(p.State, "approver.sock") }

// Log is the daemon's log file.
func (p Paths) Log() string { return filepath.Join(p.State, "guard.log") }

// SpawnLock is locked while a process starts the daemon.
func (p Paths) SpawnLock() string { return filepath.Join(p.State, "spawn.lock") }

// Prepare creates both folders with mode 0700 and checks existing ones. A
// wider mode of the user's own folder is tightened. It fails closed if a
// folder is a symbolic link, belongs to another user, or is in a folder that
// everyone may write to.
func (p Paths) Prepare() error {
	if p.Config == "" || p.State == "" {
		return errors.New("the guard's folders are not known")
	}
	for _, dir := range []string{p.Config, p.State} {
		if err := prepareFolder(dir); err != nil {
			return fmt.Errorf("preparing the guard's folder: %w", err)
		}
	}
	return nil
}

func prepareFolder(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := checkParent(filepath.Dir(dir)); err != nil {
		return err
	}
	// Use one descriptor for check and change, so that both apply to the same
	// folder.
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		// fail closed: a link could be pointed elsewhere later.
		return fmt.Errorf("%s is not a folder but a link or a file; set %s to the real folder", dir, EnvHome)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if int(st.Uid) != os.Geteuid() {
		// fail closed: its owner could replace everything in it.
		return fmt.Errorf("%s belongs to user %d, not to user %d who runs this", dir, st.Uid, os.Geteuid())
	}
	if st.Mode&0o777 != 0o700 {
		if err := unix.Fchmod(fd, 0o700); err != nil {
			return &os.PathError{Op: "chmod", Path: dir, Err: err}
		}
	}
	return nil
}

// checkParent refuses a parent in which everyone may rename files. Group write
// is accepted: many systems give each user their own group.
func checkParent(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if st.Mode&0o002 != 0 && st.Mode&unix.S_ISVTX == 0 {
		// fail closed: anyone could replace the folder.
		return fmt.Errorf("%s may be written by everyone; remove that permission or set %s to another folder", dir, EnvHome)
	}
	return nil
}
