package clienttools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

func inputSum(input []byte) (digest.Digest, error) {
	canonical, err := jsonvalue.Canonical(input)
	if err != nil {
		return digest.Digest{}, errors.New("the tool's input has no canonical form; use plain numbers and text")
	}
	return digest.Sum(canonical), nil
}

// request builds the tools/call. The input is unchanged but on one line.
func (c *call) request(q Question) ([]byte, error) {
	var line bytes.Buffer
	if err := json.Compact(&line, q.Input); err != nil {
		return nil, fmt.Errorf("reading the tool's input: %w", err)
	}
	args := line.Bytes()
	if c.contained {
		c.input0 = bytes.Clone(args)
	}
	if RunsCommand(q.Tool) {
		for _, m := range []struct{ name, value string }{{FolderMember, q.Folder}, {SandboxMember, q.Sandbox}} {
			root, ok := jsonrpc.Root(args)
			if _, twice := jsonrpc.Member(args, root, m.name); !ok || twice {
				return nil, errors.New("the command's input cannot be read")
			}
			if args = jsonrpc.SetMember(args, root, m.name, jsonrpc.QuoteString(m.value)); args == nil {
				return nil, errors.New("the command's input cannot be read")
			}
		}
	}
	id := strconv.FormatInt(c.id, 10)
	var out bytes.Buffer
	out.WriteString(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":`)
	out.Write(jsonrpc.QuoteString(q.Tool))
	out.WriteString(`,"arguments":`)
	out.Write(args)
	out.WriteString(`,"_meta":{"progressToken":` + id + `,"claudecode/toolUseId":`)
	out.Write(jsonrpc.QuoteString(q.ToolUseID))
	out.WriteString("}}}\n")
	return out.Bytes(), nil
}

func cancelFrame(id int64) []byte {
	return append(jsonrpc.Notify("notifications/cancelled", map[string]any{"requestId": id, "reason": "the client gave up"}), '\n')
}

// reply is the common part of the guard's own answers; see package proxy.
type reply struct {
	Status, Reason, Repair, Next string
}

// read converts the proxy's answer into the client's.
func read(frame []byte) Answer {
	m, err := jsonrpc.Admit(frame, jsonrpc.Limits{})
	if err != nil || m.Result.IsZero() {
		// fail closed: without a result there is no permission
		return Answer{Reason: "mcpguard could not handle this call; ask the user to look at the guard's log"}
	}
	failed := false
	if at, ok := jsonrpc.Member(m.Raw, m.Result, "isError"); ok {
		v, plain := jsonrpc.Bool(m.Raw, at)
		failed = v || !plain
	}
	if !failed {
		return Answer{Allow: true}
	}
	reason := "mcpguard did not allow this call"
	if at, ok := jsonrpc.Lookup(m.Raw, m.Result, "content"); ok {
		for el := range jsonrpc.Elements(m.Raw, at) {
			text, ok := jsonrpc.Member(m.Raw, el, "text")
			if !ok {
				continue
			}
			v, _ := jsonrpc.String(m.Raw, text)
			reason = sentence(v)
			break
		}
	}
	return Answer{Reason: reason}
}

// sentence formats a refusal of the guard for the model.
func sentence(text string) string {
	var r reply
	if json.Unmarshal([]byte(text), &r) != nil || r.Status == "" {
		return text
	}
	out := "mcpguard: " + strings.ReplaceAll(r.Status, "_", " ")
	for i, part := range []string{r.Reason, r.Repair, r.Next} {
		switch part = strings.TrimSpace(part); {
		case part == "":
		case i == 0:
			out += ": " + part
		default:
			out = strings.TrimRight(out, ".") + ". " + strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return strings.TrimRight(out, ".") + "."
}
