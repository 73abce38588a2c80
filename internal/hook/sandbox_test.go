package hook

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestSandbox(t *testing.T) {
	const whole = `{"model": "x", "sandbox": {"enabled": true, "failIfUnavailable": true, "allowUnsandboxedCommands": false}}`
	for name, c := range map[string]struct {
		files   []string
		cmdline string
		want    string
	}{
		"on":                  {files: []string{"", whole}, want: SandboxOn},
		"in two files":        {files: []string{`{"sandbox": {"enabled": true}}`, `{"sandbox": {"failIfUnavailable": true}}`}, want: SandboxOn},
		"nothing said":        {files: []string{"", `{}`}, want: "switched off"},
		"off":                 {files: []string{`{"sandbox": {"enabled": false, "failIfUnavailable": true}}`}, want: "switched off"},
		"may be left out":     {files: []string{`{"sandbox": {"enabled": true}}`}, want: "failIfUnavailable"},
		"may be left out two": {files: []string{whole, `{"sandbox": {"failIfUnavailable": false}}`}, want: "failIfUnavailable"},
		"disagree":            {files: []string{`{"sandbox": {"enabled": false}}`, whole}, want: "disagree"},
		"exempt":              {files: []string{whole, `{"sandbox": {"excludedCommands": ["docker *"]}}`}, want: "exempts"},
		"systems":             {files: []string{`{"sandbox": {"enabledPlatforms": ["macos"]}}`, whole}, want: "enabledPlatforms"},
		"weaker":              {files: []string{whole, `{"sandbox": {"enableWeakerNestedSandbox": true}}`}, want: "weakens"},
		"not JSON":            {files: []string{whole, `{"sandbox": // no`}, want: "cannot be read"},
		"another type":        {files: []string{whole, `{"sandbox": {"enabled": "yes"}}`}, want: "cannot be read"},
		"another case":        {files: []string{whole, `{"sandbox": {"Enabled": true, "FAILIFUNAVAILABLE": true}}`}, want: "exactly one way"},
		"another case alone":  {files: []string{`{"Sandbox": {"enabled": true, "failIfUnavailable": true}}`}, want: "exactly one way"},
		"twice":               {files: []string{`{"sandbox": {"enabled": false, "enabled": true, "failIfUnavailable": true}}`}, want: "exactly one way"},
		"the whole twice":     {files: []string{`{"sandbox": {"enabled": false}, "sandbox": {"enabled": true, "failIfUnavailable": true}}`}, want: "exactly one way"},
		"two texts":           {files: []string{whole + whole}, want: "exactly one way"},
		"unreadable":          {files: []string{whole, "error"}, want: "cannot be read"},
		"other sources":       {files: []string{whole}, cmdline: "claude --setting-sources user", want: "--setting-sources"},
		"a flag about it":     {files: []string{whole}, cmdline: "claude --no-sandbox=1", want: "--no-sandbox"},
		"other flags":         {files: []string{whole}, cmdline: "claude -p sandbox --model x", want: SandboxOn},
	} {
		var files []Settings
		for _, f := range c.files {
			s := Settings{Name: "settings.json", Raw: []byte(f)}
			if f == "error" {
				s.Err = errors.New("no")
			}
			files = append(files, s)
		}
		got := Sandbox(files, strings.Fields(c.cmdline))
		if (got == SandboxOn) != (c.want == SandboxOn) || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestGiven(t *testing.T) {
	line := strings.Fields("claude --mcp-config a.json b.json --verbose x --mcp-config=c.json d.json -p y")
	if got := Given(line, "--mcp-config"); !slices.Equal(got, []string{"a.json", "b.json", "c.json", "d.json"}) {
		t.Errorf("%q", got)
	}
}
