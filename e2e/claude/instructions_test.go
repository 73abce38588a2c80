package claude

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstructionsAreRead: the client hands the project's files of instructions to
// the model and starts what its settings name, without anybody asking it to. So
// a change of them counts as one of what runs by itself.
func TestInstructionsAreRead(t *testing.T) {
	w := newWorld(t, "")
	files := map[string]string{ // and the word by which what it says is known
		"CLAUDE.md":             "seen-of-the-project",
		"CLAUDE.local.md":       "seen-of-this-machine",
		".claude/CLAUDE.md":     "seen-in-the-folder",
		".claude/settings.json": "seen-of-a-hook",
	}
	for name, word := range files {
		file, text := filepath.Join(w.project, name), "The word of this file is "+word+".\n"
		if strings.HasSuffix(name, ".json") {
			text = `{"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "echo ` + word + `; touch started"}]}]}}`
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := serve(t, call("Read", map[string]any{"file_path": filepath.Join(w.project, "README.md")}))
	w.finish(w.start(a))
	for name, word := range files {
		if !strings.Contains(a.said(), word) {
			t.Errorf("the model was told nothing of %s:\n%.2000s", name, a.said())
		}
	}
	if _, err := os.Stat(filepath.Join(w.project, "started")); err != nil {
		t.Errorf("the hook did not run: %v", err)
	}
}
