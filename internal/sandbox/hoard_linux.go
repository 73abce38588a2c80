package sandbox

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What processes keep in memory without having it mapped shows in none of them:
// files that have no name (memfd), segments of System V, mappings of which most was
// given back. To look for it in all open files takes long, so a number of the whole
// machine tells when to: its memory that belongs to files in memory. Others change
// that number, too, but none of them makes a run end by itself.

// hoards reports whether the run holds more memory than it may, with what is not
// mapped. rss is what its processes have mapped.
func (m *meter) hoards(pids []int, rss int64) bool {
	own := usedBytes(m.layers.inside("/dev/shm")) + usedBytes(m.layers.inside("/run"))
	grown := max(0, sharedMemory()-m.files()-m.shared)
	if rss+own+grown <= m.limits.Memory {
		return false
	}
	private := int64(0)
	h := holdings{files: map[[2]uint64]int64{}}
	for _, pid := range pids {
		private += privateMemory(pid)
		h.process(pid)
	}
	known := h.segments()
	for _, size := range h.files {
		known += size
	}
	// fail closed: what cannot be measured is taken for all that the machine has more.
	return private+own+known > m.limits.Memory || h.hidden && private+own+grown > m.limits.Memory
}

// files is what the run's own file systems in memory hold. It counts by itself.
func (m *meter) files() int64 {
	n := usedBytes(m.layers.inside("/dev/shm")) + usedBytes(m.layers.inside("/run"))
	if m.layers.memory {
		n += usedBytes(m.layers.upper)
	}
	return n
}

// holdings is what processes hold in memory through files without a name.
type holdings struct {
	files map[[2]uint64]int64 // bytes, by device and inode
	// hidden is set where something is held that cannot be measured.
	hidden bool
}

// process looks at the open files and mappings of a process. Each of its threads
// may have open files of its own.
func (h *holdings) process(pid int) {
	at := "/proc/" + strconv.Itoa(pid)
	tasks, _ := filepath.Glob(at + "/task/*")
	for _, task := range tasks {
		fds, _ := os.ReadDir(task + "/fd")
		for _, fd := range fds {
			h.open(task, fd.Name())
		}
	}
	maps, err := os.Open(at + "/maps")
	if err != nil {
		return // it is gone
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		h.mapping(lines.Text())
	}
	h.hidden = h.hidden || lines.Err() != nil
}

func (h *holdings) open(task, fd string) {
	link, err := os.Readlink(task + "/fd/" + fd)
	switch {
	case err != nil:
	case strings.HasPrefix(link, "/memfd:"):
		var st unix.Stat_t
		if unix.Stat(task+"/fd/"+fd, &st) == nil {
			h.files[[2]uint64{uint64(st.Dev), st.Ino}] = st.Blocks * 512
		}
	case strings.HasPrefix(link, "socket:"):
		// Files that were sent and not taken are open in no process.
		info, _ := os.ReadFile(task + "/fdinfo/" + fd)
		if _, rest, ok := bytes.Cut(info, []byte("scm_fds:")); ok {
			n, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte("\n"))
			h.hidden = h.hidden || string(n) != "0"
		}
	}
}

// mapping looks at a line of a process's mappings: what file without a name stays
// because of it, however little of that is mapped.
func (h *holdings) mapping(line string) {
	f := strings.Fields(line)
	if len(f) < 6 || !strings.HasPrefix(f[5], "/memfd:") && f[5] != "/dev/zero" {
		return
	}
	major, minor, _ := strings.Cut(f[3], ":")
	a, _ := strconv.ParseUint(major, 16, 32)
	b, _ := strconv.ParseUint(minor, 16, 32)
	inode, _ := strconv.ParseUint(f[4], 10, 64)
	if _, known := h.files[[2]uint64{unix.Mkdev(uint32(a), uint32(b)), inode}]; !known {
		h.hidden = true
	}
}

// segments adds up the shared memory of System V, which stays without a process.
func (h *holdings) segments() int64 {
	text, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return 0 // a kernel without it
	}
	sum := int64(0)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] != "key" {
			for _, part := range f[len(f)-2:] { // resident, and swapped out
				n, _ := strconv.ParseInt(part, 10, 64)
				sum += n
			}
		}
	}
	return sum
}

// privateMemory is what a process has resident without what is shared in memory.
func privateMemory(pid int) int64 {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return kilobytes(status, "RssAnon:") + kilobytes(status, "RssFile:")
}

func sharedMemory() int64 {
	info, _ := os.ReadFile("/proc/meminfo")
	return kilobytes(info, "Shmem:")
}

// kilobytes returns the bytes of a line of a file of /proc, 0 where it has none.
func kilobytes(text []byte, name string) int64 {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))), 10, 64)
			return n << 10
		}
	}
	return 0
}

// usedBytes is what a file system holds.
func usedBytes(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0
	}
	return int64(st.Blocks-st.Bfree) * int64(st.Bsize)
}
