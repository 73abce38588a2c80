package commands

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestIndexSumGoesByEntries: to refresh an index changes its bytes and not what
// it says; to stage something does.
func TestIndexSumGoesByEntries(t *testing.T) {
	for _, version := range []string{"2", "3", "4"} {
		dir := t.TempDir()
		sum := func(line string) string {
			t.Helper()
			cmd := exec.Command("bash", "-ec", line)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			data, err := os.ReadFile(filepath.Join(dir, ".git/index"))
			if err != nil {
				t.Fatal(err)
			}
			s, err := indexSum(data)
			if err != nil {
				t.Fatalf("version %s: %v", version, err)
			}
			return s
		}
		first := sum("git init -q; mkdir d; echo a > a; echo b > d/b; echo c > d/bc; git add .; git update-index --index-version " + version)
		if again := sum("touch -d 2020-01-01 a; git update-index --refresh"); again != first {
			t.Errorf("version %s: a refresh changes the sum", version)
		}
		for _, line := range []string{"echo x > a; git add a", "git update-index --chmod=+x d/b", "git rm -q --cached d/bc", "git update-index --assume-unchanged a", "echo n > n; git add -N n"} {
			next := sum(line)
			if next == first {
				t.Errorf("version %s: %s does not change the sum", version, line)
			}
			first = next
		}
	}
}

func FuzzIndexSum(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00aaaaaaaaaaaaaaaaaaaa"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err1 := indexSum(data)
		b, err2 := indexSum(data)
		if a != b || (err1 == nil) != (err2 == nil) {
			t.Error("not the same twice")
		}
	})
}
