package ipc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPathsFromEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		env           map[string]string
		config, state string
		wrong         string
	}{
		"home":           {env: map[string]string{"HOME": "/h"}, config: "/h/.config/mcpguard", state: "/h/.local/state/mcpguard"},
		"xdg":            {env: map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, config: "/c/mcpguard", state: "/s/mcpguard"},
		"xdg alone":      {env: map[string]string{"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, config: "/c/mcpguard", state: "/s/mcpguard"},
		"relative xdg":   {env: map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": "/s"}, config: "/h/.config/mcpguard", state: "/s/mcpguard"},
		"one folder":     {env: map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "/c", "MCPGUARD_HOME": "/g/x/.."}, config: "/g", state: "/g"},
		"relative":       {env: map[string]string{"HOME": "/h", "MCPGUARD_HOME": "g"}, wrong: "not an absolute path"},
		"nothing":        {env: nil, wrong: "HOME"},
		"relative home":  {env: map[string]string{"HOME": "."}, wrong: "HOME"},
		"half of it all": {env: map[string]string{"XDG_CONFIG_HOME": "/c"}, wrong: "XDG_STATE_HOME"},
	} {
		p, err := PathsOf(func(k string) string { return c.env[k] })
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: %v, %v; want an error with %q", name, p, err, c.wrong)
			}
			continue
		}
		if err != nil || p.Config != c.config || p.State != c.state {
			t.Errorf("%s: %+v, %v", name, p, err)
			continue
		}
		// Another process finds the same folders.
		again, err := PathsOf(func(k string) string {
			for _, kv := range p.Environ() {
				if v, ok := strings.CutPrefix(kv, k+"="); ok {
					return v
				}
			}
			return ""
		})
		if err != nil || again != p {
			t.Errorf("%s: %+v became %+v, %v", name, p, again, err)
		}
	}
}

func TestPrepareMakesPrivateFolders(t *testing.T) {
	dir := t.TempDir()
	p := Paths{Config: filepath.Join(dir, "a", "config"), State: filepath.Join(dir, "b", "c", "state")}
	if err := os.MkdirAll(p.Config, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Prepare(); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{p.Config, p.State} {
			info, err := os.Stat(d)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v", d, info.Mode(), err)
			}
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	link, file, open := filepath.Join(dir, "link"), filepath.Join(dir, "file"), filepath.Join(dir, "open")
	if err := os.Mkdir(good, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ folder, want string }{
		"a link":          {link, "link or a file"},
		"a file":          {file, "link or a file"},
		"an open parent":  {filepath.Join(open, "x"), "written by everyone"},
		"nothing":         {"", "not known"},
		"a file above it": {filepath.Join(file, "x"), "not a directory"},
	} {
		err := Paths{Config: good, State: c.folder}.Prepare()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
	if os.Geteuid() == 0 { // only root can give a folder away
		other := filepath.Join(dir, "other")
		if err := os.Mkdir(other, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(other, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if err := (Paths{Config: good, State: other}).Prepare(); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
			t.Errorf("another user's folder: %v", err)
		}
	}
}
