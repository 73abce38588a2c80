package daemon

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// session is one served session as the daemon sees it.
type session struct {
	guard.Session
	server  *policy.Server
	clients []ipc.ClientRef // the client, and the wrappers between it and the shim
	roots   []string
	home    string

	mu      sync.Mutex // guards what follows
	process *upstream.Process
	problem string   // why the server did not start
	notices []string // the newest last
	waiting []client.DefinitionDiff
}

// maxNotices is how many lines are kept for the console.
const maxNotices = 20

func (s *session) started(p *upstream.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
}

func (s *session) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problem = err.Error()
}

func (s *session) notice(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices = append(s.notices, line)
	if n := len(s.notices); n > maxNotices {
		s.notices = slices.Clone(s.notices[n-maxNotices:])
	}
}

func (s *session) identified(client, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Origin.Client, s.Origin.Version = client, version
}

// state is a copy of a session for those who look from outside.
type state struct {
	guard.Session
	UpstreamPID int
	Stderr      []string
	Problem     string
	Notices     []string
	Waiting     []client.DefinitionDiff
}

func (s *session) state() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := state{Session: s.Session, Problem: s.problem, Notices: slices.Clone(s.notices), Waiting: slices.Clone(s.waiting)}
	if s.process != nil {
		out.UpstreamPID = s.process.Ref().PID
		out.Stderr = s.process.Stderr()
	}
	return out
}

// registry knows the sessions that are served now. It is safe for concurrent use.
type registry struct {
	mu   sync.Mutex
	live map[guard.SessionID]*session
}

func newRegistry() *registry { return &registry{live: map[guard.SessionID]*session{}} }

func (r *registry) add(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[s.ID] = s
}

func (r *registry) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, s.ID)
}

// all returns the sessions, the oldest first.
func (r *registry) all() []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*session, 0, len(r.live))
	for _, s := range r.live {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *session) int { return a.OpenedAt.Compare(b.OpenedAt) })
	return out
}

// clients returns every client process that has a session, and the wrappers
// that stand between it and its shim: none of them, and nothing that descends
// from them, may approve.
func (r *registry) clients() []ipc.ClientRef {
	var out []ipc.ClientRef
	for _, s := range r.all() {
		out = append(out, s.clients...)
	}
	return out
}

// duplex makes one stream of the two descriptors that the shim handed over.
type duplex struct{ in, out *os.File }

func (d duplex) Read(p []byte) (int, error)  { return d.in.Read(p) }
func (d duplex) Write(p []byte) (int, error) { return d.out.Write(p) }
func (d duplex) Close() error                { return errors.Join(closed(d.in), closed(d.out)) }

// closed closes a file; that it was closed already is fine.
func closed(c io.Closer) error {
	if err := c.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
