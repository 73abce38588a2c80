package workspace

import "golang.org/x/sys/unix"

// Flags of rename: swap two names, or fail if the new name exists.
const (
	renameSwap = unix.RENAME_EXCHANGE
	renameExcl = unix.RENAME_NOREPLACE
)

func rename(fromDir int, from string, toDir int, to string, flags uint32) error {
	return unix.Renameat2(fromDir, from, toDir, to, uint(flags))
}
