package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// largeSize is the size of the document that is written as a whole.
const largeSize = 12 << 20

// document makes a JSON document of about n bytes with many records.
func document(n int, change string) []byte {
	b := make([]byte, 0, n+512)
	b = append(b, "[\n"...)
	for i := 0; len(b) < n; i++ {
		word := "as it was"
		if i%1000 == 0 {
			word = change
		}
		b = fmt.Appendf(b, "  {\"id\": %d, \"name\": \"record %d\", \"note\": %q, \"tags\": [\"a\", \"b\", \"c\"], \"at\": {\"line\": %d, \"of\": 7.5}},\n", i, i, word, i*3)
	}
	return append(bytes.TrimSuffix(b, []byte(",\n")), "\n]\n"...)
}

// large measures the writing of a large JSON document: from the call to the
// approval that waits, and from the decision to the answer.
func (b *bench) large(ctx context.Context) error {
	fmt.Printf("Writing a JSON document of %d MB\n", largeSize>>20)
	const name = "large.json"
	if err := os.WriteFile(name, document(largeSize, "as it was"), 0o600); err != nil {
		return err
	}
	defer os.Remove(name)
	w, err := b.strict.session("work")
	if err != nil {
		return err
	}
	defer w.close()
	var asked, ran, whole, busy times
	for i := range max(1, b.scale/2) {
		content, err := json.Marshal(string(document(largeSize, "changed "+strconv.Itoa(i))))
		if err != nil {
			return err
		}
		call := `"method":"tools/call","params":{"name":"write_file","arguments":{"path":"` + name + `","content":` + string(content) + `}}`
		before := b.strict.used()
		began := time.Now()
		if _, err := w.send(call); err != nil {
			return err
		}
		waiting, err := b.strict.pending(ctx, 1)
		if err != nil {
			return err
		}
		first := time.Since(began)
		decided := time.Now()
		if _, err := b.strict.api.Decide(ctx, waiting[0].ID, client.DecisionRequest{Decision: client.Allow, Digest: waiting[0].Digest, Reason: "measured"}); err != nil {
			return err
		}
		answer, err := w.answer()
		if err != nil || bytes.Contains(answer, []byte(`"isError":true`)) {
			return fmt.Errorf("the write was answered %.300s, %w", answer, err)
		}
		second := time.Since(decided)
		busy = append(busy, b.strict.used()-before)
		asked, ran, whole = append(asked, first), append(ran, second), append(whole, first+second)
	}
	row("from the call to the question", asked)
	row("from the decision to the answer", ran)
	row("processor time of the daemon", busy)
	verdict("call and decision to the end", whole.median().Seconds(), " s", true, 1)
	return nil
}
