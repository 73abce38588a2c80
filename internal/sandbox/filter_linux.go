package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filterSpec says what the filter hands over beyond what it always does.
type filterSpec struct {
	// Reads hands over every look at a path, so that closed ones are noticed.
	Reads bool
}

// Constants of seccomp that x/sys does not have under these names.
const (
	retKill     = 0x80000000
	retErrno    = 0x00050000
	retNotify   = 0x7fc00000
	retAllow    = 0x7fff0000
	newListener = 1 << 3
	waitKill    = 1 << 5 // a call that waits for an answer is ended by SIGKILL alone
)

// Offsets in struct seccomp_data.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// program assembles a filter. Each rule is a block that ends by itself, so that
// no jump is longer than its block.
type program []unix.SockFilter

func (p *program) stmt(code uint16, k uint32) { *p = append(*p, unix.SockFilter{Code: code, K: k}) }

func (p *program) jump(code uint16, k uint32, t, f uint8) {
	*p = append(*p, unix.SockFilter{Code: code, Jt: t, Jf: f, K: k})
}

func (p *program) ret(k uint32) { p.stmt(unix.BPF_RET|unix.BPF_K, k) }

const (
	load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jset = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	jge  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
)

// on returns ret for one call, whatever its arguments.
func (p *program) on(number int, ret uint32) {
	p.jump(jeq, uint32(number), 0, 1)
	p.ret(ret)
}

// onBits returns ret for a call with one of the bits set in the low half of an
// argument, and allows the call otherwise.
func (p *program) onBits(number, arg int, bits, ret uint32) {
	p.jump(jeq, uint32(number), 0, 4)
	p.stmt(load, uint32(offArgs+8*arg))
	p.jump(jset, bits, 0, 1)
	p.ret(ret)
	p.ret(retAllow)
}

// unlessBits returns ret for a call with none of the bits set in the low half of
// an argument, and allows the call otherwise.
func (p *program) unlessBits(number, arg int, bits, ret uint32) {
	p.jump(jeq, uint32(number), 0, 4)
	p.stmt(load, uint32(offArgs+8*arg))
	p.jump(jset, bits, 1, 0)
	p.ret(ret)
	p.ret(retAllow)
}

// onValues returns ret for a call of which the low half of an argument has, or
// with unless set has not, one of the values; otherwise the call is allowed.
func (p *program) onValues(number, arg int, values []uint32, unless bool, ret uint32) {
	p.jump(jeq, uint32(number), 0, uint8(len(values)+3))
	p.stmt(load, uint32(offArgs+8*arg))
	n := uint8(len(values))
	for i, v := range values {
		p.jump(jeq, v, n-uint8(i), 0) // to the second return
	}
	hit, miss := uint32(retAllow), ret
	if unless {
		hit, miss = retAllow, ret
	} else {
		hit, miss = ret, retAllow
	}
	p.ret(miss)
	p.ret(hit)
}

// writeFlags are the flags of open that may change something.
const writeFlags = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC

// filter is the program for s.
func filter(s filterSpec) program {
	var p program
	p.stmt(load, offArch)
	p.jump(jeq, auditArch, 1, 0)
	p.ret(retNotify) // another architecture's calls: refused by name
	p.stmt(load, offNumber)
	p.jump(jge, 0x40000000, 0, 1) // x32
	p.ret(retNotify)
	for _, n := range frequent {
		p.on(n, retAllow)
	}
	for n := range refused {
		p.on(n, retNotify)
	}
	for n := range watched {
		p.on(n, retNotify)
	}
	for n, c := range pathCalls {
		switch {
		case c.flags > 0 && !s.Reads:
			p.onBits(n, c.flags, writeFlags, retNotify)
		case c.empty > 0 && s.Reads:
			p.unlessBits(n, c.empty, unix.AT_EMPTY_PATH, retNotify)
		case c.write || s.Reads:
			p.on(n, retNotify)
		}
	}
	p.onBits(unix.SYS_CLONE, 0, unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWNET|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS|unix.CLONE_NEWCGROUP, retNotify)
	// Its flags lie in memory, out of the filter's reach; without it libraries use clone.
	p.on(unix.SYS_CLONE3, retErrno|uint32(unix.ENOSYS))
	// The first process must live, and keep its limits, to say what the command did.
	for _, n := range []int{unix.SYS_TGKILL, unix.SYS_TKILL, unix.SYS_PRLIMIT64} {
		p.onValues(n, 0, []uint32{1}, false, retNotify)
	}
	// The terminal calls that put keys into another program's input.
	p.onValues(unix.SYS_IOCTL, 1, []uint32{unix.TIOCSTI, unix.TIOCLINUX}, false, retErrno|uint32(unix.EPERM))
	p.ret(retAllow)
	return p
}

// installFilter puts the filter on this thread and returns its listener.
func installFilter(s filterSpec) (int, error) {
	p := filter(s)
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	flags := uintptr(newListener | waitKill)
	fd, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if e == unix.EINVAL { // before Linux 5.19
		fd, _, e = unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, newListener, uintptr(unsafe.Pointer(&prog)))
	}
	if e != 0 {
		return -1, fmt.Errorf("seccomp: %w", e)
	}
	return int(fd), nil
}
