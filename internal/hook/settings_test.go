package hook

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestInstall(t *testing.T) {
	for name, before := range map[string]string{
		"none":     "",
		"empty":    "{}",
		"compact":  `{"model":"x","permissions":{"allow":["Read"]}}`,
		"usual":    "{\n  \"model\": \"x\",\n  \"n\": 1e3,\n  \"env\": {\n    \"A\": \"\\u00e4<b>\"\n  }\n}\n",
		"tabs":     "{\n\t\"model\": \"x\"\n}\n",
		"crlf":     "{\r\n  \"model\": \"x\",\r\n  \"hooks\": {\r\n    \"Notification\": []\r\n  }\r\n}\r\n",
		"no end":   "{\n    \"model\": \"x\"\n}",
		"hooks":    "{\n  \"hooks\": {\n    \"PreToolUse\": [\n      {\n        \"matcher\": \"Bash\",\n        \"hooks\": [{\"type\": \"command\", \"command\": \"./mine.sh\"}]\n      }\n    ],\n    \"Notification\": []\n  }\n}\n",
		"no hooks": "{\n  \"hooks\": {}\n}\n",
	} {
		after, err := Install([]byte(before), "/opt/my tools/mcpguardd")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var doc struct {
			Hooks map[string][]group
		}
		if err := json.Unmarshal(after, &doc); err != nil {
			t.Errorf("%s: %v\n%s", name, err, after)
			continue
		}
		for _, e := range entries("") {
			list := doc.Hooks[e.event]
			if len(list) == 0 || len(list[len(list)-1].Hooks) != 1 || !isOurs(list[len(list)-1].Hooks[0].Command) {
				t.Errorf("%s: %s has %+v", name, e.event, list)
			}
		}
		pre := doc.Hooks[PreToolUse]
		if got := pre[len(pre)-1].Hooks[0]; got.Command != "'/opt/my tools/mcpguardd' hook pre --timeout 3590 || exit 2" || got.Timeout != 3600 || got.OnFailure != "block" {
			t.Errorf("%s: %+v", name, got)
		}
		if bytes.Contains([]byte(before), []byte("\r\n")) && bytes.Count(after, []byte("\n")) != bytes.Count(after, []byte("\r\n")) {
			t.Errorf("%s: line ends of both kinds: %q", name, after)
		}
		// Everything that was there still is, byte for byte.
		for line := range strings.Lines(before) {
			if l := strings.TrimRight(line, ",]}\r\n "); len(l) > 3 && !strings.HasSuffix(l, "[") && !bytes.Contains(after, []byte(l)) {
				t.Errorf("%s: %q is gone:\n%s", name, l, after)
			}
		}
		if again, err := Install(after, "/opt/my tools/mcpguardd"); err != nil || !bytes.Equal(again, after) {
			t.Errorf("%s: installed twice: %v\n%s", name, err, again)
		}
		if moved, err := Install(after, "/elsewhere/mcpguardd"); err != nil || strings.Contains(string(moved), "my tools") || strings.Count(string(moved), "/elsewhere/mcpguardd") != len(entries("")) {
			t.Errorf("%s: moved: %v\n%s", name, err, moved)
		}
		now, err := Installed(after)
		then, xerr := Installed([]byte(before))
		if !now || then || err != nil || xerr != nil {
			t.Errorf("%s: installed is not told: %v %v", name, err, xerr)
		}
		removed, err := Remove(after)
		want := before
		if want == "" || name == "no hooks" {
			want = "{}"
		}
		if err != nil || !sameJSON(removed, []byte(want)) {
			t.Errorf("%s: after removing: %v\n%s", name, err, removed)
		}
	}
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}

func TestRemoveKeepsOthers(t *testing.T) {
	const mixed = `{"hooks":{"PreToolUse":[{"matcher":"*","hooks":[{"type":"command","command":"/x/mcpguardd hook pre"},{"type":"command","command":"mine hook pre"}]}]}}`
	got, err := Remove([]byte(mixed))
	if err != nil || !sameJSON(got, []byte(`{"hooks":{"PreToolUse":[{"matcher":"*","hooks":[{"type":"command","command":"mine hook pre"}]}]}}`)) {
		t.Errorf("%s, %v", got, err)
	}
}

func TestRefusedSettings(t *testing.T) {
	for bad, want := range map[string]string{
		"[]":                                  "not a JSON object",
		"{":                                   "line 1, column 2: the JSON ends too early",
		"// x\n{}":                            "line 1, column 1: a comment",
		"{\n  \"ä\": /* x */ 1\n}":            "line 2, column 8: a comment",
		"{\n  \"a\": [1,],\n  \"b\": 1\n}":    "line 2, column 11: a comma before",
		"{\"a\" 1}":                           "line 1, column 6: ",
		"\xef\xbb\xbf{}":                      "line 1, column 1: a byte order mark",
		"{\"a\": \"\xff\"}":                   "line 1, column 8: ",
		`{"a":1,"a":2}`:                       "twice",
		`{"hooks":[]}`:                        "its hooks are not",
		`{"hooks":null}`:                      "its hooks are not",
		`{"hooks":{"PreToolUse":{}}}`:         "its hooks are not",
		"{\n  // \"hook pre\"\n\"hooks\":{}}": "line 2, column 3: a comment",
	} {
		if out, err := Install([]byte(bad), "/mcpguardd"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s became %s, %v; want %s", bad, out, err, want)
		}
	}
	// Unreadable settings may contain hooks of the guard, so Installed must
	// not say that they do not.
	if found, err := Installed([]byte("// x\n{\"hooks\":{}}")); err == nil {
		t.Errorf("installed: %v", found)
	}
}
