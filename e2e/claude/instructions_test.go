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
	for name, text := range map[string]string{
		"CLAUDE.md":             "The word of this file is seen-in-memory.\n",
		"CLAUDE.local.md":       "The word of this file is seen-in-memory.\n",
		".claude/CLAUDE.md":     "The word of this file is seen-in-memory.\n",
		".claude/settings.json": `{"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "echo seen-in-memory; touch started"}]}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			file := filepath.Join(w.project, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			a := serve(t, call("Read", map[string]any{"file_path": filepath.Join(w.project, "README.md")}))
			w.finish(w.start(a))
			_, err := os.Stat(filepath.Join(w.project, "started"))
			if !strings.Contains(a.said(), "seen-in-memory") && err != nil {
				t.Errorf("the model was told nothing of it:\n%.2000s", a.said())
			}
		})
	}
}
