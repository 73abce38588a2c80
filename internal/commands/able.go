package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/configs"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// Lack is something that a machine lacks for commands in a sandbox.
type Lack struct {
	What   string // a sentence
	Remedy string // what to do, of several lines where need be; may be empty
}

// Ability is what a machine can do for commands.
type Ability struct {
	// Err is of the sandbox; nil where commands run in one.
	Err   error
	Lacks []Lack // why not; or, without Err, what makes it worse than it could be
}

// machine is what is read of a machine; tests have others.
type machine struct {
	system, release string
	root            bool
	programs        string // the folder of the guard's programs
	read            func(path string) string
	there           func(path string) bool
	overlay         bool // the state folder lies on one
	fuse            error
	landlock        int // see sandbox.LandlockABI
}

// Able runs a command that does nothing in a sandbox, as the daemon would, and
// says what this machine lacks. program becomes the first process of the sandbox;
// state is the folder of the daemon's state.
func Able(ctx context.Context, program, state string) Ability {
	m := machine{system: runtime.GOOS, release: kernelRelease(), root: os.Geteuid() == 0, programs: filepath.Dir(program), there: there, overlay: onOverlay(state), fuse: openFUSE(), landlock: sandbox.LandlockABI()}
	m.read = func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			return "" // what cannot be read is not the reason
		}
		return strings.TrimSpace(string(b))
	}
	if program == "" {
		return Ability{Err: errors.New("there is no program for the first process"), Lacks: []Lack{{
			"the program mcpguard is not found, which becomes the first process of a sandbox", "install all of the guard's programs into one folder"}}}
	}
	err := tryTrue(ctx, program, state)
	return Ability{err, m.lacks(err)}
}

// tryTime bounds the command that does nothing.
const tryTime = 20 * time.Second

// tryTrue runs `true` in a sandbox.
func tryTrue(ctx context.Context, program, state string) error {
	if !there(state) {
		state = "" // the first start makes it
	}
	dir, err := os.MkdirTemp(state, "able-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	s := sandbox.Spec{
		Program: program, Argv: []string{"true"}, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, Dir: filepath.Join(dir, "tree"),
		Trees: []string{filepath.Join(dir, "tree")}, State: filepath.Join(dir, "runs"), Limits: sandbox.Limits{Time: tryTime},
	}
	for _, d := range []string{s.Dir, s.State} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return fmt.Errorf("making a folder: %w", err)
		}
	}
	for _, p := range systemFolders {
		if there(p) {
			s.Visible = append(s.Visible, p)
		}
	}
	run, err := sandbox.Exec(ctx, s)
	if err != nil {
		return err
	}
	defer run.Close()
	if run.Exit != 0 || run.Signal != 0 || !run.Unchanged() {
		return fmt.Errorf("`true` does not do nothing there: exit code %d, signal %d, stopped %q, wanted %v, changed %d", run.Exit, run.Signal, run.Stopped, run.Wanted, len(run.Changes))
	}
	return nil
}

// The settings of the kernel that forbid what a sandbox is made of.
const (
	maxNamespaces = "/proc/sys/user/max_user_namespaces"
	userNamespace = "/proc/sys/kernel/unprivileged_userns_clone"
	appArmorRule  = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
)

// lacks says what stands in the way of a run that failed with err, or beside one
// that did not.
func (m machine) lacks(err error) []Lack {
	var out []Lack
	add := func(what, remedy string) { out = append(out, Lack{what, remedy}) }
	if m.system != "linux" {
		add("commands are shown by their text alone: only Linux has what a sandbox is made of", "to have them previewed, work in a Linux machine, virtual or not")
		return out
	}
	if m.overlay {
		add("the state folder lies on an overlay file system, as in most containers; what commands change must then fit into half of the memory that is free, and that takes Linux 6.6",
			"put it on a volume: set "+ipc.EnvHome+" to a folder there")
	}
	if err == nil {
		if m.fuse != nil {
			add(fmt.Sprintf("/dev/fuse is not open to you (%v): commands run in a sandbox all the same, but slower", m.fuse),
				"sudo chmod 0666 /dev/fuse; and so that it stays: echo 'KERNEL==\"fuse\", MODE=\"0666\"' | sudo tee /etc/udev/rules.d/60-fuse.rules")
		}
		if m.landlock == 0 {
			add("the kernel offers no Landlock that can be used (Linux 5.19 or newer, named in its lsm= setting): what commands may reach is limited by namespaces, mounts and seccomp alone", "")
		}
		return out
	}
	if older(m.release, 5, 11) {
		add("the kernel is "+m.release+"; overlays without root need Linux 5.11 or newer", "update the kernel")
	}
	if m.read(maxNamespaces) == "0" {
		add("user namespaces are switched off: user.max_user_namespaces is 0",
			"echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/60-mcpguard.conf && sudo sysctl --system")
	}
	if m.read(userNamespace) == "0" && !m.root {
		add("user namespaces are closed to ordinary users: kernel.unprivileged_userns_clone is 0",
			"echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/60-mcpguard.conf && sudo sysctl --system")
	}
	if m.read(appArmorRule) == "1" && !m.root {
		add("AppArmor takes programs without a profile the rights in a user namespace: kernel.apparmor_restrict_unprivileged_userns is 1 (as in Ubuntu 24.04)",
			"write this to /etc/apparmor.d/mcpguard, run `sudo apparmor_parser -r /etc/apparmor.d/mcpguard`, then `mcpguardd stop`:\n"+m.profile())
	}
	if len(out) == 0 || len(out) == 1 && m.overlay {
		if m.there("/.dockerenv") || m.there("/run/.containerenv") || m.there("/run/systemd/container") {
			add("this is a container that may make no sandboxes: "+cause(err),
				"run the daemon outside of it; or start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined (podman: --security-opt unmask=ALL)")
		} else {
			add(cause(err), "")
		}
	}
	return out
}

// profile is the AppArmor profile for the folder of the programs.
func (m machine) profile() string {
	var out strings.Builder
	for line := range strings.Lines(string(configs.AppArmor())) {
		if !strings.HasPrefix(line, "#") && (out.Len() > 0 || strings.TrimSpace(line) != "") {
			out.WriteString(strings.Replace(line, "/usr/local/bin/", m.programs+"/", 1))
		}
	}
	return out.String()
}

// cause is an error of the sandbox without what it has in common with others.
func cause(err error) string {
	return strings.TrimPrefix(err.Error(), sandbox.ErrUnavailable.Error()+": ")
}

// older reports whether a kernel's release is before a version; one that cannot be
// read is not.
func older(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	second := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	a, err := strconv.Atoi(first)
	b, err2 := strconv.Atoi(cmp.Or(second, "0"))
	return err == nil && err2 == nil && (a < major || a == major && b < minor)
}
