// Command echo is the smallest MCP server that can be measured through the
// guard: one read and one write, both of which do nothing. It answers with as
// little work as a server can, so that what a measurement shows is the path to
// it and not the server. One more read never answers. It will not check what it is asked.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"time"
)

const (
	initialized = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1.0.0"}}`
	listed      = `{"tools":[{"name":"echo","description":"Answers.","inputSchema":{"type":"object","properties":{"message":{"type":"string"}}},"annotations":{"readOnlyHint":true}},` +
		`{"name":"stall","description":"Never answers.","inputSchema":{"type":"object","properties":{"message":{"type":"string"}}}},` +
		`{"name":"note","description":"Answers with the time at which it was called, in nanoseconds.","inputSchema":{"type":"object","properties":{"message":{"type":"string"}}}}]}`
	echoed = `{"content":[{"type":"text","text":"hello"}]}`
)

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	var out []byte
	for {
		line, err := in.ReadSlice('\n')
		now := time.Now().UnixNano()
		if err != nil {
			return
		}
		id := idOf(line)
		if id == nil {
			continue // a notification
		}
		result := "{}"
		switch {
		case bytes.Contains(line, []byte(`"tools/call"`)) && bytes.Contains(line, []byte(`"note"`)):
			result = fmt.Sprintf(`{"content":[{"type":"text","text":"%d"}]}`, now)
		case bytes.Contains(line, []byte(`"tools/call"`)) && bytes.Contains(line, []byte(`"stall"`)):
			continue
		case bytes.Contains(line, []byte(`"tools/call"`)):
			result = echoed
		case bytes.Contains(line, []byte(`"tools/list"`)):
			result = listed
		case bytes.Contains(line, []byte(`"initialize"`)):
			result = initialized
		}
		out = append(out[:0], `{"jsonrpc":"2.0","id":`...)
		out = append(append(out, id...), `,"result":`...)
		out = append(append(out, result...), "}\n"...)
		if _, err := os.Stdout.Write(out); err != nil {
			return
		}
	}
}

// idOf returns the raw id of a request as the guard and the benchmark write it:
// the first member of that name, without blanks.
func idOf(line []byte) []byte {
	_, after, ok := bytes.Cut(line, []byte(`"id":`))
	if !ok {
		return nil
	}
	end := bytes.IndexAny(after, ",}")
	if end < 0 {
		return nil
	}
	return after[:end]
}
