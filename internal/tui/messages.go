package tui

import (
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// The messages that commands send back. gen, if present, distinguishes the
// response to an older request from the awaited one.
type (
	// tickMsg arrives once a second and updates remaining times.
	tickMsg struct{}
	// armMsg arrives while an item is painted and not yet armed.
	armMsg struct{}

	// eventsMsg carries changes in order; err ends the stream.
	eventsMsg struct {
		gen    int
		events []client.Event
		err    error
	}
	// askMsg says that it is time to try the daemon again.
	askMsg struct{ gen int }
	// pingMsg says whether the daemon answers again.
	pingMsg struct {
		gen int
		err error
	}
	// syncedMsg is the whole state, reread.
	syncedMsg struct {
		gen     int
		pending []client.Approval // all pending approvals
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
	// betweenMsg carries both versions of a change.
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
		fresh client.Detail // the approval that is pending now
		err   error
	}
	switchesMsg struct {
		list   []client.Switch
		change string // what was done; empty if it was only read
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
