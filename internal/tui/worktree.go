package tui

import (
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Branch returns the branch of the worktree around a folder, or the first
// digits of a commit; "" if there is none. It reads git's own files, starts no
// process, and follows no link, because the agent controls the folder.
func Branch(folder string) string {
	const depth = 32
	for range depth {
		if !filepath.IsAbs(folder) {
			return ""
		}
		git := filepath.Join(folder, ".git")
		info, err := os.Lstat(git)
		switch {
		case err == nil && info.IsDir():
			return head(git)
		case err == nil && info.Mode().IsRegular(): // a worktree of another repository
			dir, ok := strings.CutPrefix(small(git), "gitdir: ")
			if !ok {
				return ""
			}
			if !filepath.IsAbs(dir) {
				dir = filepath.Join(folder, dir)
			}
			return head(dir)
		}
		up := filepath.Dir(folder)
		if up == folder {
			return ""
		}
		folder = up
	}
	return ""
}

func head(git string) string {
	text := small(filepath.Join(git, "HEAD"))
	if ref, ok := strings.CutPrefix(text, "ref: refs/heads/"); ok {
		return ref
	}
	if len(text) == 40 || len(text) == 64 {
		return text[:10]
	}
	return ""
}

// small reads a short regular file.
func small(path string) string {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
