package tui

import (
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// The messages that commands send back. gen, where there is one, tells an
// answer to an older question from the one that is waited for.
type (
	// tickMsg comes once a second, so that times left stay true.
	tickMsg struct{}
	// armMsg comes while an item is painted and not armed yet.
	armMsg struct{}

	// eventsMsg carries changes in order; err ends the stream.
	eventsMsg struct {
		gen    int
		events []client.Event
		err    error
	}
	// askMsg says that it is time to ask for the daemon again.
	askMsg struct{ gen int }
	// pingMsg answers whether the daemon is back.
	pingMsg struct {
		gen int
		err error
	}
	// syncedMsg is the whole state, read again.
	syncedMsg struct {
		gen     int
		pending []client.Approval // all that wait
		partial bool              // there are more
		recent  []client.Approval // the newest of any status
		status  client.Status
		alerts  []client.Alert
		paused  []client.Switch
		asked   time.Time
		err     error
	}

	detailMsg struct {
		id     string
		detail client.Detail
		asked  time.Time
		err    error
	}
	// betweenMsg carries both sides of a change that moved.
	betweenMsg struct {
		old, fresh client.Detail
		err        error
	}
	decidedMsg struct {
		id, digest, word string
		detail           client.Detail
		err              error
		batch            bool
	}
	branchMsg struct{ folder, branch string }

	statusMsg struct {
		status client.Status
		err    error
	}
	alertsMsg struct {
		alerts []client.Alert
		err    error
	}
	acknowledgedMsg struct {
		id  string
		err error
	}
	undoMsg struct {
		of    string
		fresh client.Detail // the approval that waits now
		err   error
	}
	switchesMsg struct {
		list   []client.Switch
		change string // what was done, empty for a plain reading
		err    error
	}
	serversMsg struct {
		servers  []client.Server
		sessions []client.Session
		err      error
	}
	historyMsg struct {
		gen  int
		page client.Page
		more bool
		err  error
	}
	auditMsg struct {
		gen     int
		records client.Records
		more    bool
		err     error
	}
	storyMsg struct {
		id      string
		detail  client.Detail
		records client.Records
		err     error
	}
	statsMsg struct {
		stats client.Stats
		err   error
	}
	reasonsMsg struct{ reasons map[string][]string }
	savedMsg   struct{ err error }
)
