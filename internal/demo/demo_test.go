package demo

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

// TestPlaysThrough runs the whole demo with nobody at a terminal.
func TestPlaysThrough(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := Run(ctx, Config{Out: &out, Version: "test"}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text := out.String()
	for _, want := range []string{
		"+    if not 0 <= percent <= 100:",    // the diff of the edit
		"verified by reading the target back", // a receipt
		"denied: those codes are still in use",
		"is expired",
		"the approval is stale",
		`"path":"/payment/retries"`, // the JSON change as a patch
		"The audit log verifies",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
