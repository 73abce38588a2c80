package workspace

import "golang.org/x/sys/unix"

// Flags of rename: swap two names, or fail where the new one is taken.
const (
	renameSwap = unix.RENAME_SWAP
	renameExcl = unix.RENAME_EXCL
)

func rename(fromDir int, from string, toDir int, to string, flags uint32) error {
	return unix.RenameatxNp(fromDir, from, toDir, to, flags)
}
