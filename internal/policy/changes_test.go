package policy

import (
	"strings"
	"testing"
)

func TestChanges(t *testing.T) {
	other := definitionOf("t", `{"type":"object"}`)
	def := definitionOf("t", anySchema)
	for _, c := range []struct {
		name, old, new string // bodies of the tool
		tail           string // appended to the new file
		want           string
		widens         bool
	}{
		{"lower tier", "tier: T2_IRREVERSIBLE_WRITE\neffect: opaque\n", "tier: T1_REVERSIBLE_WRITE\neffect: opaque\n", "", "tier T2_IRREVERSIBLE_WRITE → T1_REVERSIBLE_WRITE", true},
		{"higher tier", "tier: T1_REVERSIBLE_WRITE\neffect: opaque\n", "tier: NEVER\n", "", "tier T1_REVERSIBLE_WRITE → NEVER", false},
		{"deny removed", write + "deny: [{when: args.n == 1}]\n", write, "", "deny: removed: args.n == 1", true},
		{"deny added", write, write + "deny: [{when: args.n == 1}]\n", "", "deny: added: args.n == 1", false},
		{"allow added", write, write + "allow: [{when: args.n == 1}]\n", "", "allowed only under 1 conditions", false},
		{"second allow", write + "allow: [{when: args.n == 1}]\n", write + "allow: [{when: args.n == 1}, {when: args.n == 2}]\n", "", "allow: added: args.n == 2", true},
		{"allow dropped", write + "allow: [{when: args.n == 1}]\n", write, "", "no longer limited", true},
		{"approval off", write, write + "approval: {required: false}\n", "", "approval required: true → false", true},
		{"approval on", write + "approval: {required: false}\n", write, "", "approval required: false → true", false},
		{"limit raised", write + "limits: {calls_per_run: 5}\n", write + "limits: {calls_per_run: 6}\n", "", "calls_per_run: 5 → 6", true},
		{"limit removed", write + "limits: {calls_per_run: 5}\n", write, "", "calls_per_run: 5 → no limit", true},
		{"limit lowered", write + "limits: {calls_per_run: 5}\n", write + "limits: {calls_per_run: 4}\n", "", "calls_per_run: 5 → 4", false},
		{"rate raised", write + "limits: {rate: 5/m}\n", write + "limits: {rate: 1/s}\n", "", "rate: 5/m → 1/s", true},
		{"rate lowered", write, write + "limits: {rate: 5/m}\n", "", "rate: 60/m → 5/m", false},
		{"tenant added", write + "tenants: [acme]\n", write + "tenants: [acme, rival]\n", "", "tenants: rival added", true},
		{"environment removed", write, write + "environments: [dev]\n", "", "environments: prod removed", false},
		{"extra members", write, write + "schema: {extra_members: allow}\n", "", "are accepted", true},
		{"sandbox none", "tier: T3_EXECUTE\neffect: opaque\n", "tier: T3_EXECUTE\neffect: opaque\nsandbox: none\n", "", `sandbox "" → "none"`, true},
		{"signed no", "tier: T4_IDENTITY_MONEY_OUTBOUND\neffect: opaque\n", "tier: T4_IDENTITY_MONEY_OUTBOUND\neffect: opaque\nsigned: no\n", "", "unsigned decisions accepted", true},
		{"effect", write, "tier: T1_REVERSIBLE_WRITE\neffect: opaque\n", "", "effect", true},
		{"conditions for tiers", write + "tiers_when: [{when: args.n == 1, tier: T2_IRREVERSIBLE_WRITE}]\n", write, "", "tiers_when", true},
		{"side effects", write + "side_effects: [{says: x}]\n", write, "", "side effects changed", false},
		{"label added", write, write + "labels: [outbound]\n", "", "labelled outbound", false},
		{"label removed", write + "labels: [private]\n", write, "", "no longer labelled private", false},
		{"longer ttl", write + "approval: {ttl: 1m}\n", write + "approval: {ttl: 2m}\n", "", "ttl: 1m0s → 2m0s", true},
		{"sensitive off", "tier: T0_READ\nsensitive: true\n", "tier: T0_READ\n", "", "sensitive", true},
		{"relaxed reads", write, write, "audit: {reads: relaxed}\n", "audit.reads: strict → relaxed", true},
		{"unsigned anywhere", write, write, "approvers: {unsigned: any}\n", "approvers.unsigned: terminal → any", true},
		{"unsigned nowhere", write, write, "approvers: {unsigned: never}\n", "approvers.unsigned: terminal → never", false},
		{"hold", write, write, "hold: {default: 20s}\n", "hold:", false},
		{"time box", write, write, "time_boxes: {T1_REVERSIBLE_WRITE: {ttl: 20m}}\n", "time box of T1_REVERSIBLE_WRITE, ttl: 15m0s → 20m0s", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := Changes(compile(t, tool(c.old), def), compile(t, tool(c.new)+c.tail, def))
			found := false
			for _, x := range list {
				if strings.Contains(x.Text, c.want) {
					found = true
					if x.Widens != c.widens {
						t.Errorf("%q widens: %v", x.Text, x.Widens)
					}
				} else if x.Widens && !c.widens {
					t.Errorf("%q is said to widen", x.Text)
				}
			}
			if !found {
				t.Errorf("got %+v, want %q", list, c.want)
			}
		})
	}
	base := tool(write)
	for _, c := range []struct {
		name, new string
		def       []byte
		want      string
		widens    bool
	}{
		{"nothing", base + "# a comment\n", def, "", false},
		{"new tool", base + "      u: {tier: T0_READ}\n", def, "tool s/u is new: T0_READ", true},
		{"new NEVER", base + "      u: {tier: NEVER}\n", def, "tool s/u is new: NEVER", false},
		{"new server", base + "  z: {command: /bin/z, tools: {}}\n", def, "server z is new", true},
		{"another command", strings.Replace(base, "/bin/x", "/bin/y", 1), def, "command or settings changed", true},
		{"wider root", strings.Replace(base, "roots: [/w]", "roots: [/w, /home]", 1), def, "roots of profile p: /home added", true},
		{"narrower root", strings.Replace(base, "roots: [/w]", "roots: [/v]", 1), def, "roots of profile p: /w removed", false},
		{"environment of a profile", strings.Replace(base, "environment: prod", "environment: staging", 1), def, "profile prod:", true},
		{"no profile is left", "version: 1\n", def, "profile p is gone", false},
		{"resources", strings.Replace(base, "command: /bin/x", "command: /bin/x\n    resources: allow", 1), def, "resources: deny → allow", true},
		{"method", strings.Replace(base, "command: /bin/x", "command: /bin/x\n    methods: {x/y: allow}", 1), def, "method x/y: none → allow", true},
		{"workspace", strings.Replace(base, "command: /bin/x", "command: /bin/x\n    workspaces: [client, /etc]", 1), def, "workspaces: /etc added", true},
		{"environment variable", strings.Replace(base, "command: /bin/x", "command: /bin/x\n    env: [HOME]", 1), def, "environment variables: HOME added", true},
		{"accepted", base, other, "another definition of s/t accepted", true},
		{"nothing accepted", base, nil, "no longer accepted", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var defs [][]byte
			if c.def != nil {
				defs = append(defs, c.def)
			}
			list := Changes(compile(t, base, def), compile(t, c.new, defs...))
			if c.want == "" {
				if len(list) > 0 {
					t.Errorf("got %+v, want nothing", list)
				}
				return
			}
			found := false
			for _, x := range list {
				if strings.Contains(x.Text, c.want) {
					found = true
					if x.Widens != c.widens {
						t.Errorf("%q widens: %v", x.Text, x.Widens)
					}
				}
			}
			if !found {
				t.Errorf("got %+v, want %q", list, c.want)
			}
		})
	}
}

// TestEveryHashChangeIsReported: two policies with different hashes always have a
// reported difference.
func TestEveryHashChangeIsReported(t *testing.T) {
	base := compile(t, tool(write))
	for _, extra := range []string{
		"tenants: []\n", "says: x\n", "approval: {use_within: 1m}\n", "limits: {output: 1KiB}\n", "limits: {timeout: 1s}\n", "limits: {concurrency: 4}\n",
		"sensitive: [{when: args.n == 1}]\n",
	} {
		next, err := tryCompile(t, tool(write+extra))
		if err != nil {
			continue // does not load, which is reported anyway
		}
		if next.Hash() == base.Hash() || len(Changes(base, next)) == 0 {
			t.Errorf("%q changes in silence", extra)
		}
	}
}

// TestRecordChangesAreNamedSeparately: a difference in a record is named
// separately, however much surrounds it.
func TestRecordChangesAreNamedSeparately(t *testing.T) {
	record := func(more string) *Set {
		return compile(t, tool("tier: T1_REVERSIBLE_WRITE\neffect: {json.merge: {read: {file: \"'a.json'\"}, merge: args.fields, "+more+"}}\n"))
	}
	const paths = "paths: {allow: [/stage], ask: [/email], deny: [/owner, /id]}"
	for _, c := range []struct {
		name, old, new, want string
		widens               bool
	}{
		{"deny less", paths, strings.Replace(paths, "/owner, ", "", 1), "denied paths: /owner removed", true},
		{"deny more", paths, strings.Replace(paths, "/owner", "/owner, /x", 1), "denied paths: /x added", false},
		{"ask less", paths, strings.Replace(paths, "/email", "", 1), "paths that are asked for: /email removed", true},
		{"allow more", paths, strings.Replace(paths, "/stage", "/stage, /email", 1), "allowed paths: /email added", true},
		{"allow less", paths, strings.Replace(paths, "/stage", "", 1), "allowed paths: /stage removed", false},
		{"no rules", paths, "at: ''", "no rules for single paths any more", true},
		{"ignore more", paths, "ignore: [/owner], " + paths, "not compared: /owner added", true},
		{"ignore less", "ignore: [/owner]", "at: ''", "not compared: /owner removed", false},
		{"keys", paths, "keys: {/list: id}, " + paths, "keys of /list: none → id", true},
		{"another place", "at: /a", "at: /b", "at: /a → /b", true},
		{"made", "at: /a", "at: /a, missing: create", "missing: none → create", true},
		{"a trial run", "at: /a", "at: /a, dry_run: args.dry", "dry_run: none → args.dry", true},
	} {
		list := Changes(record(c.old), record(c.new))
		found := false
		for _, x := range list {
			if strings.Contains(x.Text, c.want) {
				found = x.Widens == c.widens
			} else if x.Widens && !c.widens {
				t.Errorf("%s: %q is said to widen", c.name, x.Text)
			}
		}
		if !found {
			t.Errorf("%s: got %+v, want %q, widens %v", c.name, list, c.want, c.widens)
		}
	}
	long := strings.Repeat("/x, ", 200)
	a, b := apart("["+long+"/owner, "+long+"]", "["+long+long+"]")
	if len(a) > 60 || !strings.Contains(a, "/owner") || strings.Contains(b, "owner") {
		t.Errorf("what differs is shown as %s → %s", a, b)
	}
}
