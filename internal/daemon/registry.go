package daemon

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/proxy"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// session is a served session from the view of the daemon.
type session struct {
	commands *sessionCommands // where its commands run; nil for most servers
	guard.Session
	server  *policy.Server
	clients []ipc.ClientRef // the client, and the wrappers between it and the shim
	as      string          // the client's name for the server, where the shim said one
	ours    bool            // one of the guard's own programs handed the session over, so it is the server's real entry
	roots   []string
	folder  string        // of the run, which decides its profile
	changed chan struct{} // holds one: another policy is in force, or other switches
	over    chan struct{} // closed when the configuration ends the session
	outdate sync.Once
	tell    func(line string) // to the developer; set before the server is started

	begun atomic.Pointer[config.Package] // that the server was started from; nil before
	seen  atomic.Pointer[view]

	mu      sync.Mutex // guards what follows
	process *upstream.Process
	problem string   // why the server did not start
	notices []string // the newest last
	waiting []proxy.Waiting
	behind  []string // how the program behind the server differs from the accepted one
}

// renew gives a session the new policy in force. A session ends if its server
// would now be started differently or not at all, or if its client would have
// another profile.
func (s *session) renew(set *policy.Set) {
	now, ok := set.Server(s.Server)
	if !ok || !startedAlike(s.server.Config, now.Config) || !sameProfile(set, s.folder, s.Session) || now.Starts(s.Session, nil).Verdict != guard.Allow {
		s.outdate.Do(func() { close(s.over) })
		return
	}
	s.look()
}

// look tells a session to read the state in force again.
func (s *session) look() {
	select {
	case s.changed <- struct{}{}:
	default: // it has not yet looked at the one before
	}
}

// view is a policy as it applies to one session.
type view struct{ inForce, here *policy.Set }

// policy returns set as it applies to this session. The effects of a server
// count as proven only while both the package on disk and the one that its
// process was started from are of a proven version.
func (s *session) policy(set *policy.Set) *policy.Set {
	if v := s.seen.Load(); v != nil && v.inForce == set {
		return v.here
	}
	begun := s.begun.Load()
	if begun == nil {
		return set // nothing was started yet that could be called
	}
	v := &view{set, set}
	if sv, ok := set.Server(s.Server); ok && sv.Config.Proven() && !sv.Config.ProvenWith(*begun) {
		v.here = set.Unproven(s.Server)
	}
	s.seen.Store(v)
	return v.here
}

// startedAlike reports whether two configurations start the same server in the
// same folder.
func startedAlike(a, b *config.Server) bool {
	return a.Builtin == b.Builtin && a.Command == b.Command && a.Cwd == b.Cwd &&
		slices.Equal(a.Args, b.Args) && slices.Equal(a.Env, b.Env) &&
		slices.Equal(a.Workspaces, b.Workspaces) && maps.Equal(a.Secrets, b.Secrets)
}

// sameProfile reports whether the folder of a run still has the profile with
// which the run began.
func sameProfile(set *policy.Set, folder string, s guard.Session) bool {
	p, ok := set.ProfileFor(folder)
	return ok && p == policy.Profile{Name: s.Profile, Tenant: s.Tenant, Environment: s.Environment, Workflow: s.Workflow}
}

func (s *session) setBehind(list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = list
}

// addBehind reports whether the list says something new.
func (s *session) addBehind(list []string) (added bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range list {
		if !slices.Contains(s.behind, line) {
			s.behind, added = append(s.behind, line), true
		}
	}
	return added
}

func (s *session) waits(list []proxy.Waiting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = list
}

// definitions describes the tool definitions that wait for acceptance.
func definitions(list []proxy.Waiting) []client.DefinitionDiff {
	var out []client.DefinitionDiff
	for _, w := range list {
		v := client.DefinitionDiff{Tool: w.Tool, Change: "changed", SHA256: w.SHA256.String()}
		if w.Accepted == nil {
			v.Change = "new"
		}
		if text, err := onboard.DefinitionDiff(w.Tool, w.Accepted, w.Definition); err == nil {
			v.Diff = string(text) // without it the tool still is shown as waiting
		}
		out = append(out, v)
	}
	return out
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

// state is a snapshot of a session.
type state struct {
	guard.Session
	UpstreamPID int
	Stderr      []string
	Problem     string
	Notices     []string
	Waiting     []client.DefinitionDiff
	Behind      []string
}

func (s *session) state() state {
	s.mu.Lock()
	out := state{Session: s.Session, Problem: s.problem, Notices: slices.Clone(s.notices), Behind: slices.Clone(s.behind)}
	process, waiting := s.process, s.waiting
	s.mu.Unlock()
	out.Waiting = definitions(waiting)
	if process != nil {
		out.UpstreamPID = process.Ref().PID
		out.Stderr = process.Stderr()
	}
	return out
}

// registry holds the sessions being served. It is safe for concurrent use.
type registry struct {
	mu   sync.Mutex
	live map[guard.SessionID]*session
}

func newRegistry() *registry { return &registry{live: map[guard.SessionID]*session{}} }

// maxSessions bounds the concurrent sessions; each has its own server process.
const maxSessions = 256

// add registers a session, unless there are too many in total or for its
// client. The error is a sentence for the client.
func (r *registry) add(s *session, perClient int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.live) >= maxSessions {
		return fmt.Errorf("%d sessions are open, which is the most that are served at once; end some clients", maxSessions)
	}
	n := 0
	for _, other := range r.live {
		if other.RunID == s.RunID {
			n++
		}
	}
	if n >= perClient {
		return fmt.Errorf("this client has %d sessions open, which is the most that one may have (quotas.sessions); end some of them", n)
	}
	r.live[s.ID] = s
	return nil
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
// between it and its shim. None of them, nor their descendants, may approve.
func (r *registry) clients() []ipc.ClientRef {
	var out []ipc.ClientRef
	for _, s := range r.all() {
		out = append(out, s.clients...)
	}
	return out
}

// duplex combines the two descriptors from the shim into one stream.
type duplex struct{ in, out *os.File }

func (d duplex) Read(p []byte) (int, error)        { return d.in.Read(p) }
func (d duplex) Write(p []byte) (int, error)       { return d.out.Write(p) }
func (d duplex) SetReadDeadline(t time.Time) error { return d.in.SetReadDeadline(t) }

func (d duplex) Close() error { return errors.Join(closed(d.in), closed(d.out)) }

// closed closes a file and ignores that it was already closed.
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
