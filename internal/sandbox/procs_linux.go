package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// meter adds up what all processes inside use, and what they have written.
type meter struct {
	limits Limits
	layers *mounter
	spent  map[int]time.Duration
	looks  int
}

const ticks = 100 // per second; USER_HZ of every Linux that Go runs on

// over names the limit that is passed, "" if none is.
func (m *meter) over() string {
	if m.spent == nil {
		m.spent = map[int]time.Duration{}
	}
	var rss int64
	count := 0
	for _, pid := range inside() {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		i := bytes.LastIndexByte(stat, ')')
		if err != nil || i < 0 {
			continue
		}
		f := bytes.Fields(stat[i+1:])
		if len(f) < 22 {
			continue
		}
		count++
		user, _ := strconv.ParseInt(string(f[11]), 10, 64)
		system, _ := strconv.ParseInt(string(f[12]), 10, 64)
		pages, _ := strconv.ParseInt(string(f[21]), 10, 64)
		m.spent[pid] = time.Duration(user+system) * time.Second / ticks
		rss += pages * int64(os.Getpagesize())
	}
	var cpu time.Duration
	for _, d := range m.spent { // of those that have ended, too
		cpu += d
	}
	switch {
	case rss > m.limits.Memory:
		return "memory"
	case count > m.limits.Processes:
		return "processes"
	case cpu > m.limits.CPU:
		return "cpu"
	}
	// To add up a layer on disk takes a look at each file in it.
	if m.looks++; (m.layers.memory || m.looks%10 == 0) && m.full() {
		return "written"
	}
	return ""
}

// full reports whether the layers hold all that they may.
func (m *meter) full() bool {
	if m.layers.memory {
		var st unix.Statfs_t
		return unix.Statfs(m.layers.upper, &st) != nil || st.Bavail*uint64(st.Bsize) < 64<<10
	}
	left := m.limits.Written
	for _, t := range m.layers.trees {
		_ = filepath.WalkDir(t.data, func(path string, d fs.DirEntry, err error) error {
			var st unix.Stat_t
			if err == nil && unix.Lstat(path, &st) == nil {
				left -= st.Blocks * 512
			}
			return nil
		})
	}
	return left < 0
}

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
