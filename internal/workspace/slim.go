package workspace

import (
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// The library decodes a message several times, only for its own use: the tools
// take the bytes as admitted. Of a long text it only needs to know that it is
// a text, and that it is too long if a schema bounds it. Schema bounds are at
// most 4,096 characters, and a text of longBytes has more than shownBytes
// characters.
const (
	longBytes  = 128 << 10
	shownBytes = 20 << 10
)

// slim returns a call whose long text arguments are cut to shownBytes.
func slim(msg jsonrpc.Message) []byte {
	args, ok := msg.Param("arguments")
	if !ok || args.End-args.Start < longBytes {
		return msg.Raw
	}
	short := []byte(`"` + strings.Repeat("x", shownBytes) + `"`)
	var edits []jsonrpc.Edit
	for f := range jsonrpc.Members(msg.Raw, args) {
		if f.Value.End-f.Value.Start >= longBytes && jsonrpc.TypeOf(msg.Raw, f.Value) == jsonrpc.StringType {
			edits = append(edits, jsonrpc.Edit{Span: f.Value, With: short})
		}
	}
	return jsonrpc.ReplaceSpans(msg.Raw, edits)
}
