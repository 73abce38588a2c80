package shim

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// daemonName and clientName are programs that find each other because they are
// in the same folder.
const (
	daemonName = "mcpguardd"
	clientName = "mcpguard"
)

// FindDaemon returns the daemon's program: the one in the folder of this
// program, or else the one in PATH.
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

// FindClient returns the program that clients start, from the folder of this
// one; "" if it is not there.
func FindClient() string { return beside(clientName) }

// SandboxProgram returns the program that becomes the first process of a
// sandbox: the small client program, or the daemon's own if only that exists;
// "" if this process executes another program.
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

// beside returns a program in the folder of this one, with links resolved; ""
// if it is not there.
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
