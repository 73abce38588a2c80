package effect

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStaysWithin(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"sub/deep", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"README.md", "sub/x"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"out": "/etc/passwd", "home": "/", "sub/far": "/etc"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string]bool{
		"cat README.md": true, "git log --oneline | head -3": true, "sed -n '/foo/p' README.md": true, "grep -rn 'a.*b/c' sub": true,
		"ls sub/deep 2>/dev/null": true, "cd sub && cat x": true, "cat " + root + "/README.md": true, "grep x *.md": false, "find . -name '*.md'": true, "ls ./etc": true, "npm test": true,
		"cat /etc/passwd": false, "cat </etc/passwd": false, "head -n1 -- /etc/passwd": false, "ls /": false, "ls ..": false, "cat ../x": true, "cat out": false, "cat o*": false,
		"cat home/etc/passwd": false, "git -C / log": false, "grep --file=/etc/passwd x": false, "grep -f/etc/passwd x": false, "cat $HOME/x": false,
		"cat ~/x": false, "cat $(echo x)": false, "cat `echo x`": false, "diff <(cat x) y": false, "awk 'BEGIN { while (getline < \"/etc/passwd\") print }'": false,
		"python3 -c \"print(open('/etc/passwd').read())\"": false, "cd sub && cat ../../x": false, "cd sub && cat far/passwd": false, "cat {/etc/passwd,x}": false,
		"cat 'a": false, "a=/etc/passwd": false, "cat $'/etc/passwd'": false,
	} {
		if got := StaysWithin(line, root, []string{root}); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}

func TestEndsIn(t *testing.T) {
	for line, want := range map[string]struct {
		folder string
		known  bool
	}{
		"ls": {"", true}, "(cd x && ls)": {"", true}, "a=$(cd x; pwd)": {"", true}, "cd x": {"x", true}, "cd 'x y' && ls; ls": {"x y", true}, "cd x; ls": {"x", true},
		"ls && cd x": {}, "cd x && cd y": {}, "cd": {}, "cd -": {}, "cd $X": {}, "cd x | ls": {}, "cd x &": {}, "! cd x": {}, "cd x || ls": {}, "pushd x": {}, "eval cd x": {},
		"if true; then cd x; fi": {}, "f() { cd x; }; f": {}, "cd ~/x": {}, "builtin cd x": {}, "$X x": {}, "cd 'x": {},
	} {
		if folder, known := EndsIn(line); folder != want.folder || known != want.known {
			t.Errorf("%s: %q, %v", line, folder, known)
		}
	}
}
