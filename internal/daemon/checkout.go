package daemon

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// checkout returns the repository of a folder and its branch. Both are only
// labels.
func checkout(folder string) (top, branch string) {
	if !filepath.IsAbs(folder) {
		return "", ""
	}
	dir := filepath.Clean(folder)
	for range 64 {
		git := filepath.Join(dir, ".git")
		if st, err := os.Lstat(git); err == nil {
			if st.Mode().IsRegular() { // in a worktree .git is a file that names the data folder
				line, _ := strings.CutPrefix(head(git), "gitdir: ")
				if git = line; !filepath.IsAbs(git) {
					git = filepath.Join(dir, git)
				}
			}
			ref, _ := strings.CutPrefix(head(filepath.Join(git, "HEAD")), "ref: refs/heads/")
			return dir, ref
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return "", ""
}

// head returns the first line of a small regular file, "" if there is none.
func head(name string) string {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0) // a pipe must not hold the daemon
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}
