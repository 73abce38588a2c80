package shim

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// daemonName and clientName are the programs that find each other by standing
// in one folder.
const (
	daemonName = "mcpguardd"
	clientName = "mcpguard"
)

// FindDaemon returns the daemon's program: the one that stands beside this
// program, else the one in PATH.
func FindDaemon() (string, error) {
	if path := beside(daemonName); path != "" {
		return path, nil
	}
	path, err := exec.LookPath(daemonName)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", errors.New("no daemon is running, and mcpguardd was found neither beside this program nor in PATH; install all of the guard's programs into one folder")
	}
	return path, nil
}

// FindClient returns the program for clients to start, which stands beside this
// one; "" where it does not.
func FindClient() string { return beside(clientName) }

// SandboxProgram returns the program that becomes the first process of a
// sandbox: the small one for clients, or the daemon's own where that stands alone;
// "" where this process executes something else.
func SandboxProgram() string {
	if path := FindClient(); path != "" {
		return path
	}
	exe, err := os.Executable()
	if err != nil || filepath.Base(exe) != daemonName {
		return ""
	}
	return exe
}

// beside returns a program that stands in the folder of this one, links
// resolved; "" where it does not.
func beside(name string) string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	path := filepath.Join(filepath.Dir(exe), name)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return ""
	}
	return path
}
