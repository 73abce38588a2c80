package tui

import (
	"context"
	"errors"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
)

// Bounds of following the daemon.
const (
	// maxBurst is how many changes go into one frame.
	maxBurst = 256
	// pingEvery is how often an unreachable daemon is tried, so that the
	// screen is up to date within a second of its return, however long the
	// stream itself would wait.
	pingEvery = 500 * time.Millisecond
	// jump is how far wall and monotonic clock may diverge between two ticks
	// before everything is reread: the machine slept, or its clock was set.
	jump = 2 * time.Second
	// tickEvery is how often remaining times are repainted.
	tickEvery = time.Second
	// statusEvery is how often the daemon is asked about what sends no event:
	// tools that wait for acceptance, and whether the newest configuration is
	// in force.
	statusEvery = 10 * time.Second
	// askFor bounds one request.
	askFor = 20 * time.Second
)

// link is the connection to the daemon.
type link struct {
	gen     int // of the stream
	sync    int // of the reading of everything
	live    bool
	syncing bool
	filling bool      // the first page is on the screen, the rest is being read
	since   time.Time // when it was lost
	why     string
	fatal   string // a permanent error: another version, a refusal
	cancel  context.CancelFunc
	events  <-chan eventsMsg
	wall    time.Time     // at the last tick
	mono    time.Duration // at the last tick, by the clock that cannot be set
	told    time.Duration // when the status was last requested, by that clock
}

// startStream follows the daemon's changes under a new number.
func (m *Model) startStream() tea.Cmd {
	if m.link.cancel != nil {
		m.link.cancel()
	}
	m.link.gen++
	ctx, cancel := context.WithCancel(m.call.ctx)
	m.link.cancel = cancel
	m.link.events = m.call.follow(ctx, m.link.gen)
	return m.waitEvents()
}

// stream starts following the daemon.
func (c caller) stream(ctx context.Context, gen int) <-chan eventsMsg {
	out := make(chan eventsMsg)
	go pump(ctx, c.api, gen, out) // ends with ctx or with the stream; owned by this stream
	return out
}

// pump passes on changes, batching those that have arrived meanwhile.
func pump(ctx context.Context, feed API, gen int, out chan<- eventsMsg) {
	defer close(out)
	in := make(chan client.Event)
	var end error
	go func() { // ends with the stream, which ends with ctx
		defer close(in)
		defer func() {
			if v := recover(); v != nil {
				end = caught(v)
			}
		}()
		for e, err := range feed.Watch(ctx) {
			if err != nil {
				end = err
				return
			}
			select {
			case in <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	var batch []client.Event
	for {
		var send chan<- eventsMsg
		if len(batch) > 0 {
			send = out
		}
		from := in
		if len(batch) >= maxBurst {
			from = nil
		}
		select {
		case e, ok := <-from:
			if ok {
				batch = append(batch, e)
				continue
			}
			if end == nil && ctx.Err() == nil {
				end = errors.New("the stream of changes ended")
			}
			select {
			case out <- eventsMsg{gen, batch, end}:
			case <-ctx.Done():
			}
			return
		case send <- eventsMsg{gen: gen, events: batch}:
			batch = nil
		case <-ctx.Done():
			for range in { // until in is closed
			}
			return
		}
	}
}

// waitEvents waits for the next changes.
func (m *Model) waitEvents() tea.Cmd {
	events := m.link.events
	return func() tea.Msg {
		msg, ok := <-events
		if !ok {
			return nil
		}
		return msg
	}
}

// onEvents handles changes.
func (m *Model) onEvents(msg eventsMsg) tea.Cmd {
	if msg.gen != m.link.gen {
		return nil
	}
	var cmds []tea.Cmd
	for _, e := range msg.events {
		switch e.Kind {
		case client.EventResync:
			cmds = append(cmds, m.resync())
		case client.EventLost:
			cmds = append(cmds, m.lost(e.Error))
		case client.EventApproval:
			if e.Approval != nil {
				cmds = append(cmds, m.take(*e.Approval))
			}
		case client.EventAlert:
			cmds = append(cmds, m.call.alerts())
		case client.EventSwitch:
			cmds = append(cmds, m.call.switches())
		case client.EventSession:
			cmds = append(cmds, m.call.status())
		}
		cmds = append(cmds, m.tellScreens(e))
	}
	if msg.err != nil {
		cmds = append(cmds, m.ended(msg.err))
		return tea.Batch(cmds...)
	}
	return tea.Batch(append(cmds, m.waitEvents())...)
}

// lost shows that the screen may be out of date, and starts to try the daemon.
func (m *Model) lost(why string) tea.Cmd {
	if !m.link.live && !m.link.since.IsZero() {
		return nil
	}
	m.link.live, m.link.syncing = false, false
	m.link.sync++ // pending responses are out of date
	m.link.since, m.link.why = m.now(), why
	return m.call.later(pingEvery, askMsg{m.link.gen})
}

// ended handles the end of the stream.
func (m *Model) ended(err error) tea.Cmd {
	if c := (*crash)(nil); errors.As(err, &c) {
		return m.fails(c)
	}
	if errors.Is(err, client.ErrVersion) || errors.Is(err, client.ErrRefused) || errors.Is(err, client.ErrRequest) {
		m.link.live, m.link.fatal = false, err.Error()
		return nil
	}
	return m.lost(err.Error())
}

// onPing follows the stream again once the daemon answers.
func (m *Model) onPing(msg pingMsg) tea.Cmd {
	if msg.gen != m.link.gen || m.link.live || m.link.fatal != "" {
		return nil
	}
	if msg.err != nil {
		return m.call.later(pingEvery, askMsg{m.link.gen})
	}
	return tea.Batch(m.startStream(), m.resync())
}

// resync rereads everything.
func (m *Model) resync() tea.Cmd {
	m.link.sync++
	m.link.syncing = true
	return m.call.sync(m.link.sync, !m.queue.ready)
}

// onSynced replaces the state by what was read.
func (m *Model) onSynced(msg syncedMsg) tea.Cmd {
	if msg.gen != m.link.sync {
		return nil
	}
	m.link.syncing = msg.partial
	if msg.err != nil {
		return m.lost(msg.err.Error())
	}
	if !m.link.live {
		m.link.live, m.link.since, m.link.why = true, time.Time{}, ""
		m.arm.rearm()
	}
	m.status, m.known, m.paused = msg.status, true, msg.paused
	m.alerts = msg.alerts
	m.queue.replace(msg)
	if m.link.filling && !m.press.touched {
		m.queue.merge(m.now()) // the reviewer has not begun, so this disturbs nothing
	}
	m.link.filling = msg.partial
	var rest tea.Cmd
	if msg.partial {
		rest = m.call.sync(m.link.sync, false)
	}
	return tea.Batch(m.settle(), m.reload(), rest, m.askBranches())
}

// clocks returns a reader of the wall clock and of a clock that cannot be set.
// Their difference shows whether the machine slept or its clock was set.
func clocks() func() (time.Time, time.Duration) {
	base := time.Now()
	return func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(base)
	}
}

// onTick updates remaining times, and detects a clock that jumped.
func (m *Model) onTick() tea.Cmd {
	wall, mono := m.clocks()
	gap := wall.Sub(m.link.wall) - (mono - m.link.mono)
	m.link.wall, m.link.mono = wall, mono
	cmds := []tea.Cmd{m.call.later(tickEvery, tickMsg{})}
	if gap > jump || gap < -jump {
		cmds = append(cmds, m.wake())
	}
	now := m.now()
	if !m.notice.until.IsZero() && now.After(m.notice.until) {
		m.notice = notice{}
	}
	m.expire()
	if m.link.live && mono-m.link.told >= statusEvery {
		m.link.told = mono
		cmds = append(cmds, m.call.status())
	}
	return tea.Batch(cmds...)
}

// wake rereads everything after a sleep, a stop or a set clock.
func (m *Model) wake() tea.Cmd {
	m.arm.rearm()
	if m.link.fatal != "" {
		return nil
	}
	return tea.Batch(m.startStream(), m.resync())
}
