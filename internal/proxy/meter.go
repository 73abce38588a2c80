package proxy

import (
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Meter counts what limits need and the store does not keep: calls per time,
// calls in flight, and when an identical call last ran (see Remember for
// restarts). All sessions share it. The zero value is ready to use.
type Meter struct {
	mu      sync.Mutex
	tools   map[toolKey]*usage
	servers map[toolKey]int             // calls in flight, by key without the tool
	last    map[digest.Digest]time.Time // of identical calls, by identity
	room    room
}

type toolKey struct{ tenant, server, tool string }

func (k toolKey) wholeServer() toolKey { return toolKey{tenant: k.tenant, server: k.server} }

type usage struct {
	inFlight int
	tokens   float64
	filled   time.Time
	rate     limit // the rate under which the tokens were counted
}

// fill adds the tokens up to now. Tokens used under an earlier rate count
// against the current one: a wider rate adds only the difference.
func (u *usage) fill(l limit, now time.Time) {
	had := u.tokens
	grown := func(by limit) float64 {
		since := max(0, now.Sub(u.filled))
		return min(float64(by.n), had+float64(by.n)*float64(since)/float64(by.per))
	}
	u.tokens = grown(l)
	if old := u.rate; old != l && old.n > 0 && old.per > 0 {
		u.tokens = min(float64(l.n), max(u.tokens, grown(old)+float64(l.n-old.n)))
	}
	u.filled, u.rate = now, l
}

// IdenticalFor is how long an executed call is remembered, so that a later
// identical call can show when it ran.
const IdenticalFor = 24 * time.Hour

// Limits of what a Meter remembers.
const (
	maxIdentical = 10_000
	maxIdle      = 10_000
	idleFor      = time.Hour
)

func keyOf(c guard.ToolCall) toolKey {
	return toolKey{tenant: c.Session.Tenant, server: c.Session.Server, tool: c.Tool}
}

// reading is the state of the meter when a call comes in.
type reading struct {
	others int  // calls of the same tool in flight
	server int  // calls of the same server in flight
	rateOK bool // the rate allows this call

	identical time.Time // when the same call last ran; zero if never
}

// limit is a rate of n calls per time. The zero value means no limit.
type limit struct {
	n   int
	per time.Duration
}

// slot is the share of a meter that one call takes, from when it comes in
// until its client may make another. It is safe for concurrent use, because a
// waiting call can lose it. The zero value is ready to use.
type slot struct {
	mu    sync.Mutex
	meter *Meter // nil while the slot is not taken
	key   toolKey
	left  bool
}

// enter takes the slot and returns the reading of the meter. If the call has
// left already, it takes nothing.
func (p *slot) enter(m *Meter, k toolKey, l limit, now time.Time) reading {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := m.enter(k, l.n, l.per, now)
	if p.left {
		m.leave(k)
		return r
	}
	p.meter, p.key = m, k
	return r
}

// leave frees the slot for good. Further calls do nothing.
func (p *slot) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.meter != nil {
		p.meter.leave(p.key)
	}
	p.meter, p.left = nil, true
}

func (p *slot) taken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.meter != nil
}

// enter counts a call until leave. A rate of zero means no limit.
func (m *Meter) enter(k toolKey, n int, per time.Duration, now time.Time) (r reading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tools == nil {
		m.tools, m.servers = map[toolKey]*usage{}, map[toolKey]int{}
	}
	r.server = m.servers[k.wholeServer()]
	m.servers[k.wholeServer()]++
	u := m.tools[k]
	if u == nil {
		m.prune(now)
		u = &usage{tokens: float64(n), filled: now, rate: limit{n, per}}
		m.tools[k] = u
	}
	r.others = u.inFlight
	u.inFlight++
	if r.rateOK = n <= 0 || per <= 0; r.rateOK {
		return r
	}
	u.fill(limit{n, per}, now)
	if r.rateOK = u.tokens >= 1; r.rateOK {
		u.tokens--
	}
	return r
}

func (m *Meter) leave(k toolKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.tools[k]; u != nil {
		u.inFlight--
	}
	if m.servers[k.wholeServer()]--; m.servers[k.wholeServer()] <= 0 {
		delete(m.servers, k.wholeServer())
	}
}

// prune forgets tools that have not been called for long.
func (m *Meter) prune(now time.Time) {
	if len(m.tools) < maxIdle {
		return
	}
	for k, u := range m.tools {
		if u.inFlight == 0 && now.Sub(u.filled) > idleFor {
			delete(m.tools, k)
		}
	}
}

// Remember adds the executed calls of an earlier daemon. Later calls win.
func (m *Meter) Remember(list []guard.Intent) {
	for _, in := range list {
		if id := identity(in.Tenant, in.Server, in.Tool, in.ArgsSum); in.At.After(m.lastOf(id)) {
			m.note(id, in.At)
		}
	}
}

// ran records that a call was executed. lastRan returns when an identical call
// of its tenant last ran, or zero if that is long ago.
func (m *Meter) ran(c guard.ToolCall, now time.Time) { m.note(identityOf(c), now) }

func (m *Meter) lastRan(c guard.ToolCall, now time.Time) time.Time {
	if at := m.lastOf(identityOf(c)); now.Sub(at) <= IdenticalFor {
		return at
	}
	return time.Time{}
}

func (m *Meter) note(id digest.Digest, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = map[digest.Digest]time.Time{}
	}
	if len(m.last) >= maxIdentical {
		for d, at := range m.last {
			if now.Sub(at) > IdenticalFor || len(m.last) >= 2*maxIdentical {
				delete(m.last, d)
			}
		}
	}
	m.last[id] = now
}

func (m *Meter) lastOf(id digest.Digest) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[id]
}

func identityOf(c guard.ToolCall) digest.Digest {
	return identity(c.Session.Tenant, c.Session.Server, c.Tool, digest.Sum(c.ArgsCanonical))
}

// identity is equal for identical calls of one tenant, in any run: same
// server, tool and canonical arguments.
func identity(tenant, server, tool string, args digest.Digest) digest.Digest {
	h := digest.NewHasher("mcpguard/identical/v2")
	h.Field("tenant", []byte(tenant))
	h.Field("server", []byte(server))
	h.Field("tool", []byte(tool))
	h.Field("args", args[:])
	return h.Digest()
}
