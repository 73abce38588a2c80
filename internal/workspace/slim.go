package workspace

import (
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// The library decodes a message several times over, for itself alone: the tools
// take the bytes as they were admitted. Of a long text it needs to know no more
// than that it is one, and too long where a schema bounds it: the bounds are
// 4,096 characters at most, and what has longBytes has more than shownBytes
// characters.
const (
	longBytes  = 128 << 10
	shownBytes = 20 << 10
)

// slim returns a call with long texts among its arguments cut to shownBytes.
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
