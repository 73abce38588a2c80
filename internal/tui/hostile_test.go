package tui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext/hostile"
)

// poison puts a text into every string of a value, except those that the
// daemon alone makes and that the console steers by.
func poison(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			poison(v.Elem(), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			switch name {
			case "ID", "ApprovalID", "Status", "Digest", "Type", "Patch", "Preview", "Arguments", "Version", "Replaces", "ReplacedBy":
				if v.Field(i).Kind() == reflect.String {
					continue
				}
			}
			poison(v.Field(i), text)
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i), text)
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String && !v.IsNil() {
			v.SetMapIndex(reflect.ValueOf(text), reflect.ValueOf(3))
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(text)
		}
	}
}

// poisoned is the full daemon with a text in every field of every answer.
func poisoned(text string) *fakeDaemon {
	f := full()
	line := strings.NewReplacer("\n", "", "\r", "").Replace(text)
	quoted, _ := json.Marshal(text)
	kinds := poisonedKinds(text, line, string(quoted))
	for i := range kinds {
		f.put(sample(30+i, []string{t1, t2, t3, t4}[i%4], "call", "target"))
	}
	for _, d := range f.items {
		tier := d.Tier
		d.SideEffects, d.Hazards = []string{"x", "y"}, []client.Hazard{{Kind: "k", Text: "t"}}
		d.Replaces = text
		poison(reflect.ValueOf(d).Elem(), text)
		d.Tier = tier
		d.Diff = client.NewDiff("unified", "--- a/"+line+"\n+++ b/"+line+"\n@@ -1,2 +1,3 @@ "+line+"\n "+line+"\n-"+line+"\n+"+line+" x\n+"+text+"\n")
		d.Arguments = json.RawMessage(text)
	}
	for i, k := range kinds {
		f.items[sample(30+i, t1, "", "").ID].Diff = k
	}
	for i := range f.servers {
		poison(reflect.ValueOf(&f.servers[i]).Elem(), text)
	}
	for i := range f.sessions {
		poison(reflect.ValueOf(&f.sessions[i]).Elem(), text)
	}
	for i := range f.switches {
		poison(reflect.ValueOf(&f.switches[i]).Elem(), text)
	}
	for i := range f.alerts {
		poison(reflect.ValueOf(&f.alerts[i]).Elem(), text)
	}
	poison(reflect.ValueOf(&f.status).Elem(), text)
	poison(reflect.ValueOf(&f.stats).Elem(), text)
	f.records = nil
	for i, e := range []string{"tool_call_denied", "approval_decided"} {
		f.records = append(f.records, client.Record{Index: int64(i), Event: json.RawMessage(fmt.Sprintf(
			`{"event":%q,"timestamp":"2026-03-14T09:26:53Z","run_id":%s,"tool":{"server":%s,"name":%s},"verdict":%s,"rule":%s,"reason":%s,"status":%s,"gates":{"approval_id":%s}}`,
			e, quoted, quoted, quoted, quoted, quoted, quoted, quoted, quoted))})
	}
	f.records = append(f.records, client.Record{Index: 9, Event: json.RawMessage(`{"event":` + string(quoted) + `}`)}, client.Record{Index: 10, Event: json.RawMessage(text)})
	return f
}

// poisonedKinds are changes of each type with a text in each place of it.
func poisonedKinds(text, line, quoted string) []client.Diff {
	patch := client.NewDiff("json_patch", "")
	patch.Preview = json.RawMessage(`[{"op":"replace","path":` + quoted + `,"from":` + quoted + `,"to":{"a":` + quoted + `}},{"op":"remove","path":"/a","from":` + quoted + `}]`)
	return []client.Diff{
		client.NewDiff("message", `{"from":`+quoted+`,"to":[`+quoted+`,"a@x.org"],"cc":`+quoted+`,"subject":`+quoted+`,"attachments":[`+quoted+`],`+quoted+`:1,"body":`+quoted+`}`),
		client.NewDiff("message", "from     "+line+"\nto       "+line+"@x.org, b@"+line+"\nbody\n"+text),
		client.NewDiff("exec", "folder    "+line+"\nprograms  "+line+"\ncommand\n"+text),
		client.NewDiff("exec", "folder    /\nargv      "+fmt.Sprintf("%q", []string{text, text})+"\n"),
		client.NewDiff("http", "method  "+line+"\nhost    "+line+"\nbody\n"+text),
		client.NewDiff("sql", "tables  "+line+"\nstatement\n"+text),
		client.NewDiff("opaque", `{"a":`+quoted+`,`+quoted+`:[`+quoted+`]}`),
		patch,
	}
}

// TestPromise7_HostileTextInEveryFieldOfEveryView looks at every frame on the
// way through all views.
func TestPromise7_HostileTextInEveryFieldOfEveryView(t *testing.T) {
	all := [][2]int{{80, 24}, {150, 40}, {50, 12}}
	for i, c := range hostile.Corpus() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			sizes := all[i%3 : i%3+1]
			if os.Getenv("MCPGUARD_TUI_DECISIONS") != "" { // the long run takes each size
				sizes = all
			}
			for _, size := range sizes {
				d := newDesk(t, poisoned(c.Text), func(cfg *Config) {
					cfg.Profile = colorprofile.TrueColor
					cfg.Worktree = func(string) string { return c.Text }
					cfg.Notices = []string{c.Text}
				})
				check := func(where string) {
					t.Helper()
					if err := hostile.Check([]byte(d.last.Content), true); err != nil {
						t.Fatalf("%s at %v: %v", where, size, err)
					}
					if err := hostile.Check([]byte(d.last.WindowTitle), false); err != nil {
						t.Fatalf("title: %v", err)
					}
					for i, r := range strings.Split(d.last.Content, "\n") {
						if w := ansi.StringWidth(r); w > d.m.w {
							t.Fatalf("%s: row %d has %d cells of %d: %q", where, i, w, d.m.w, r)
						}
					}
				}
				d.size(size[0], size[1])
				d.events(client.Event{Kind: client.EventResync})
				check("start")
				for _, sc := range scenes {
					for _, k := range sc.keys {
						d.press(k)
						check(sc.name)
					}
					d.send(tea.PasteMsg{Content: c.Text})
					check(sc.name + " with a paste")
					d.press("esc", "esc", "esc", "1")
				}
				for range 11 { // each item, and the refusals of it
					d.press("down", "i")
					check("info")
					for _, k := range []string{"i", "r", "o", "w", "z", "s", "f", "G"} {
						d.press(k)
						check("the change, " + k)
					}
					d.press("g", "s", "z", "w", "o", "o", "r", "r", "i")
					d.press("i", "a", "down", "enter")
					check("dialog")
					d.press("esc")
				}
				d.f.down = &client.Problem{Status: 409, Code: client.CodeEnded, Title: c.Text, Detail: c.Text, Remedy: c.Text, ReplacedBy: "x"}
				d.press("esc", "1", "d", "down", "enter", "enter")
				check("refusal")
				for _, k := range []string{"2", "3", "4", "5", "6", "7"} {
					d.press(k)
					check("failing " + k)
				}
				d.events(client.Event{Kind: client.EventLost, Error: c.Text})
				check("lost")
				d.m.onEvents(eventsMsg{gen: d.m.link.gen, err: &client.Problem{Status: 426, Code: client.CodeVersion, Detail: c.Text}})
				d.press("1")
				check("fatal")
			}
		})
	}
}

// TestPromise7_PlainModeToo reads what the sentences print.
func TestPromise7_PlainModeToo(t *testing.T) {
	for _, c := range hostile.Corpus() {
		t.Run(c.Name, func(t *testing.T) {
			f := poisoned(c.Text)
			var out bytes.Buffer
			id := tail(f.order[0])
			in := strings.NewReader("list\nshow " + id + "\nstatus\napprove " + id + "\nfine with me\n" + id + "\nshow nobody\n" + "nonsense\nhelp\nquit\n")
			if err := RunPlain(t.Context(), Config{API: f, In: in, Out: &out, Zone: start.Location(), Notices: []string{c.Text}}); err != nil {
				t.Fatal(err)
			}
			if err := hostile.Check(out.Bytes(), false); err != nil {
				t.Fatalf("%v:\n%s", err, out.String())
			}
			if len(f.words) != 1 {
				t.Errorf("%d decisions", len(f.words))
			}
		})
	}
}
