package effect

import (
	"errors"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/text/unicode/norm"
)

// maxEntries bounds how many names in one folder are compared.
const maxEntries = 1 << 20

// checkSpelling refuses a name that a folder resolves although no entry is spelled
// that way. On a file system that ignores case or Unicode form one file has many
// names, and rules and locks know only one.
func (w *walker) checkSpelling(name string, st stat) error {
	suspect := false
	for _, other := range otherSpellings(name) {
		if o, err := statAt(w.dir(), other); err == nil && o.dev == st.dev && o.ino == st.ino {
			suspect = true
		}
	}
	if !suspect {
		return nil
	}
	found := false
	if err := w.entries(func(entry string) bool {
		found = entry == name
		return !found
	}); err != nil {
		return err
	}
	if !found {
		// fail closed: the name on disk is another one
		return refusePath(listFirst, "%q is spelt otherwise on disk; upper and lower case and accents count", w.shown(name))
	}
	return nil
}

// otherSpellings returns names that mean the same file only if the file system
// ignores case or Unicode form.
func otherSpellings(name string) []string {
	var out []string
	swapped := strings.Map(func(r rune) rune {
		if u := unicode.ToUpper(r); u != r {
			return u
		}
		return unicode.ToLower(r)
	}, name)
	for _, s := range []string{swapped, norm.NFC.String(name), norm.NFD.String(name)} {
		if s != name && utf8.ValidString(name) {
			out = append(out, s)
		}
	}
	return out
}

// checkEquivalent refuses a missing name if an entry equals it in Unicode form,
// because a server that looks for such entries would use that one.
func (w *walker) checkEquivalent(name string) error {
	want := norm.NFC.String(name)
	var clash bool
	if err := w.entries(func(entry string) bool {
		// The server sees invalid bytes as U+FFFD.
		clash = norm.NFC.String(decodeUTF8([]byte(entry))) == want
		return !clash
	}); err != nil {
		return err
	}
	if clash {
		return refusePath(listFirst, "an entry beside %q has the same name in another Unicode form", w.shown(name))
	}
	return nil
}

// entries calls f with each name in the current folder, in no particular order,
// until f returns false.
func (w *walker) entries(f func(string) bool) error {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(w.dir(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return w.trouble(".", err)
	}
	dir := os.NewFile(uintptr(fd), "folder")
	defer dir.Close()
	for n := 0; ; {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if !f(name) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return w.trouble(".", err)
		}
		if n += len(names); n > maxEntries {
			return refusePath("use another folder", "the folder %q has too many entries", w.shown("."))
		}
	}
}
