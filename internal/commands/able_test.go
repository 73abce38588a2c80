package commands

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// TestLacksAreNamedWithTheirRemedy maps what forbids a sandbox to what a person
// can do about it.
func TestLacksAreNamedWithTheirRemedy(t *testing.T) {
	failed := fmt.Errorf("%w: making mounts private: permission denied", sandbox.ErrUnavailable)
	linux := func(change func(*machine), files map[string]string) machine {
		m := machine{system: "linux", release: "6.8.0-31-generic", programs: "/home/me/bin", landlock: 7, read: func(p string) string { return files[p] }}
		m.there = func(p string) bool { _, ok := files[p]; return ok }
		if change != nil {
			change(&m)
		}
		return m
	}
	for name, c := range map[string]struct {
		m    machine
		err  error
		want []string // in order: of each lack what and remedy
	}{
		"nothing": {linux(nil, map[string]string{maxNamespaces: "63000", appArmorRule: "1", "/.dockerenv": ""}), nil, nil},
		"switched off": {linux(nil, map[string]string{maxNamespaces: "0"}), failed, []string{
			"user.max_user_namespaces is 0", "echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/60-mcpguard.conf && sudo sysctl --system"}},
		"closed to users": {linux(nil, map[string]string{userNamespace: "0"}), failed, []string{
			"kernel.unprivileged_userns_clone is 0", "kernel.unprivileged_userns_clone=1"}},
		"closed to users, who is root": {linux(func(m *machine) { m.root = true }, map[string]string{userNamespace: "0"}), failed, []string{"making mounts private: permission denied", ""}},
		"AppArmor": {linux(nil, map[string]string{appArmorRule: "1"}), failed, []string{
			"kernel.apparmor_restrict_unprivileged_userns is 1 (as in Ubuntu 24.04)", "apparmor_parser -r /etc/apparmor.d/mcpguard`, then `mcpguardd stop`:\nabi <abi/4.0>,\n"}},
		"AppArmor, where the programs are": {linux(nil, map[string]string{appArmorRule: "1"}), failed, []string{"AppArmor", `profile mcpguard "/home/me/bin/{mcpguard,mcpguardd}" flags=(unconfined) {` + "\n  userns,\n"}},
		"an old kernel":                    {linux(func(m *machine) { m.release = "5.10.0-28-amd64" }, nil), failed, []string{"the kernel is 5.10.0-28-amd64; overlays without root need Linux 5.11", "update the kernel"}},
		"a container": {linux(nil, map[string]string{"/run/.containerenv": ""}), failed, []string{
			"this is a container that may make no sandboxes: making mounts private: permission denied", "--security-opt systempaths=unconfined"}},
		"something else": {linux(nil, nil), errors.New("the disk is full"), []string{"the disk is full", ""}},
		"two at once":    {linux(nil, map[string]string{maxNamespaces: "0", appArmorRule: "1"}), failed, []string{"max_user_namespaces", "", "AppArmor", ""}},
		"another system": {machine{system: "darwin"}, sandbox.ErrUnavailable, []string{"only Linux has what a sandbox is made of", "Linux machine"}},
		"fuse is closed": {linux(func(m *machine) { m.fuse = errors.New("permission denied") }, nil), nil, []string{
			"/dev/fuse is not open to you (permission denied): commands run in a sandbox all the same, but slower", "sudo chmod 0666 /dev/fuse"}},
		"no Landlock":                {linux(func(m *machine) { m.landlock = 0 }, nil), nil, []string{"the kernel offers no Landlock that can be used (Linux 5.19", ""}},
		"state on an overlay":        {linux(func(m *machine) { m.overlay = true }, nil), nil, []string{"the state folder lies on an overlay file system", "set MCPGUARD_HOME"}},
		"state on an overlay, fails": {linux(func(m *machine) { m.overlay = true }, nil), failed, []string{"the state folder lies on an overlay", "", "making mounts private", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.m.lacks(c.err)
			if len(got) != len(c.want)/2 {
				t.Fatalf("%d lacks: %+v", len(got), got)
			}
			for i, l := range got {
				if !strings.Contains(l.What, c.want[2*i]) || !strings.Contains(l.Remedy, c.want[2*i+1]) {
					t.Errorf("got %q\n%s\nwant %q\n%s", l.What, l.Remedy, c.want[2*i], c.want[2*i+1])
				}
			}
		})
	}
}

func TestOlderKernels(t *testing.T) {
	for release, want := range map[string]bool{"5.10.0-28-amd64": true, "4.19": true, "5.11": false, "5.11.0": false, "5.9-rc1": true, "6.18.44-x": false, "": false, "x.y": false} {
		if older(release, 5, 11) != want {
			t.Errorf("%q: %v", release, !want)
		}
	}
}
