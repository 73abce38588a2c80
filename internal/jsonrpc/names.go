package jsonrpc

import "bytes"

// Names that a parser which ignores case would take for another one.
//
// encoding/json, and the Go servers built on it, match member names by Unicode
// case folding, so {"name": "read", "Name": "delete"} calls "delete" there and
// "read" elsewhere. Names that differ from a known one only by case are
// refused even when the known one is absent: the guard would see no such
// member, the upstream would.

// foldLen is longer than any known name.
const foldLen = 24

// folded writes the lower-case form of an ASCII name into buf. It reports false
// for a name that cannot fold to a known one. Besides the ASCII letters two
// runes fold to ASCII: U+017F (long s) and U+212A (Kelvin sign).
func folded(buf *[foldLen]byte, name []byte) ([]byte, bool) {
	n := 0
	for i := 0; i < len(name); n++ {
		if n == foldLen {
			return nil, false
		}
		c := name[i]
		switch {
		case c < 0x80:
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			buf[n] = c
			i++
		case c == 0xc5 && i+1 < len(name) && name[i+1] == 0xbf:
			buf[n] = 's'
			i += 2
		case c == 0xe2 && i+2 < len(name) && name[i+1] == 0x84 && name[i+2] == 0xaa:
			buf[n] = 'k'
			i += 3
		default:
			return nil, false
		}
	}
	return buf[:n], true
}

// foldTwin returns the known name of the context, envelope or params, that name
// equals but for case, "" if there is none or name is the known name itself.
func foldTwin(name []byte, ctx context) string {
	var buf [foldLen]byte
	low, ok := folded(&buf, name)
	if !ok {
		return ""
	}
	var k string
	if ctx == envelope {
		k, ok = envelopeName(low)
	} else {
		k, ok = paramsName(low)
	}
	switch {
	case !ok, k == string(name):
		return ""
	case k != "":
		return k
	case bytes.Equal(low, name):
		return ""
	}
	return string(low)
}

// envelopeName reports whether a folded name spells a member of the envelope.
// All of those are lower case, so the known name is the folded one: "".
func envelopeName(low []byte) (string, bool) {
	switch string(low) {
	case "jsonrpc", "id", "method", "params", "result", "error":
		return "", true
	}
	return "", false
}

// paramsName reports whether a folded name spells a member of params, and which
// ("" where it is the folded name itself). The names are those of every params
// object in the protocol's schemas 2024-11-05, 2025-03-26, 2025-06-18,
// 2025-11-25 and 2026-07-28, and of the tasks extension.
func paramsName(low []byte) (string, bool) {
	switch string(low) {
	case "_meta", "argument", "arguments", "capabilities", "code", "context", "cursor", "data", "level", "logger",
		"message", "messages", "metadata", "mode", "name", "notifications", "progress", "reason", "ref", "status",
		"task", "temperature", "tools", "total", "ttl", "uri", "url":
		return "", true
	case "clientinfo":
		return "clientInfo", true
	case "createdat":
		return "createdAt", true
	case "elicitationid":
		return "elicitationId", true
	case "includecontext":
		return "includeContext", true
	case "inputrequests":
		return "inputRequests", true
	case "inputresponses":
		return "inputResponses", true
	case "lastupdatedat":
		return "lastUpdatedAt", true
	case "maxtokens":
		return "maxTokens", true
	case "modelpreferences":
		return "modelPreferences", true
	case "pollinterval":
		return "pollInterval", true
	case "pollintervalms":
		return "pollIntervalMs", true
	case "progresstoken":
		return "progressToken", true
	case "protocolversion":
		return "protocolVersion", true
	case "requestedschema":
		return "requestedSchema", true
	case "requestid":
		return "requestId", true
	case "requeststate":
		return "requestState", true
	case "statusmessage":
		return "statusMessage", true
	case "stopsequences":
		return "stopSequences", true
	case "systemprompt":
		return "systemPrompt", true
	case "taskid":
		return "taskId", true
	case "toolchoice":
		return "toolChoice", true
	case "ttlms":
		return "ttlMs", true
	}
	return "", false
}

// methodName returns the decoded method, without an allocation for the ones
// that a session is full of.
func methodName(b []byte) string {
	switch string(b) {
	case "tools/call":
		return "tools/call"
	case "tools/list":
		return "tools/list"
	case "ping":
		return "ping"
	case "initialize":
		return "initialize"
	case "notifications/progress":
		return "notifications/progress"
	case "notifications/message":
		return "notifications/message"
	case "notifications/cancelled":
		return "notifications/cancelled"
	case "resources/read":
		return "resources/read"
	}
	return string(b)
}
