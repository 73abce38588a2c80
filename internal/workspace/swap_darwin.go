package workspace

import "golang.org/x/sys/unix"

// Flags of rename: swap two names, or fail if the new name exists.
const (
	renameSwap = unix.RENAME_SWAP
	renameExcl = unix.RENAME_EXCL
)

func rename(fromDir int, from string, toDir int, to string, flags uint32) error {
	return unix.RenameatxNp(fromDir, from, toDir, to, flags)
}
