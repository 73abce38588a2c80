package sandbox

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// meter adds up what all processes inside use, and what they have written. The zero
// time and numbers of a new one are filled in by its first look.
type meter struct {
	limits Limits
	layers *mounter
	began  time.Time // of the run, by the clock of file systems
	spent  map[int]time.Duration

	disks  []string  // folders on disk that the run writes to
	free   []uint64  // bytes free on each, at the first look
	looked time.Time // when the files were last added up
	took   time.Duration
	most   int64 // written to disk, at that look

	shared int64 // memory of the machine that belongs to files in memory of others, at the first look
}

func newMeter(limits Limits, layers *mounter, began time.Time) *meter {
	m := &meter{limits: limits, layers: layers, began: began, spent: map[int]time.Duration{}, looked: time.Now()}
	m.disks = slices.Clone(layers.stores)
	if !layers.memory {
		m.disks = append(m.disks, layers.upper)
	}
	for _, at := range m.disks {
		m.free = append(m.free, freeBytes(at))
	}
	m.shared = sharedMemory() - m.files()
	return m
}

const ticks = 100 // per second; USER_HZ of every Linux that Go runs on

// over names the limit that is passed, "" if none is.
func (m *meter) over() string {
	var rss int64
	pids := inside()
	count := 0
	for _, pid := range pids {
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
	case rss > m.limits.Memory, m.hoards(pids, rss):
		return "memory"
	case count > m.limits.Processes:
		return "processes"
	case cpu > m.limits.CPU:
		return "cpu"
	case m.full():
		return "written"
	}
	return ""
}

// How often files are added up: at first after a while, later so that it takes no
// more than a small part of the time.
const (
	firstLook = 2 * time.Second
	lookShare = 20
)

// full reports whether a run has written all that it may: into the layers, and, of
// scratch folders, whose stores hold what earlier runs wrote, what is new.
func (m *meter) full() bool {
	used := int64(0)
	if m.layers.memory {
		var st unix.Statfs_t
		if unix.Statfs(m.layers.upper, &st) != nil || st.Bavail*uint64(st.Bsize) < 64<<10 {
			return true
		}
		used = usedBytes(m.layers.upper)
	}
	since := time.Since(m.looked)
	if since > max(firstLook, lookShare*m.took) || m.shrinks() && since > lookShare/2*m.took {
		m.add()
	}
	return used+m.most > m.limits.Written
}

// ended reports whether a run that is over has written more than it may.
func (m *meter) ended() bool {
	// Scratch folders may hold very many files. A short run that took no space away and
	// is on record with few writes has not written that much.
	if !m.layers.memory || time.Since(m.began) > firstLook || m.shrinks() || written() > m.limits.Written/4 {
		m.add()
	}
	return m.full()
}

// shrinks reports whether a disk has lost space since the run began, of which a
// quarter of what it may write would tell.
func (m *meter) shrinks() bool {
	for i, at := range m.disks {
		if free := freeBytes(at); m.free[i] > free && m.free[i]-free > uint64(m.limits.Written/4) {
			return true
		}
	}
	return false
}

// written is what this process and those that it has taken in wrote to disks, as far
// as the kernel keeps record.
func written() int64 {
	io, _ := os.ReadFile("/proc/self/io")
	for line := range bytes.Lines(io) {
		if rest, ok := bytes.CutPrefix(line, []byte("write_bytes:")); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64)
			return n
		}
	}
	return 0
}

// entryCost is what a name takes at least, beside its content.
const entryCost = 1 << 10

// add adds up what the run has written to disk.
func (m *meter) add() {
	start := time.Now()
	m.most = 0
	look := func(dir string, all bool) {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			var st unix.Stat_t
			if err == nil && unix.Lstat(path, &st) == nil && (all || !time.Unix(st.Ctim.Unix()).Before(m.began)) {
				m.most += st.Blocks*512 + entryCost
			}
			return nil
		})
	}
	if !m.layers.memory {
		look(m.layers.upper, true)
	}
	for _, s := range m.layers.stores {
		look(s, false)
	}
	m.looked, m.took = time.Now(), time.Since(start)
}

// freeBytes returns how much can be written to the disk that a path is on, for any
// user.
func freeBytes(path string) uint64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0
	}
	return st.Bfree * uint64(st.Bsize)
}
