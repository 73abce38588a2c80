package tui

import (
	"encoding/json"
	"strings"
	"time"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// record is one record of the audit log, as far as the console shows it.
type record struct {
	index int64
	Event string    `json:"event"`
	At    time.Time `json:"timestamp"`
	Run   string    `json:"run_id"`
	Call  string    `json:"call_id"`
	Tool  struct {
		Server string `json:"server"`
		Name   string `json:"name"`
	} `json:"tool"`
	Gates struct {
		Approval string `json:"approval_id"`
	} `json:"gates"`
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
	Reason  string `json:"reason"`
	Status  string `json:"status"`
	Took    int64  `json:"duration_ms"`
	bad     bool   // it could not be read
}

func readRecord(r client.Record) record {
	out := record{}
	if err := json.Unmarshal(r.Event, &out); err != nil {
		out = record{bad: true, Event: "a record that cannot be read"}
	}
	out.index = r.Index
	return out
}

// text returns what a filter searches.
func (r record) text() string {
	return strings.ToLower(strings.Join([]string{r.Event, r.Run, r.Call, r.Tool.Server, r.Tool.Name, r.Gates.Approval, r.Verdict, r.Rule, r.Reason, r.Status}, " "))
}

// auditScreen shows the audit log, newest first.
type auditScreen struct {
	filteredList[record]
	next int64 // index at which older records begin
}

var auditKinds = []struct {
	name  string
	types []string
}{
	{"all", nil},
	{"decisions", []string{"approval_requested", "approval_decided", "approval_ended"}},
	{"calls", []string{"tool_call_requested", "tool_call_authorized", "tool_call_denied", "tool_call_completed", "tool_call_reconciled"}},
	{"refused calls", []string{"tool_call_denied"}},
	{"policy and definitions", []string{"policy_loaded", "tool_definition_changed", "switch_changed"}},
	{"alerts", []string{"alert_raised", "alert_acknowledged", "alert_resolved"}},
	{"daemon and sessions", []string{"daemon_started", "daemon_stopped", "session_opened", "session_closed"}},
}

func (a *auditScreen) ask(m *Model) tea.Cmd {
	return m.call.audit(a.filteredList.ask(), a.filter(0))
}

func (a *auditScreen) filter(from int64) client.AuditFilter {
	return client.AuditFilter{Types: auditKinds[a.kind].types, Limit: pageSize, From: from}
}

func (a *auditScreen) take(msg auditMsg) {
	page := make([]record, 0, len(msg.records.Records))
	for _, r := range msg.records.Records {
		page = append(page, readRecord(r))
	}
	if a.filteredList.take(msg.gen, page, msg.more, msg.err, record.text) {
		a.next, a.older = msg.records.Next, msg.records.Next > 0
	}
}

func (a *auditScreen) title() string { return "audit" }

func (a *auditScreen) update(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case visitMsg:
		return a.ask(m)
	case auditMsg:
		a.take(msg)
	case pressMsg:
		return a.press(m, msg)
	}
	return nil
}

func (a *auditScreen) press(m *Model, k pressMsg) tea.Cmd {
	if a.typed(k.KeyPressMsg, record.text) || m.listKey(k.KeyPressMsg, &a.list) {
		return nil
	}
	switch {
	case key.Matches(k, m.keys.Filter):
		a.kind = (a.kind + 1) % len(auditKinds)
		return a.ask(m)
	case key.Matches(k, m.keys.Search):
		a.search()
	case key.Matches(k, m.keys.More) && a.older && !a.loading:
		a.loading = true
		return m.call.audit(a.gen, a.filter(a.next))
	case key.Matches(k, m.keys.Open):
		r, ok := a.here()
		if !ok {
			return nil
		}
		if r.Gates.Approval == "" {
			m.say(info, "this record has no approval")
			return nil
		}
		return m.openStory(r.Gates.Approval)
	}
	return nil
}

func (a *auditScreen) keys(m *Model) []hint { return a.hints(m) }

func (a *auditScreen) draw(m *Model, w, h int) []string {
	return filteredRows(m, &a.filteredList, auditKinds[a.kind].name, m.recordRow, w, h)
}

// recordRow is one record of the log.
func (m *Model) recordRow(r record, here bool, w int) string {
	lead, below := m.gap(1), theme.Style{}
	if here {
		lead, below = seg{m.th.Accent, m.pen.text(m.sign.cursor)}, m.th.Selected
	}
	st := m.th.Text
	switch {
	case r.bad || r.Event == "tool_call_denied" || r.Event == "alert_raised" || r.Verdict == "deny":
		st = m.th.Bad
	case r.Event == "approval_decided" || r.Event == "tool_call_completed" && r.Status == "ok":
		st = m.th.Good
	case r.Event == "policy_loaded" || r.Event == "tool_definition_changed" || r.Event == "switch_changed" || r.Event == "approval_ended":
		st = m.th.Warn
	}
	out := row{lead, {m.th.Border, m.pen.say("%d", r.index).PadLeft(5)}, m.gap(1), {m.th.Dim, m.pen.text(r.At.In(m.cfg.Zone).Format("Jan 02 15:04:05"))}, m.gap(1),
		{st, m.pen.name(strings.ReplaceAll(r.Event, "_", " ")).Fit(21)}, m.gap(1)}
	add := func(st theme.Style, s string) {
		if s != "" {
			out = append(out, seg{st, m.pen.text(s)}, m.gap(1))
		}
	}
	if r.Tool.Name != "" {
		out = append(out, seg{m.th.Text, m.pen.name(r.Tool.Server + "/" + r.Tool.Name)}, m.gap(1))
	} else if r.Tool.Server != "" {
		out = append(out, seg{m.th.Text, m.pen.name(r.Tool.Server)}, m.gap(1))
	}
	add(m.look(r.Status), r.Status)
	if r.Event != "tool_call_completed" {
		add(m.th.Dim, r.Verdict)
	}
	add(m.th.Dim, r.Rule)
	add(m.th.Dim, clip(r.Reason, 500))
	return out.fitOn(w, below)
}
