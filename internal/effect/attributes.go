package effect

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ownAttributes are attributes that the system itself also sets on a new file.
var ownAttributes = []string{"security.selinux", "security.ima", "security.evm", "com.apple.provenance", "com.apple.lastuseddate#PS"}

// maxAttributes bounds the list of a file's attribute names, in bytes (the limit of
// Linux is 64 KiB).
const maxAttributes = 64 << 10

// attributes lists the extended attributes of a file, such as an access control
// list, that a new file in its place would lack.
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
