package guard

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
)

func TestTierNames(t *testing.T) {
	for tier := T0Read; tier <= Never; tier++ {
		got, err := ParseTier(tier.String())
		if err != nil || got != tier {
			t.Errorf("ParseTier(%q) = %v, %v; want %v", tier.String(), got, err, tier)
		}
	}
	if _, err := ParseTier("t0_read"); err == nil {
		t.Error("ParseTier takes another spelling; tiers are literal")
	}
	var zero Tier
	if zero.Valid() || zero.Bucket() != "never" || zero.Risk(false) != "high" {
		t.Errorf("the zero tier must be as restricted as NEVER: valid %v bucket %q risk %q", zero.Valid(), zero.Bucket(), zero.Risk(false))
	}
	if _, err := zero.MarshalText(); err == nil {
		t.Error("an invalid tier marshals")
	}
}

func TestZeroVerdictDenies(t *testing.T) {
	var v Verdict
	if v != Deny || v.String() != "deny" {
		t.Errorf("zero verdict is %v", v)
	}
	if err := v.UnmarshalText([]byte("yes")); err == nil || v != Deny {
		t.Errorf("an unknown verdict reads as %v, %v", v, err)
	}
}

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	last := ""
	for range 2000 {
		id := string(NewApprovalID())
		if err := CheckID(ApprovalPrefix, id); err != nil {
			t.Fatal(err)
		}
		if seen[id] {
			t.Fatalf("%s twice", id)
		}
		seen[id] = true
		if id < last {
			t.Fatalf("%s sorts before its predecessor %s", id, last)
		}
		last = id
	}
	good := string(NewRunID())
	for _, bad := range []string{
		"", "run_", good[1:], good + "0", "appr" + good[3:], strings.ToUpper(good),
		good[:len(good)-1] + "u", "run_8" + good[5:], good[:len(good)-1] + "/", "run_../../../../../../../../etc",
	} {
		if err := CheckID(RunPrefix, bad); err == nil {
			t.Errorf("CheckID takes %q", bad)
		}
	}
}

// TestTransitions lists the whole relation, so that any change to it also
// changes this test.
func TestTransitions(t *testing.T) {
	legal := map[string]bool{
		"pending approved": true, "pending denied": true, "pending expired": true, "pending cancelled": true, "pending stale": true,
		"approved executing": true, "approved stale": true, "approved lapsed": true, "approved cancelled": true,
		"executing executed": true, "executing failed": true, "executing unknown": true,
		"unknown executed": true, "unknown failed": true,
	}
	for _, from := range Statuses {
		for _, to := range Statuses {
			got := CheckTransition(from, to) == nil
			if want := legal[string(from)+" "+string(to)]; got != want {
				t.Errorf("%s → %s: legal %v, want %v", from, to, got, want)
			}
		}
	}
	for _, s := range []Status{Executed, Failed, Stale, Lapsed, Denied, Expired, Cancelled} {
		if !s.Final() {
			t.Errorf("%s is not final", s)
		}
	}
	if Status("").Valid() || Status("").Final() || Status("").Open() {
		t.Error("the zero status is something")
	}
}

func TestDeadlineTakesTheEarlierClock(t *testing.T) {
	start := Now{Wall: time.Unix(1000, 0), Boot: time.Hour, BootID: "a"}
	d := start.After(time.Minute)
	for name, c := range map[string]struct {
		now  Now
		want bool
	}{
		"at once":                    {start, false},
		"both passed":                {Now{start.Wall.Add(time.Minute), start.Boot + time.Minute, "a"}, true},
		"wall clock set back":        {Now{start.Wall.Add(-time.Hour), start.Boot + time.Minute, "a"}, true},
		"wall clock set forward":     {Now{start.Wall.Add(time.Hour), start.Boot, "a"}, true},
		"another boot, wall earlier": {Now{start.Wall.Add(time.Second), 2 * time.Hour, "b"}, false},
		"another boot, wall later":   {Now{start.Wall.Add(time.Hour), 0, "b"}, true},
	} {
		if got := d.Passed(c.now); got != c.want {
			t.Errorf("%s: passed %v, want %v", name, got, c.want)
		}
	}
	if !(Deadline{}).Passed(start) {
		t.Error("the zero deadline has not passed")
	}
}

func TestCheckReason(t *testing.T) {
	for in, want := range map[string]string{"  fine by me \n": "fine by me", "äöü": "äöü", "да!": "да!", "没问题": "没问题", "a b": "a b", strings.Repeat("ü", MaxReason): strings.Repeat("ü", MaxReason)} {
		if got, err := CheckReason(in); err != nil || got != want {
			t.Errorf("CheckReason(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", "  ", "ok", " ab ", "a\xffbc", strings.Repeat("x", MaxReason+1),
		// Invisible.
		"\u200b\u200b\u200b", "\u200b   \u200b", "\u2800\u2800\u2800\u2800", "\u3164\u3164\u3164", "\ufeff\u2060\u00ad\u034f", "\u202e\u202d\u2066\u2069",
		"\U000e0061\U000e0062\U000e0063", "\ufe0f\ufe0f\ufe0f", "\u0301\u0301\u0301", "\x1b\x1b\x1b\x07", "\u00a0\u2003\u00a0x\u2003", "ok\u200b\u200b", "\u200bok   \u200b",
		"\ue000\ue001\ue002", "\u1160\u115f\uffa0", "\ufffd\ufffd\ufffd",
	} {
		if _, err := CheckReason(in); err == nil {
			t.Errorf("CheckReason takes %q", in)
		}
	}
}

func binding() Binding {
	return Binding{
		Tenant: "acme", Run: "run_1", Server: "files", Tool: "write_file",
		Definition: digest.Sum([]byte("def")), Policy: "sha256:p", Args: []byte(`{"a":1}`), ArgsRaw: digest.Sum([]byte(`{ "a": 1}`)),
		Effects: []Effect{{Kind: "file.write", Resource: Target{Kind: "file", Key: "/ws/a", Path: "a", Root: "/ws", Write: true},
			Before: State{Exists: true, Kind: "file", SHA256: digest.Sum([]byte("x")), Size: 1, Mode: 0o644, Computed: true},
			After:  State{Exists: true, Kind: "file", SHA256: digest.Sum([]byte("y")), Size: 1, Mode: 0o644, Computed: true}}},
		Change: Change{Type: ChangeUnified, Text: "-x\n+y\n", Added: 1, Removed: 1},
	}
}

// TestPromise2_DigestBindsEveryField changes each field of a binding alone:
// each change must give another digest, and no two the same.
func TestPromise2_DigestBindsEveryField(t *testing.T) {
	changes := map[string]func(*Binding){
		"tenant":      func(b *Binding) { b.Tenant = "acme2" },
		"run":         func(b *Binding) { b.Run = "run_2" },
		"server":      func(b *Binding) { b.Server = "files2" },
		"tool":        func(b *Binding) { b.Tool = "edit_file" },
		"tier":        func(b *Binding) { b.Tier = T2IrreversibleWrite },
		"folder":      func(b *Binding) { b.Folder = "/elsewhere" },
		"roots":       func(b *Binding) { b.Roots = []string{"/ws", "/elsewhere"} },
		"definition":  func(b *Binding) { b.Definition[0]++ },
		"policy":      func(b *Binding) { b.Policy = "sha256:q" },
		"args":        func(b *Binding) { b.Args = []byte(`{"a":2}`) },
		"raw args":    func(b *Binding) { b.ArgsRaw[31]++ },
		"path":        func(b *Binding) { b.Effects[0].Resource.Key = "/ws/b" },
		"before":      func(b *Binding) { b.Effects[0].Before.SHA256[0]++ },
		"after":       func(b *Binding) { b.Effects[0].After.SHA256[0]++ },
		"mode":        func(b *Binding) { b.Effects[0].After.Mode = 0o755 },
		"diff":        func(b *Binding) { b.Change.Text += " z\n" },
		"patch":       func(b *Binding) { b.Change.Patch = json.RawMessage(`[]`) },
		"facts":       func(b *Binding) { b.Change.SQL = &SQLFacts{Text: "SELECT 1"} },
		"destination": func(b *Binding) { b.Effects[0].Dest = &Target{Key: "/ws/c"} },
		"no effect":   func(b *Binding) { b.Effects = nil },
		"more effect": func(b *Binding) { b.Effects = append(slices.Clone(b.Effects), b.Effects[0]) },
		// A field must not be able to borrow bytes from its neighbour.
		"shifted": func(b *Binding) { b.Server, b.Tool = "fileswrite", "_file" },
	}
	base, err := binding().Digest()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[digest.Digest]string{base: "unchanged"}
	for name, change := range changes {
		b := binding()
		change(&b)
		d, err := b.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[d]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[d] = name
	}
	again, _ := binding().Digest()
	if again != base {
		t.Error("the same binding has two digests")
	}
}

func TestSwitchScope(t *testing.T) {
	for _, c := range []struct {
		scope, server, tool string
		want                bool
	}{
		{"", "files", "write", true}, {"files", "files", "write", true}, {"files/write", "files", "write", true},
		{"files/read", "files", "write", false}, {"file", "files", "write", false}, {"files/", "files", "write", false},
	} {
		if got := (Switch{Scope: c.scope}).Stops(c.server, c.tool); got != c.want {
			t.Errorf("%q stops %s/%s: %v, want %v", c.scope, c.server, c.tool, got, c.want)
		}
	}
}

func TestReceiptStatusFailsClosed(t *testing.T) {
	for o, want := range map[Outcome]Status{OutcomeOK: Executed, OutcomeError: Failed, OutcomeUnknown: Unknown, OutcomeIncomplete: Unknown, "": Unknown} {
		if got := (Receipt{Outcome: o}).Status(); got != want {
			t.Errorf("%q → %s, want %s", o, got, want)
		}
	}
}

func TestACommandIsNotNamedByTheFirstPathThatItChanges(t *testing.T) {
	a := Approval{Tool: "run_command"}
	a.Preview.Effects = []Effect{{Kind: "file.write", Resource: Target{Kind: "file", Key: "/ws/a", Path: "a", Root: "/ws", Write: true}}}
	if got := a.Target(); got != "a" {
		t.Errorf("got the target %q, want the file", got)
	}
	a.Preview.Effects = []Effect{{Kind: "exec", Resource: Target{Kind: "file", Key: "/ws/.git/COMMIT_EDITMSG", Path: ".git/COMMIT_EDITMSG", Root: "/ws", Write: true}}}
	if got := a.Target(); got != "run_command" { // also in lists, which are without the facts of the change
		t.Errorf("got the target %q, want the tool", got)
	}
}
