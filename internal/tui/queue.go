package tui

import (
	"cmp"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// entry is one approval in the queue.
type entry struct {
	client.Approval
	// deadline is when its time runs out by this program's clock: the
	// remaining time that the daemon reported, counted from the request.
	deadline time.Time
	gone     bool // the daemon no longer knows it
}

// waits reports whether it can be decided, as far as is known.
func (e *entry) waits(now time.Time) bool {
	return e.Status == client.Pending && !e.gone && now.Before(e.deadline)
}

func (e *entry) left(now time.Time) time.Duration { return max(0, e.deadline.Sub(now)) }

// group is the approvals of one run, shown together.
type group struct {
	run  string
	from int // index in the order
	n    int
}

// queue holds the pending approvals. Shown ones keep their order and position
// until the reviewer asks for the new ones.
type queue struct {
	all    map[string]*entry
	order  []string // as shown
	groups []group
	rows   []queueRow // groups and items, as shown
	at     map[string]int
	fresh  []string // arrived, not yet shown
	cursor string
	top    int
	marked map[string]mark // by id
	ready  bool            // read once
	count  waitingCounts
	stale  bool // count is out of date
}

// mark is what was painted of an item when it was marked.
type mark struct{ digest, shape string }

// queueRow is one row of the list: a group's title, or an item.
type queueRow struct {
	group int
	id    string // empty for a title
}

func (q *queue) init() {
	q.all, q.at, q.marked = map[string]*entry{}, map[string]int{}, map[string]mark{}
}

// put stores an approval, unless a newer version of it is known.
func (q *queue) put(a client.Approval, asked time.Time) *entry {
	q.stale = true
	e := q.all[a.ID]
	switch {
	case e == nil:
		e = &entry{}
		q.all[a.ID] = e
	case a.Version < e.Version:
		return e
	}
	if e.Digest != a.Digest {
		delete(q.marked, a.ID)
	}
	e.Approval, e.gone = a, false
	e.deadline = asked.Add(time.Duration(a.SecondsLeft) * time.Second)
	if a.Status != client.Pending {
		delete(q.marked, a.ID)
	}
	return e
}

// take handles a change; arrivals are kept apart until they are asked for.
func (q *queue) take(a client.Approval, asked time.Time) {
	q.admit(a, asked)
	q.prune()
}

func (q *queue) admit(a client.Approval, asked time.Time) {
	_, known := q.all[a.ID]
	e := q.put(a, asked)
	if known || e.Status != client.Pending {
		if !known {
			delete(q.all, a.ID) // ended before it was shown
		}
		return
	}
	q.fresh = append(q.fresh, a.ID)
}

// prune removes arrivals that ended before they were shown.
func (q *queue) prune() {
	q.fresh = slices.DeleteFunc(q.fresh, func(id string) bool {
		e := q.all[id]
		if e != nil && e.Status == client.Pending && !e.gone {
			return false
		}
		delete(q.all, id)
		return true
	})
}

// replace replaces the state by what was reread, or by its first part.
func (q *queue) replace(msg syncedMsg) {
	asked := msg.asked
	seen := make(map[string]bool, len(msg.pending))
	for _, a := range msg.pending {
		seen[a.ID] = true
		q.admit(a, asked)
	}
	for _, a := range msg.recent {
		if !seen[a.ID] && q.all[a.ID] != nil {
			seen[a.ID] = true
			q.admit(a, asked)
		}
	}
	for id, e := range q.all {
		if !seen[id] && !msg.partial && e.Status == client.Pending {
			e.gone = true // it ended during the gap
			delete(q.marked, id)
		}
	}
	q.stale = true
	q.prune()
	if !q.ready {
		q.ready = true
		q.merge(asked)
	}
}

// idle reports whether no shown approval is pending. Arrivals may then be
// shown at once, since they disturb no one.
func (q *queue) idle(now time.Time) bool {
	return !slices.ContainsFunc(q.order, func(id string) bool { return q.all[id].waits(now) })
}

// join appends new approvals to the shown ones, and drops nothing.
func (q *queue) join() {
	q.order = append(q.order, q.fresh...)
	q.fresh = nil
	q.lay()
}

// merge shows new approvals and drops ended ones, except under the cursor.
func (q *queue) merge(now time.Time) {
	q.order = append(q.order, q.fresh...)
	q.fresh = nil
	q.order = slices.DeleteFunc(q.order, func(id string) bool {
		if id == q.cursor || q.all[id].waits(now) {
			return false
		}
		delete(q.all, id)
		return true
	})
	// Runs by their oldest item, items by age.
	oldest := map[string]time.Time{}
	for _, id := range q.order {
		e := q.all[id]
		if t, ok := oldest[e.RunID]; !ok || e.RequestedAt.Before(t) {
			oldest[e.RunID] = e.RequestedAt
		}
	}
	type place struct {
		e   *entry
		run time.Time
	}
	places := make([]place, 0, len(q.order))
	for _, id := range q.order {
		e := q.all[id]
		places = append(places, place{e, oldest[e.RunID]})
	}
	slices.SortFunc(places, func(x, y place) int {
		if x.e.RunID != y.e.RunID {
			return cmp.Or(x.run.Compare(y.run), cmp.Compare(x.e.RunID, y.e.RunID))
		}
		return cmp.Or(x.e.RequestedAt.Compare(y.e.RequestedAt), cmp.Compare(x.e.ID, y.e.ID))
	})
	for i, p := range places {
		q.order[i] = p.e.ID
	}
	q.lay()
}

// lay computes the rows from the order.
func (q *queue) lay() {
	q.groups, q.rows = q.groups[:0], q.rows[:0]
	clear(q.at)
	for i, id := range q.order {
		run := q.all[id].RunID
		if n := len(q.groups); n == 0 || q.groups[n-1].run != run {
			q.groups = append(q.groups, group{run: run, from: i})
			q.rows = append(q.rows, queueRow{group: len(q.groups) - 1})
		}
		g := len(q.groups) - 1
		q.groups[g].n++
		q.at[id] = len(q.rows)
		q.rows = append(q.rows, queueRow{g, id})
	}
	if q.all[q.cursor] == nil {
		q.cursor = ""
	}
	if q.cursor == "" && len(q.order) > 0 {
		q.cursor = q.order[0]
	}
}

// index returns the cursor's index in the order, -1 if there is none.
func (q *queue) index() int {
	row, ok := q.at[q.cursor]
	if !ok {
		return -1
	}
	g := q.rows[row].group
	return row - g - 1
}

func (q *queue) move(delta int) {
	if len(q.order) == 0 {
		return
	}
	q.cursor = q.order[max(0, min(q.index()+delta, len(q.order)-1))]
}

// next moves to the next pending item, wrapping around; false if there is
// none.
func (q *queue) next(now time.Time) bool {
	at := q.index()
	for i := range q.order {
		id := q.order[(at+1+i+len(q.order))%len(q.order)]
		if id != q.cursor && q.all[id].waits(now) {
			q.cursor = id
			return true
		}
	}
	return false
}

// window returns the rows to show in h, including the cursor and, if there is
// room, the title of its group.
func (q *queue) window(h int) (from, to int) {
	if h <= 0 || len(q.rows) == 0 {
		return 0, 0
	}
	at := q.at[q.cursor]
	first := at
	if h > 1 && at > 0 && q.rows[at-1].id == "" {
		first = at - 1
	}
	if first < q.top {
		q.top = first
	}
	if at >= q.top+h {
		q.top = at - h + 1
	}
	q.top = max(0, min(q.top, len(q.rows)-h))
	return q.top, min(len(q.rows), q.top+h)
}

// waitingCounts counts pending approvals by tier, with the earliest deadline.
type waitingCounts struct {
	total int
	tiers [6]int // T0 to T4, then the rest
	next  time.Time
}

func (q *queue) waitingCounts(now time.Time) waitingCounts {
	if !q.stale && (q.count.total == 0 || now.Before(q.count.next)) {
		return q.count // nothing arrived, changed or expired since
	}
	var c waitingCounts
	for _, e := range q.all {
		if !e.waits(now) {
			continue
		}
		c.total++
		i := 5
		if s := short(e.Tier); s != "NEVER" {
			i = int(s[1] - '0')
		}
		c.tiers[i]++
		if c.next.IsZero() || e.deadline.Before(c.next) {
			c.next = e.deadline
		}
	}
	q.count, q.stale = c, false
	return c
}
