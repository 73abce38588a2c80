package commands

import (
	"slices"
	"strings"
	"testing"
)

// TestProbeReadsWhatMayHaveChanged: in a large repository the index and the
// commits are read only where a command may have changed them, and then they are.
func TestProbeReadsWhatMayHaveChanged(t *testing.T) {
	x := newFixture(t)
	// More entries than fit into a megabyte.
	x.real("git init -q -b main; printf 'out/\\n' > .gitignore; touch file; git add .; git commit -qm first; b=$(git rev-parse HEAD:file); for i in $(seq 16000); do printf '100644 %s\\t%s\\n' $b some/folder/with/a/long/name/of-the-file-$i; done | git update-index --index-info")
	rec, _ := x.preview(x.command("mkdir out; touch out/a new"))
	if rec.Git == nil || rec.Git.Unread || !slices.Equal(rec.Git.Ignored, []string{"out/"}) || len(rec.Git.Refs)+len(rec.Git.Index)+len(rec.Git.Commits) > 0 {
		t.Errorf("new files: %+v", rec.Git)
	}
	for line, want := range map[string]string{
		"git update-index --force-remove file":                                            "index: removes file",
		"git update-index --force-remove file; touch -d 2000-01-01 .git/index":            "index: removes file",
		"git update-index --force-remove file; touch -d 2099-01-01 /run /run/x":           "index: removes file",
		"git commit -qm second; touch -d 2000-01-01 .git/refs/heads/main .git/HEAD":       ": second (16000 files",
		"git branch other; touch -d 2099-01-01 /run":                                      "other is new",
		"git branch other; git pack-refs --all; find .git -exec touch -d 2000-01-01 {} +": "other is new",
	} {
		rec, p := x.preview(x.command(line))
		if text := strings.Join(p.Change.Exec.Run.Git, "\n"); rec.Git.Unread || !strings.Contains(text, want) {
			t.Errorf("%s: no %q in\n%.500s", line, want, text)
		}
		if strings.Contains(line, "branch") && len(rec.Git.Commits) > 0 {
			t.Errorf("%s: old commits are shown as new: %+v", line, rec.Git.Commits)
		}
	}
	// A folder of git is exchanged by its link alone: all of it is read.
	x.real("cp -a .git b; git --git-dir=b update-index --force-remove file; mv .git a; ln -s a .git")
	rec, p := x.preview(x.command("ln -sfn b .git"))
	if text := strings.Join(p.Change.Exec.Run.Git, "\n"); !strings.Contains(text, "index: removes file") && !rec.Git.Unread {
		t.Errorf("another folder of git: %s", text)
	}
}
