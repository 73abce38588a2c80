package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// TestKeptShimsAreKnownToTheNextDaemon, once, and not after a start of the machine.
func TestKeptShimsAreKnownToTheNextDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shims.json")
	one, other := ipc.ClientRef{PID: 7, StartTime: 70}, ipc.ClientRef{PID: 7, StartTime: 71}
	var first, second, third, later keptShims
	first.add(one)
	if first.had(one) {
		t.Error("known before it was kept")
	}
	if err := first.save(path, "boot"); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if err := second.load(path, "boot"); err != nil || !second.had(one) || second.had(other) {
		t.Errorf("%v, %v, %v", err, second.had(one), second.had(other))
	}
	if err := third.load(path, "boot"); err != nil || third.had(one) {
		t.Errorf("a second time: %v, %v", err, third.had(one))
	}
	if err := third.save(path, "boot"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of nothing: %v", err)
	}
	for text, want := range map[string]string{
		`{"boot":"other","shims":[{"PID":7,"StartTime":70}]}`:             "before the machine started",
		`{"boot":"boot","shims":[{"PID":7,"StartTime":70,"PID":8}]}`:      "twice",
		`{"boot":"boot","Shims":[{"PID":7,"StartTime":70}],"shims":null}`: "Shims",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := later.load(path, "boot"); err == nil || !strings.Contains(err.Error(), want) || later.had(one) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
