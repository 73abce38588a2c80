package change

import (
	"strings"
	"testing"
)

// TestOutputIsFoldedAndFound reads what a command changes: what it printed is not
// shown and not counted, but found; files that are nowhere stay unread.
func TestOutputIsFoldedAndFound(t *testing.T) {
	v := New(contained(), Options{})
	v.SetSize(120, 200)
	shown := func() string { return strings.Join(v.Render(), "\n") }
	if got := shown(); strings.Contains(got, "generating") || !strings.Contains(got, "3 lines that it printed, folded") {
		t.Fatalf("the output is not folded:\n%s", got)
	}
	if _, _, percent, last := v.Seen(); percent >= 100 || !last {
		t.Errorf("the files of a folded folder count as read: %d %%", percent)
	}
	if n := v.Search("generating"); n != 1 {
		t.Fatalf("%d matches", n)
	}
	v.NextMatch()
	if got := shown(); !strings.Contains(got, "generating") {
		t.Errorf("what was found is not shown:\n%s", got)
	}
	whole := contained()
	whole.Diff.Exec.Run.Folded = nil
	v = New(whole, Options{})
	v.SetSize(120, 200)
	v.Render()
	if _, _, percent, last := v.Seen(); percent != 100 || !last {
		t.Errorf("read without its output, %d %% counts as seen", percent)
	}
	for raw, o := range map[string]Options{"raw": {Raw: true}, "document": {Document: true}} {
		v := New(contained(), o)
		v.SetSize(120, 200)
		v.Render()
		if _, _, percent, _ := v.Seen(); percent >= 100 {
			t.Errorf("%s: the files of a folded folder count as read", raw)
		}
	}
}

// TestEachFileOfACommandIsAHunk goes from one changed path to the next.
func TestEachFileOfACommandIsAHunk(t *testing.T) {
	v := New(contained(), Options{})
	v.SetSize(120, 1)
	var tops []string
	for range 20 {
		top := strings.TrimSpace(v.Render()[0])
		if n := len(tops); n > 0 && tops[n-1] == top {
			break
		}
		tops = append(tops, top)
		v.NextHunk()
	}
	got := strings.Join(tops, "\n")
	for _, want := range []string{"command\n", "run once in a sandbox", "new folder dist", "git file .git/refs/heads/main", "@@ -", "what the run printed, 3 lines"} {
		if !strings.Contains(got+"\n", want) {
			t.Errorf("%q begins no hunk:\n%s", want, got)
		}
	}
}

// TestRenamesAreReadInFull reads a folder that moved: every path that goes must be
// painted, and none is folded.
func TestRenamesAreReadInFull(t *testing.T) {
	v := New(renaming(), Options{})
	v.SetSize(120, 200)
	shown := strings.Join(v.Render(), "\n")
	for _, want := range []string{"renamed src/1 → lib/1", "renamed src/4 → lib/4", "rename from a.go", "rename from x.txt", "rename to y.txt", "deleted folder src"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
	if seen, hunks, percent, last := v.Seen(); percent != 100 || seen != hunks || !last {
		t.Errorf("%d of %d hunks, %d %%, last %v", seen, hunks, percent, last)
	}
	for height := 1; ; height++ {
		v := New(renaming(), Options{})
		v.SetSize(120, height)
		if strings.Contains(strings.Join(v.Render(), "\n"), "renamed src/4") {
			break
		}
		if _, _, percent, last := v.Seen(); percent >= 100 || last {
			t.Fatalf("in %d rows, without its last lines, %d %% of it is read", height, percent)
		}
	}
}
