package effect

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ownAttributes are set by the system itself on a new file, too.
var ownAttributes = []string{"security.selinux", "security.ima", "security.evm", "com.apple.provenance", "com.apple.lastuseddate#PS"}

// maxAttributes bounds the names of a file's attributes, in bytes (Linux has 64
// KiB at most).
const maxAttributes = 64 << 10

// attributes names the extended attributes of a file, such as an access control
// list, that a new file in its place would not have.
func (p resolvedPath) attributes() ([]string, error) {
	f, _, err := p.open()
	if err != nil {
		return nil, p.unreadable(err)
	}
	defer f.Close()
	buf := make([]byte, maxAttributes)
	n, err := unix.Flistxattr(int(f.Fd()), buf)
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return nil, nil // the file system has none
	case err != nil:
		return nil, p.unreadable(err)
	}
	var out []string
	for name := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		switch {
		case name == "" || slices.Contains(ownAttributes, name):
		case name == "system.posix_acl_access":
			out = append(out, "an access control list")
		default:
			out = append(out, shortText(name))
		}
	}
	slices.Sort(out)
	return out, nil
}
