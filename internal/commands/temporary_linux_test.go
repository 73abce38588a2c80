package commands

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// land carries out what a command kept, as a call that passes does.
func (x *fixture) land(rec *Record) {
	x.Helper()
	if _, err := x.r.Land(context.Background(), rec.ID); err != nil {
		x.Fatal(err)
	}
	x.r.Keep(rec.Call)
}

// TestPromise10_OwnTemporaryFilesPassAndStayApart: what changes only the run's own
// folder for temporary files counts as unchanged, the next command of the run finds
// it, another run does not, and nothing of it is real.
func TestPromise10_OwnTemporaryFilesPassAndStayApart(t *testing.T) {
	x := newFixture(t)
	run := func(id guard.RunID, line string) *Record {
		t.Helper()
		c := x.command(line)
		c.Run = id
		rec, p := x.preview(c)
		if !rec.Unchanged() || len(p.Effects) > 0 || !p.Change.Exec.Run.Unchanged() {
			t.Fatalf("%s: changes %s, wanted %v, stopped %q, special %v\n%s", line, changeList(rec), rec.Wanted, rec.Stopped, rec.Special, rec.Text())
		}
		x.land(rec)
		return rec
	}
	a, b := guard.NewRunID(), guard.NewRunID()
	made := strings.TrimSpace(run(a, `f=$(mktemp) && echo kept > $f && mkdir -p $TMPDIR/d/e && echo one > $TMPDIR/d/e/f && ln -s d $TMPDIR/l && ln $f $TMPDIR/hard && mkfifo $TMPDIR/p && echo $f`).Text())
	if filepath.Dir(made) != temporaryPath || there(made) {
		t.Errorf("made %q", made)
	}
	if got := run(a, "cat "+made+" $TMPDIR/l/e/f $TMPDIR/hard; echo two >> "+made+"; rm $TMPDIR/l; mv $TMPDIR/d $TMPDIR/moved").Text(); got != "kept\none\nkept\n" {
		t.Errorf("the next command found %q", got)
	}
	if got := run(a, "cat "+made+" $TMPDIR/moved/e/f; ls $TMPDIR | wc -l").Text(); got != "kept\ntwo\none\n3\n" {
		t.Errorf("the third command found %q", got)
	}
	if got := run(b, "ls -A $TMPDIR; cat "+made+" 2>&1 || true").Text(); strings.Contains(got, "kept") || !strings.Contains(got, "No such file") {
		t.Errorf("another run found %q", got)
	}
	left, err := os.ReadDir(filepath.Join(x.r.cfg.State, "kept"))
	if err != nil || len(left) > 0 {
		t.Errorf("of commands that passed something is kept: %v, %v", left, err)
	}
	if err := x.r.EndRuns(func(id guard.RunID) bool { return id == b }); err != nil {
		t.Fatal(err)
	}
	left, err = os.ReadDir(filepath.Join(x.r.cfg.State, temporaryFolder))
	if err != nil || len(left) != 1 || left[0].Name() != string(b) {
		t.Errorf("after the end of a run: %v, %v", left, err)
	}
}

// TestOwnTemporaryFilesLandWithTheRest: a command that waits has its temporary
// files only once it has landed, and does not find them when it is run again.
func TestOwnTemporaryFilesLandWithTheRest(t *testing.T) {
	x := newFixture(t)
	x.real("mkdir dir; echo x > dir/f")
	id := guard.NewRunID()
	c := x.command("mkdir $TMPDIR/once && cp -r dir $TMPDIR/once && python3 -c 'import os; os.rename(\"dir\", \"moved\")'") // needs a second run, in a copy
	c.Run = id
	rec, p := x.preview(c)
	if rec.Exit != 0 || !rec.Copied || !rec.Whole() || strings.Contains(p.Change.Text, "temporary") || len(p.Effects) != len(rec.Changes) || strings.Contains(changeList(rec), "once") {
		t.Fatalf("exit %d, %s, retry %v\n%s\n%s", rec.Exit, changeList(rec), rec.Retry, p.Change.Text, rec.Text())
	}
	look := x.command("ls $TMPDIR")
	look.Run = id
	if before, _ := x.preview(look); before.Text() != "" {
		t.Errorf("before it landed, another command found %q", before.Text())
	}
	x.land(rec)
	look.Call = guard.NewCallID()
	if after, _ := x.preview(look); after.Text() != "once\n" {
		t.Errorf("after it landed, another command found %q, %s", after.Text(), changeList(after))
	}
	if !there(filepath.Join(x.ws, "moved/f")) {
		t.Error("the rest did not land")
	}
	back, err := x.r.Reverse(guard.NewCallID(), rec.ID)
	if err != nil || len(back.Own) > 0 || len(back.Changes) == 0 {
		t.Errorf("its way back: %v, %+v", err, back)
	}
}

// TestPromise10_TemporaryFilesHaveALimit: no number of commands that pass can fill
// the disk, and what takes files away passes at any time.
func TestPromise10_TemporaryFilesHaveALimit(t *testing.T) {
	x := newFixture(t)
	id := guard.NewRunID()
	run := func(line string) *Record {
		t.Helper()
		c := x.command(line)
		c.Run, c.Settings.Limits = id, sandbox.Limits{Written: 3 << 20}
		rec, _ := x.preview(c)
		return rec
	}
	first := run("head -c 2M /dev/zero > $TMPDIR/a")
	if !first.Unchanged() {
		t.Fatalf("the first was stopped: %q", first.Stopped)
	}
	x.land(first)
	if second := run("head -c 2M /dev/zero > $TMPDIR/b"); second.Stopped != "written" || second.Unchanged() {
		t.Errorf("the second passes: stopped %q", second.Stopped)
	}
	if less := run("rm $TMPDIR/a; head -c 2M /dev/zero > $TMPDIR/b"); !less.Unchanged() {
		t.Errorf("what frees as much as it takes: stopped %q", less.Stopped)
	}
}

// TestLandingGoesOnWithoutTheFolderOfARunThatIsOver lands what a person approved
// after the client has ended.
func TestLandingGoesOnWithoutTheFolderOfARunThatIsOver(t *testing.T) {
	x := newFixture(t)
	c := x.command("echo x > $TMPDIR/t; echo y > file")
	c.Run = guard.NewRunID()
	rec, _ := x.preview(c)
	if err := x.r.EndRuns(func(guard.RunID) bool { return false }); err != nil {
		t.Fatal(err)
	}
	x.land(rec)
	if text, err := os.ReadFile(filepath.Join(x.ws, "file")); err != nil || string(text) != "y\n" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Lstat(filepath.Join(x.r.cfg.State, temporaryFolder, string(c.Run))); !errors.Is(err, os.ErrNotExist) {
		t.Error("the folder is back")
	}
}

func TestRunsThatAreNoNamesHaveNoTemporaryFolder(t *testing.T) {
	r := &Runner{cfg: Config{State: "/state"}}
	for _, id := range []guard.RunID{"..", ".", "../other", "a/b", "/", ""} {
		if at, err := r.temporaryOf(Command{Run: id}); err == nil {
			t.Errorf("%q leads to %s", id, at)
		}
	}
}
