package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"sort"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// inside returns the processes beside this one in its namespace.
func inside() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var out []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 1 {
			out = append(out, pid)
		}
	}
	sort.Ints(out)
	return out
}

// others are the names of the processes inside that have not ended.
func others() []string {
	names := []string{}
	for _, pid := range inside() {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		open, shut := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		if err != nil || open < 0 || shut < open || len(stat) < shut+3 || stat[shut+2] == 'Z' {
			continue
		}
		names = append(names, string(stat[open+1:shut]))
	}
	return names
}

// watcher notes when files or folders are opened, through inotify.
type watcher struct {
	fd   int
	mu   sync.Mutex
	seen map[int32]func() // by watch
}

func newWatcher() (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	w := &watcher{fd: fd, seen: map[int32]func(){}}
	go func() { // ends with the process
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
			w.drain()
		}
	}()
	return w, nil
}

// add calls seen when the file or folder itself is opened.
func (w *watcher) add(path string, seen func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	wd, err := unix.InotifyAddWatch(w.fd, path, unix.IN_OPEN)
	if err != nil {
		return err
	}
	w.seen[int32(wd)] = seen
	return nil
}

// drain takes in what has happened until now.
func (w *watcher) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(w.fd, buf)
		if err != nil || n <= 0 {
			return
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			wd := int32(binary.NativeEndian.Uint32(buf[at:]))
			size := int(binary.NativeEndian.Uint32(buf[at+12:]))
			if seen := w.seen[wd]; seen != nil && size == 0 { // of the folder, not of something in it
				seen()
			}
			at += unix.SizeofInotifyEvent + size
		}
	}
}
