package workspace

import (
	"encoding/json"
	"testing"
)

// TestCommandResultsHaveTheirShape: the text is both streams in order with how it
// ended, the structured answer says the rest, as the tool's output schema has it.
func TestCommandResultsHaveTheirShape(t *testing.T) {
	for name, c := range map[string]struct {
		outcome    CommandOutcome
		text, data string
	}{
		"well": {CommandOutcome{Stdout: "a\n", Text: "a\n"}, "a\n", `{"changes":0,"exit_code":0,"stderr":"","stdout":"a\n","truncated":false}`},
		"ill": {CommandOutcome{Exit: 3, Stdout: "a\nc\n", Stderr: "b\n", Text: "a\nb\nc\n", Changes: 2}, "a\nb\nc\n(exit code 3)\n",
			`{"changes":2,"exit_code":3,"stderr":"b\n","stdout":"a\nc\n","truncated":false}`},
		"by a signal": {CommandOutcome{Signal: 9}, "(ended by signal 9)\n", `{"changes":0,"signal":9,"stderr":"","stdout":"","truncated":false}`},
		"cut":         {CommandOutcome{Stdout: "a", Text: "a", Truncated: true}, "a\n(its output was cut)\n", `{"changes":0,"exit_code":0,"stderr":"","stdout":"a","truncated":true}`},
		"no text":     {CommandOutcome{Stdout: "\xff", Text: "\xff"}, "\ufffd\n", `{"changes":0,"exit_code":0,"stderr":"","stdout":"` + "\ufffd" + `","truncated":false}`},
	} {
		got := commandResult(c.outcome)
		b, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var seen struct {
			Content           []struct{ Type, Text string }
			StructuredContent json.RawMessage
			IsError           bool
		}
		if err := json.Unmarshal(b, &seen); err != nil || len(seen.Content) != 1 || seen.Content[0].Text != c.text || string(seen.StructuredContent) != c.data || seen.IsError {
			t.Errorf("%s: %v, %s\nwant %q and %s", name, err, b, c.text, c.data)
		}
	}
}
