package sandbox

import (
	"net"
	"unsafe"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// loopbackUp brings up the one interface of the network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(ifr))); e != 0 {
		return e
	}
	return nil
}

// resolvConf is what programs find in place of the machine's.
const resolvConf = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"

// resolver answers that no name exists, and notes each name that was asked for:
// a host that the command wanted is known by its name, not as an address that
// was not reached.
func (f *first) resolver() error {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53})
	if err != nil {
		return err
	}
	go func() { // ends with the process
		buf := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if answer, name := noSuchName(buf[:n]); answer != nil {
				f.want(Want{WantHost, name})
				_, _ = conn.WriteToUDP(answer, from)
			}
		}
	}()
	return nil
}

// noSuchName returns the answer to a question, and the name that it asked for.
func noSuchName(question []byte) (answer []byte, name string) {
	var p dnsmessage.Parser
	h, err := p.Start(question)
	if err != nil || h.Response {
		return nil, ""
	}
	q, err := p.Question()
	if err != nil {
		return nil, ""
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: h.ID, Response: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError})
	if b.StartQuestions() != nil || b.Question(q) != nil {
		return nil, ""
	}
	answer, err = b.Finish()
	if err != nil {
		return nil, ""
	}
	return answer, trimDot(q.Name.String())
}

func trimDot(s string) string {
	if n := len(s); n > 1 && s[n-1] == '.' {
		return s[:n-1]
	}
	return s
}
