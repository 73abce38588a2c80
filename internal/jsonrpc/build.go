package jsonrpc

import (
	"bytes"
	"encoding/json"
)

// The builders encode messages of the guard's own. Values go through
// encoding/json (a json.RawMessage keeps its tokens), so results have no
// newline. A value that cannot be encoded becomes an internal error, or, where
// there is nobody to tell, is left out.

const errEncode = `{"code":-32603,"message":"the guard could not encode its answer"}`

func encode(v any) ([]byte, bool) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, false
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), true
}

func response(id ID, member string, value []byte) []byte {
	out := append([]byte(nil), `{"jsonrpc":"2.0","id":`...)
	out = id.appendTo(out)
	out = append(append(append(out, `,"`...), member...), `":`...)
	return append(append(out, value...), '}')
}

// Result returns a response frame, without a newline. A nil result becomes {}.
func Result(id ID, result any) []byte {
	if result == nil {
		return response(id, "result", []byte("{}"))
	}
	v, ok := encode(result)
	if !ok {
		return response(id, "error", []byte(errEncode))
	}
	return response(id, "result", v)
}

// ErrorReply returns an error response frame, without a newline; a zero id is
// written as null. A nil data is left out, and so is one that cannot be encoded.
func ErrorReply(id ID, code int, msg string, data any) []byte {
	obj := struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data,omitempty"`
	}{Code: code, Message: msg}
	if data != nil {
		obj.Data, _ = encode(data)
	}
	v, ok := encode(obj)
	if !ok {
		v = []byte(errEncode)
	}
	return response(id, "error", v)
}

// Notify returns a notification frame, without a newline. nil params are left
// out.
func Notify(method string, params any) []byte { return call(ID{}, method, params) }

// NewRequest returns a request frame, without a newline. nil params are left
// out.
func NewRequest(id ID, method string, params any) []byte { return call(id, method, params) }

func call(id ID, method string, params any) []byte {
	out := append([]byte(nil), `{"jsonrpc":"2.0",`...)
	if !id.IsZero() {
		out = append(id.appendTo(append(out, `"id":`...)), ',')
	}
	out = appendQuoted(append(out, `"method":`...), method)
	if params != nil {
		if v, ok := encode(params); ok {
			out = append(append(out, `,"params":`...), v...)
		}
	}
	return append(out, '}')
}
