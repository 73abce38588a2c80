package commands

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/expr"
)

// TestSecretsAreFoundAfterEachChange: what is remembered of folders never hides a
// key that was made, moved or linked since.
func TestSecretsAreFoundAfterEachChange(t *testing.T) {
	x := newFixture(t)
	x.real("mkdir -p a/b c node_modules/m .git/objects; touch a/.env a/b/f c/f .env node_modules/m/.env .git/objects/.env")
	looked := 0
	secret := func(p string) bool { looked++; return strings.HasSuffix(p, ".env") || strings.HasSuffix(p, ".env/") }
	// Long after each change, so that all of it is remembered.
	known := secretFinder{now: func() time.Time { return time.Now().Add(time.Hour) }}
	find := func(f *secretFinder) []string {
		t.Helper()
		got, err := f.below(x.ws, secret)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], x.ws+"/")
		}
		slices.Sort(got)
		return got
	}
	if got, want := find(&known), []string{".env", ".git/objects/.env", "a/.env", "node_modules/m/.env"}; !slices.Equal(got, want) {
		t.Fatalf("found %q, want %q", got, want)
	}
	for _, line := range []string{
		"touch c/.env", "rm a/.env", "mkdir -p a/b/c/d && touch a/b/c/d/x.env", "mv c a/b/moved", "mv a/b/c/d/x.env a/b/c/d/x",
		"ln -s a/b/f l.env", "ln -sfn a/b/moved/f l.env", "mv a/b/moved c.env", "mv c.env c", "rm -r a && mkdir a && touch a/y.env", "rm -r a && touch a", "mkdir -p c/deep && touch c/deep/.env && mv c/f c/deep/f.env",
	} {
		x.real(line)
		if got, want := find(&known), find(&secretFinder{}); !slices.Equal(got, want) {
			t.Errorf("after %s: found %q, want %q", line, got, want)
		}
	}
	if !isLocal(x.ws) {
		t.Skip("nothing is remembered of folders on this file system")
	}
	looked = 0
	if find(&known); looked != 0 {
		t.Errorf("%d names were looked at although no folder had changed", looked)
	}
	// A folder that changed a moment ago may change again within the same tick.
	young := secretFinder{}
	x.real("touch c/last")
	find(&young)
	looked = 0
	if find(&young); looked == 0 {
		t.Error("a folder that had just changed was remembered")
	}
}

// TestWorkspacesAreForgotten: memory does not grow with each workspace that was used.
func TestWorkspacesAreForgotten(t *testing.T) {
	dir := t.TempDir()
	var f secretFinder
	for i := range maxKnown + 3 {
		ws := filepath.Join(dir, strings.Repeat("w", i+1))
		if err := os.Mkdir(ws, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := f.below(ws, func(string) bool { return false }); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.known) != maxKnown {
		t.Errorf("%d workspaces are remembered, want %d", len(f.known), maxKnown)
	}
}

// TestPromise10_KeysInTemporaryFoldersAreClosed: a command sees the folders for
// temporary files, of whatever project those are.
func TestPromise10_KeysInTemporaryFoldersAreClosed(t *testing.T) {
	x := newFixture(t)
	x.r.cfg.Secret = expr.SecretPath
	tmp := filepath.Join(filepath.Dir(x.ws), "tmp")
	x.real("mkdir -p ../tmp/other; echo S3CRET > ../tmp/other/.env; echo fine > ../tmp/other/text")
	c := x.command("cat " + tmp + "/*/.e* " + tmp + "/*/text; true")
	c.Settings.Temporary = []string{tmp}
	rec, _ := x.preview(c)
	if out := rec.Text(); strings.Contains(out, "S3CRET") || !strings.Contains(out, "fine") || rec.Unchanged() {
		t.Errorf("%q, wanted %v", out, rec.Wanted)
	}
}

// TestKeysInClosedFoldersAreNotWanted: the guard's own state may lie in a folder
// that a command sees, with keys in it.
func TestKeysInClosedFoldersAreNotWanted(t *testing.T) {
	x := newFixture(t)
	x.real("mkdir -p ../tmp/home home; echo S3CRET > ../tmp/home/a.key; echo S3CRET > home/b.key")
	tmp := filepath.Join(filepath.Dir(x.ws), "tmp")
	x.r.cfg.Secret, x.r.cfg.Hidden = expr.SecretPath, []string{filepath.Join(tmp, "home"), filepath.Join(x.ws, "home")}
	c := x.command("true")
	c.Settings.Temporary = []string{tmp}
	if rec, _ := x.preview(c); !rec.Unchanged() {
		t.Errorf("wanted %v", rec.Wanted)
	}
	c = x.command("cat home/b.key ../tmp/home/a.key; true")
	c.Settings.Temporary = []string{tmp}
	if rec, _ := x.preview(c); strings.Contains(rec.Text(), "S3CRET") || rec.Unchanged() {
		t.Errorf("%q, wanted %v", rec.Text(), rec.Wanted)
	}
}

// TestFoldersThatCannotBeLookedIntoAreClosed: a folder without rights may hold keys,
// and its owner can give the rights to himself.
func TestFoldersThatCannotBeLookedIntoAreClosed(t *testing.T) {
	x := newFixture(t)
	x.real("mkdir -p a/in b; touch a/in/.env b/.env; chmod 0 a/in; chmod 444 b; chmod 755 .. ../..")
	t.Cleanup(func() { x.real("chmod 755 a/in b") })
	var got []string
	var err error
	done := make(chan struct{})
	go func() { // on a thread that goes with it: as another user, where this one is root
		defer close(done)
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			_ = unix.Setfsuid(65534)
		}
		var f secretFinder
		got, err = f.below(x.ws, expr.SecretPath)
	}()
	<-done
	if want := []string{filepath.Join(x.ws, "a/in"), filepath.Join(x.ws, "b/.env")}; err != nil || !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
