package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	tiers "github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// crmPolicy binds the tools of the sample CRM to what they change.
const crmPolicy = `
roots: [%[1]s]
servers:
  crm:
    command: node
    args: [%[2]s, %[1]s/crm%[3]s]
    env: [HOME, PATH]
    tools:
      list_tickets: {tier: T0_READ}
      get_ticket: {tier: T0_READ}
      search_contacts: {tier: T0_READ}
      get_contact: {tier: T0_READ}
      update_contact:
        tier: T1_REVERSIBLE_WRITE
        effect: {json.merge: {read: {tool: get_contact, args: {client: args.client, contactId: args.contactId}}, at: /contact, merge: args.fields, ignore: [/updatedAt]}}
      replace_contact:
        tier: T2_IRREVERSIBLE_WRITE
        effect: {json.replace: {read: {tool: get_contact, args: {client: args.client, contactId: args.contactId}}, at: /contact, value: args.contact, ignore: [/updatedAt]}}
      patch_contact:
        tier: T1_REVERSIBLE_WRITE
        effect: {json.patch: {read: {tool: get_contact, args: {client: args.client, contactId: args.contactId}}, at: /contact, patch: args.patch, ignore: [/updatedAt]}}
      close_ticket:
        tier: T1_REVERSIBLE_WRITE
        effect: {json.merge: {read: {tool: get_ticket, args: {client: args.client, ticketId: args.ticketId}}, at: /ticket, merge: "{'status': 'closed', 'note': args.note}"}}
      delete_contact: {tier: T2_IRREVERSIBLE_WRITE, effect: opaque}
      send_message:
        tier: T4_IDENTITY_MONEY_OUTBOUND
        signed: no
        effect: {message: {to: args.to, subject: args.subject, body: args.body}}
      export_contacts: {tier: NEVER, says: "not by an agent"}
`

// newCRM is a guard before the sample CRM, whose data lies in the workspace.
func newCRM(t *testing.T, lie string) (*guard, *sdkClient) {
	t.Helper()
	node(t, "node-sqlite3-wasm/package.json")
	g := newGuard(t, "")
	script := filepath.Join(folder, "crm", "server.mjs")
	command, more := []string{"--", "node", script, filepath.Join(g.work, "crm")}, ""
	if lie != "" {
		command, more = append(command, "--lie", lie), ", --lie, "+lie
	}
	g.add("crm", command...)
	head := "version: 1\napprovers: {unsigned: any}\n"
	if err := os.WriteFile(g.paths.ConfigFile(), []byte(head+fmt.Sprintf(crmPolicy, g.work, script, more)), 0o600); err != nil {
		t.Fatal(err)
	}
	g.must("mcpguardd", "check")
	return g, g.sdk("agent", "crm")
}

// recordOf reads a member of what a tool answers, without what the server changes
// by itself.
func recordOf(t *testing.T, c *sdkClient, tool string, args m, member string) jsonvalue.Value {
	t.Helper()
	r := c.call(tool, args)
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.text()), &all); err != nil {
		t.Fatalf("%s was answered %s: %v", tool, r.raw, err)
	}
	v, err := jsonvalue.Decode(all[member])
	if err != nil {
		t.Fatal(err)
	}
	return jsonvalue.MergePatch(v, mustValue(t, `{"updatedAt":null}`))
}

func mustValue(t *testing.T, text string) jsonvalue.Value {
	t.Helper()
	v, err := jsonvalue.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func contact(id string) m { return m{"client": "acme", "contactId": id} }

func with(base m, more m) m {
	out := m{}
	for k, v := range base {
		out[k] = v
	}
	for k, v := range more {
		out[k] = v
	}
	return out
}

type recordCall struct {
	tool string
	tier tiers.Tier
	args m
}

// recordCalls are writes of records: merges with nulls, members that need
// escapes, arrays, whole records, patches.
var recordCalls = []recordCall{
	{"update_contact", tiers.T1ReversibleWrite, with(contact("c-1"), m{"fields": m{"email": "ada@lind-boats.example"}})},
	{"update_contact", tiers.T1ReversibleWrite, with(contact("c-1"), m{"fields": m{"phone": nil, "stage": "lost", "address": m{"city": nil, "zip": "24103"}}})},
	{"update_contact", tiers.T1ReversibleWrite, with(contact("c-1"), m{"fields": m{"a/b": m{"c~d": 1, "": true, "\"é\"": "√"}}})},
	{"update_contact", tiers.T1ReversibleWrite, with(contact("c-1"), m{"fields": m{"a/b": m{"c~d": nil, "": false}}})},
	{"update_contact", tiers.T1ReversibleWrite, with(contact("c-2"), m{"fields": m{"tags": []any{"x", []any{1, nil, m{"y": []any{}}}}}})},
	{"update_contact", tiers.T1ReversibleWrite, with(contact("c-2"), m{"fields": m{"tags": []any{}, "score": 0.25, "big": 9007199254740991}})},
	{"update_contact", tiers.T1ReversibleWrite, with(contact("c-2"), m{"fields": m{"address": "unknown"}})},
	{"update_contact", tiers.T1ReversibleWrite, with(contact("c-2"), m{"fields": m{"address": m{"lines": []any{"1 Marina", ""}}}})},
	{"replace_contact", tiers.T2IrreversibleWrite, with(contact("c-3"), m{"contact": m{"client": "acme", "id": "c-3", "name": "Wei Chen", "tags": []any{"event/2026", "a~b"}}})},
	{"patch_contact", tiers.T1ReversibleWrite, with(contact("c-3"), m{"patch": []any{
		m{"op": "add", "path": "/tags/0", "value": "first"}, m{"op": "replace", "path": "/tags/2", "value": nil}, m{"op": "add", "path": "/tags/-", "value": m{"k": "v"}},
		m{"op": "remove", "path": "/name"}, m{"op": "add", "path": "/x~1y", "value": []any{}}}})},
}

// TestCRMPreviewsAreTheChange: for every write of a record, what the reviewer saw
// applied to the record before gives the record after.
func TestCRMPreviewsAreTheChange(t *testing.T) {
	t.Parallel()
	g, c := newCRM(t, "")
	for _, w := range append(recordCalls, randomMerges(20)...) {
		read := m{"client": w.args["client"], "contactId": w.args["contactId"]}
		before := recordOf(t, c, "get_contact", read, "contact")
		shown := g.changesRecord(c, w.tool, w.args, w.tier)
		asShown(t, fmt.Sprintf("%s %s", w.tool, mustJSON(w.args)), before, recordOf(t, c, "get_contact", read, "contact"), shown)
	}
	read := m{"client": "acme", "ticketId": "t-7"}
	before := recordOf(t, c, "get_ticket", read, "ticket")
	shown := g.changesRecord(c, "close_ticket", with(read, m{"note": "done"}), tiers.T1ReversibleWrite)
	asShown(t, "close_ticket", before, recordOf(t, c, "get_ticket", read, "ticket"), shown)
}

// randomMerges are merges of random documents into one contact, so that each
// finds what the ones before it left.
func randomMerges(n int) []recordCall {
	r := rand.New(rand.NewPCG(1, 2))
	var value func(deep int) any
	value = func(deep int) any {
		switch r.IntN(8) {
		case 0:
			return nil
		case 1:
			return r.IntN(2) == 0
		case 2:
			return r.Int64N(1 << 53)
		case 3:
			return float64(r.IntN(1000)) / 8
		case 4:
			return []string{"", "a/b", "m~n", "é", "\u2028", "\"", "null"}[r.IntN(7)]
		case 5:
			list := make([]any, r.IntN(4))
			for i := range list {
				list[i] = value(deep + 1)
			}
			return list
		}
		if deep > 3 {
			return "deep"
		}
		object := m{}
		for range r.IntN(5) {
			object[[]string{"a", "b", "a/b", "~", "", "tags", "address"}[r.IntN(7)]] = value(deep + 1)
		}
		return object
	}
	var out []recordCall
	for i := range n {
		fields := m{"turn": i} // a merge that changes nothing would not wait
		for range 1 + r.IntN(4) {
			fields[[]string{"name", "tags", "address", "x", "a/b", "~1"}[r.IntN(6)]] = value(0)
		}
		out = append(out, recordCall{"update_contact", tiers.T1ReversibleWrite, with(contact("c-2"), m{"fields": fields})})
	}
	return out
}

// changesRecord calls a tool that changes a record, approves it, and returns the
// patch that the reviewer saw. It speaks to the daemon itself, so that many
// cases take little time.
func (g *guard) changesRecord(c *sdkClient, tool string, args m, tier tiers.Tier) jsonvalue.Patch {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	call := c.startCall(tool, args, options{})
	a := g.one()
	d, err := g.api.Get(ctx, a.ID)
	if err != nil {
		g.t.Fatal(err)
	}
	if a.Tier != tier.String() || d.Diff.Type != "json_patch" {
		g.t.Errorf("%s: tier %s, a %s diff", tool, a.Tier, d.Diff.Type)
	}
	patch, err := jsonvalue.ParsePatch(d.Diff.Patch)
	if err != nil {
		g.t.Fatalf("%s: the patch %s: %v", tool, d.Diff.Patch, err)
	}
	if _, err := g.api.Decide(ctx, a.ID, client.DecisionRequest{Decision: client.Allow, Digest: a.Digest, Reason: "reviewed by the test"}); err != nil {
		g.t.Fatal(err)
	}
	if r := c.answer(call); !r.ok() {
		g.t.Errorf("%s %v was approved and answered %s", tool, args, r.raw)
	}
	if d, err = g.api.Get(ctx, a.ID); err != nil || d.Status != client.Executed || d.Receipt.ReadBack != "verified" {
		g.t.Errorf("%s %v ended as %s, %+v, %v\n%s", tool, args, d.Status, d.Receipt, err, d.Diff.Text)
	}
	return patch
}

// undoes proposes to take a change back and allows that. It reports false, with
// the reason, where the guard refuses to.
func (g *guard) undoes(id string) (why string, ok bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d, err := g.api.Undo(ctx, id)
	var p *client.Problem
	if errors.As(err, &p) && p.Code == client.CodeNoUndo {
		return p.Detail, false
	}
	if err != nil {
		g.t.Fatal(err)
	}
	if d.Status != client.Pending || d.Undoes != id || d.RequestedBy.Actor != "developer" {
		g.t.Errorf("the way back from %s is %+v", id, d.Approval)
	}
	if again, err := g.api.Undo(ctx, id); err != nil || again.ID != d.ID {
		g.t.Errorf("asked for twice: %+v %v, want %s", again, err, d.ID)
	}
	if _, err := g.api.Decide(ctx, d.ID, client.DecisionRequest{Decision: client.Allow, Digest: d.Digest, Reason: "back to before"}); err != nil {
		g.t.Fatal(err)
	}
	if d := g.ended(d.ID, client.Executed); d.Receipt.ReadBack != "verified" {
		g.t.Errorf("the way back ended as %+v", d.Receipt)
	}
	return "", true
}

// newest is the last change that ran.
func (g *guard) newest() string {
	g.t.Helper()
	list := g.list(client.Executed)
	return list[len(list)-1].ID
}

// TestCRMUndo takes changes of records back by the tool that made them. Each
// record is what it was before, or the guard says why it cannot be.
func TestCRMUndo(t *testing.T) {
	t.Parallel()
	g, c := newCRM(t, "")
	restored := 0
	for _, w := range append(recordCalls, randomMerges(10)...) {
		read := m{"client": w.args["client"], "contactId": w.args["contactId"]}
		before := recordOf(t, c, "get_contact", read, "contact")
		g.changesRecord(c, w.tool, w.args, w.tier)
		after := recordOf(t, c, "get_contact", read, "contact")
		why, ok := g.undoes(g.newest())
		got, want := recordOf(t, c, "get_contact", read, "contact"), before
		if !ok {
			want = after
			if !strings.Contains(why, "cannot express") {
				t.Errorf("%s %s: %s", w.tool, mustJSON(w.args), why)
			}
		} else {
			restored++
		}
		if !got.Equal(want) {
			t.Errorf("%s %s, taken back (%v %s)\nbefore %s\n after %s\n   got %s", w.tool, mustJSON(w.args), ok, why, before, after, got)
		}
		if !ok {
			continue
		}
		if why, ok := g.undoes(g.newest()); !ok { // and forth again: later calls build on it
			t.Errorf("%s %s: the undo cannot be undone: %s", w.tool, mustJSON(w.args), why)
		}
		if got := recordOf(t, c, "get_contact", read, "contact"); !got.Equal(after) {
			t.Errorf("%s %s, done again\n after %s\n   got %s", w.tool, mustJSON(w.args), after, got)
		}
	}
	t.Logf("%d restored", restored)
	if restored < len(recordCalls) {
		t.Errorf("only %d were restored", restored)
	}
	// What has moved on stays, and what was sent is sent.
	g.changesRecord(c, "update_contact", with(contact("c-1"), m{"fields": m{"stage": "lead"}}), tiers.T1ReversibleWrite)
	first := g.newest()
	g.changesRecord(c, "update_contact", with(contact("c-1"), m{"fields": m{"stage": "won"}}), tiers.T1ReversibleWrite)
	if why, ok := g.undoes(first); ok || !strings.Contains(why, "moved on") {
		t.Errorf("what has moved on: %v %s", ok, why)
	}
	g.changesRecord(c, "close_ticket", m{"client": "acme", "ticketId": "t-7", "note": "done"}, tiers.T1ReversibleWrite)
	if why, ok := g.undoes(g.newest()); ok || !strings.Contains(why, "computed from its arguments") {
		t.Errorf("a change that its tool cannot take back: %v %s", ok, why)
	}
	waits(t, g, c, "send_message", m{"client": "acme", "to": []any{"ada@lind.example"}, "subject": "s", "body": "b"},
		change{tier: tiers.T4IdentityMoneyOutbound, kind: "message", shows: "lind.example"})
	if why, ok := g.undoes(g.newest()); ok || !strings.Contains(why, "cannot be undone from here") {
		t.Errorf("a message: %v %s", ok, why)
	}
}

// asShown compares a record after a call with what was shown of it.
func asShown(t *testing.T, what string, before, after jsonvalue.Value, shown jsonvalue.Patch) {
	t.Helper()
	want, err := shown.Apply(before)
	if err != nil {
		t.Errorf("%s: the patch does not fit the record %s: %v", what, before, err)
	} else if !after.Equal(want) {
		t.Errorf("%s\nbefore %s\n shown %s\n after %s", what, before, want, after)
	}
}

// TestCRMServerThatLies: a server that writes more than it was asked to, nothing,
// or something else, and says success each time, is caught by the read-back: the
// approval says diverged, and an alert is raised.
func TestCRMServerThatLies(t *testing.T) {
	t.Parallel()
	for _, lie := range []string{"more", "nothing", "elsewhere"} {
		t.Run(lie, func(t *testing.T) {
			t.Parallel()
			g, c := newCRM(t, lie)
			call := c.startCall("update_contact", with(contact("c-1"), m{"fields": m{"email": "ada@lind-boats.example"}}), options{})
			a := g.one()
			g.allow(a)
			if r := c.answer(call); !r.ok() && !strings.Contains(r.raw, "diverged") {
				t.Errorf("the call was answered %s", r.raw)
			}
			if d := g.ended(a.ID, client.Executed); d.Receipt.ReadBack != "diverged" {
				t.Errorf("lie %q was read back as %q", lie, d.Receipt.ReadBack)
			}
			if out := g.run(nil, "approve", "--list"); !strings.Contains(out.errors, "ALERT") {
				t.Errorf("no alert is shown: %s", out)
			}
		})
	}
}

// TestCRMMessage: a message is shown with its recipients and is what lies in the
// outbox afterwards; a full export is no tool at all.
func TestCRMMessage(t *testing.T) {
	t.Parallel()
	g, c := newCRM(t, "")
	args := m{"client": "acme", "to": []any{"ada@lind.example", "wei@harbour.example"}, "subject": "Hello", "body": "It is changed.\n"}
	waits(t, g, c, "send_message", args, change{tier: tiers.T4IdentityMoneyOutbound, kind: "message", shows: "harbour.example", before: func() {
		if list, err := os.ReadDir(filepath.Join(g.work, "crm", "outbox")); err != nil || len(list) > 0 {
			t.Errorf("the outbox before the decision: %v %v", list, err)
		}
	}})
	var sent struct {
		To            []string
		Subject, Body string
	}
	read(t, []byte(g.read(filepath.Join("crm", "outbox", "msg-0001.json"))), &sent)
	if strings.Join(sent.To, " ") != "ada@lind.example wei@harbour.example" || sent.Subject != "Hello" || sent.Body != "It is changed.\n" {
		t.Errorf("sent was %+v", sent)
	}
	denied(t, c, "export_contacts", m{"client": "acme", "to": "x@collect.example"}, "not by an agent")
}

// TestMemoryPreviewsAreTheChange drives the real knowledge graph: for every kind
// of write, and for many in a row, what was shown applied to the graph before
// gives the graph after.
func TestMemoryPreviewsAreTheChange(t *testing.T) {
	t.Parallel()
	script := node(t, memoryServer)
	g := newGuard(t, "")
	g.addWith([]string{"MEMORY_FILE_PATH=" + filepath.Join(g.work, "graph.jsonl")}, "memory", "--env", "MEMORY_FILE_PATH", "--", "node", script)
	c := g.sdk("agent", "memory")
	graph := func() jsonvalue.Value {
		t.Helper()
		v, err := jsonvalue.Decode([]byte(c.call("read_graph", m{}).text()))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	t1, t2 := tiers.T1ReversibleWrite, tiers.T2IrreversibleWrite
	entity := func(name string, observations ...any) m {
		return m{"name": name, "entityType": "person", "observations": append([]any{}, observations...)}
	}
	relation := func(from, to string) m { return m{"from": from, "to": to, "relationType": "knows"} }
	for _, w := range []recordCall{
		{"create_entities", t1, m{"entities": []any{entity("Ada", "likes engines"), entity("Ben"), entity("Chen", "é/~", "x")}}},
		{"create_entities", t1, m{"entities": []any{entity("Ada", "is there already"), entity("Dana")}}},
		{"create_relations", t1, m{"relations": []any{relation("Ada", "Ben"), relation("Ben", "Chen"), relation("Ada", "Dana")}}},
		{"create_relations", t1, m{"relations": []any{relation("Ada", "Ben"), relation("Dana", "Ada")}}},
		{"add_observations", t1, m{"observations": []any{m{"entityName": "Ada", "contents": []any{"likes engines", "writes"}}, m{"entityName": "Ben", "contents": []any{"a", "b"}}}}},
		{"delete_observations", t2, m{"deletions": []any{m{"entityName": "Ada", "observations": []any{"writes", "never said"}}, m{"entityName": "Nobody", "observations": []any{"x"}}}}},
		{"delete_relations", t2, m{"relations": []any{relation("Ada", "Ben"), relation("Ben", "Ada")}}},
		{"delete_entities", t2, m{"entityNames": []any{"Ada", "Nobody"}}},
	} {
		before := graph()
		shown := g.changesRecord(c, w.tool, w.args, w.tier)
		after := graph()
		asShown(t, w.tool, before, after, shown)
		// Each has a way back but the last, whose relations no single call restores.
		if why, ok := g.undoes(g.newest()); !ok {
			if w.tool != "delete_entities" || !strings.Contains(why, "no way back") {
				t.Errorf("%s: %s", w.tool, why)
			}
			continue
		}
		if got := graph(); !sorted(t, got).Equal(sorted(t, before)) {
			t.Errorf("%s, taken back:\nbefore %s\n   got %s", w.tool, before, got)
		}
		if _, ok := g.undoes(g.newest()); !ok { // and forth again
			t.Errorf("%s: the undo cannot be undone", w.tool)
		}
		if got := graph(); !sorted(t, got).Equal(sorted(t, after)) {
			t.Errorf("%s, done again:\n after %s\n   got %s", w.tool, after, got)
		}
	}
	// What the server would refuse is not offered.
	if w := c.call("add_observations", m{"observations": []any{m{"entityName": "Nobody", "contents": []any{"x"}}}}).word(); w.Status != "denied" {
		t.Errorf("an observation of nobody was answered %+v", w)
	}
}

// sorted is a graph without the order of its lists: what was removed and made
// again stands at the end.
func sorted(t *testing.T, graph jsonvalue.Value) jsonvalue.Value {
	t.Helper()
	var doc struct {
		Entities []struct {
			Name, EntityType string
			Observations     []string
		}
		Relations []map[string]string
	}
	read(t, graph.Encode(), &doc)
	var lines []string
	for _, e := range doc.Entities {
		slices.Sort(e.Observations)
		lines = append(lines, string(mustJSON(e)))
	}
	for _, r := range doc.Relations {
		lines = append(lines, string(mustJSON(r)))
	}
	slices.Sort(lines)
	return mustValue(t, string(mustJSON(lines)))
}
