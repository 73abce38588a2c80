package effect

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

const (
	readRecordFirst = "read the record, and send a call that fits what is there now"
	askDeveloper    = "ask the developer to look at the effect of this tool in the guard's configuration"
)

// readRecord returns the current record, or absent. at is the file, if no tool
// reads the record.
func readRecord(ctx context.Context, reader Reader, ref guard.RecordRef, at *resolvedPath) (jsonvalue.Value, error) {
	var doc jsonvalue.Value
	var err error
	if ref.Tool == "" {
		doc, err = readRecordFile(at)
	} else {
		doc, err = readRecordTool(ctx, reader, ref)
	}
	if err != nil || !doc.Present() {
		return jsonvalue.Value{}, err
	}
	v, err := doc.At(ref.At)
	switch {
	case errors.Is(err, jsonvalue.ErrNoSuchValue):
		return jsonvalue.Value{}, nil
	case err != nil:
		return jsonvalue.Value{}, refusePlan(askDeveloper, "the record cannot be found in the answer: %v", err)
	case v.Type() == jsonvalue.TypeNull:
		return jsonvalue.Value{}, nil
	}
	return v, nil
}

func readRecordTool(ctx context.Context, reader Reader, ref guard.RecordRef) (jsonvalue.Value, error) {
	if reader == nil {
		// fail closed: without the server nobody knows what is there
		return jsonvalue.Value{}, refusePlan("make the call itself, while the server runs", "the record can only be read from the running server")
	}
	result, err := reader.ReadTool(ctx, ref.Tool, ref.Args)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	doc, err := Answer(result)
	if err != nil {
		return jsonvalue.Value{}, refusePlan(askDeveloper, "the answer of %s does not show the record: %v", ref.Tool, err)
	}
	return doc, nil
}

// readRecordFile reads a JSON, YAML or TOML file, told by its name; any other file
// is read as JSON. A missing file holds no record.
func readRecordFile(at *resolvedPath) (jsonvalue.Value, error) {
	if !at.exists {
		return jsonvalue.Value{}, nil
	}
	text, _, err := at.read(MaxText)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	doc, notes, err := document.ParseDocument(path.Ext(at.rel()), text)
	if errors.Is(err, document.ErrUnknownFormat) {
		doc, err = jsonvalue.Decode(text)
	}
	switch {
	case err != nil:
		return jsonvalue.Value{}, refusePlan(readAgain, "%q cannot be read as a document: %v", at.rel(), err)
	case len(notes.Duplicates) > 0:
		// fail closed: readers differ about what such a file means
		return jsonvalue.Value{}, refusePlan("edit it as text", "%q gives a member more than once: %.100s", at.rel(), notes.Duplicates[0])
	}
	return doc, nil
}

// Answer returns the result of a tool as a JSON value: its structured content, or
// else its text if that is one JSON text.
func Answer(result []byte) (jsonvalue.Value, error) {
	if len(result) > MaxText {
		return jsonvalue.Value{}, fmt.Errorf("it has %d bytes; at most %d are compared", len(result), MaxText)
	}
	whole := jsonrpc.Span{Start: 0, End: len(result)}
	if at, ok := jsonrpc.Member(result, whole, "structuredContent"); ok && jsonrpc.TypeOf(result, at) == jsonrpc.ObjectType {
		v, err := jsonvalue.Decode(at.Of(result))
		if err != nil || v.Len() != 1 || v.Member("result").Type() != jsonvalue.TypeString {
			return v, err
		}
		// A Python server library wraps the text of a tool's result in {"result":
		// …}. If that text is a document, it is the record.
		if text, err := textOf(result, whole); err == nil && text == v.Member("result").Text() {
			if doc, err := jsonvalue.Decode([]byte(text)); err == nil && doc.Len() > 0 {
				return doc, nil
			}
		}
		return v, nil
	}
	text, err := textOf(result, whole)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	v, err := jsonvalue.Decode([]byte(text))
	if err != nil {
		return jsonvalue.Value{}, errors.New("its text is not JSON")
	}
	return v, nil
}

// textOf returns the single text of a result.
func textOf(result []byte, whole jsonrpc.Span) (text string, err error) {
	content, ok := jsonrpc.Member(result, whole, "content")
	if !ok {
		return "", errors.New("it has neither structured content nor text")
	}
	texts := 0
	for el := range jsonrpc.Elements(result, content) {
		kind, _ := jsonrpc.Member(result, el, "type")
		if name, _ := jsonrpc.String(result, kind); name != "text" {
			continue
		}
		texts++
		if at, ok := jsonrpc.Member(result, el, "text"); ok {
			text, _ = jsonrpc.String(result, at)
		}
	}
	if texts != 1 {
		return "", fmt.Errorf("it has %d texts; one that is JSON is needed", texts)
	}
	return text, nil
}

// Plain returns a JSON value as expressions see it: whole numbers as int64, others
// as float64. A number that neither holds exactly is an error, so that no
// expression computes with a rounded one.
func Plain(v jsonvalue.Value) (any, error) {
	switch v.Type() {
	case jsonvalue.TypeNull:
		return nil, nil
	case jsonvalue.TypeBool:
		return v.Bool(), nil
	case jsonvalue.TypeString:
		return v.Text(), nil
	case jsonvalue.TypeNumber:
		return plainNumber(v)
	case jsonvalue.TypeArray:
		list := make([]any, v.Len())
		for i, e := range v.Elems() {
			x, err := Plain(e)
			if err != nil {
				return nil, err
			}
			list[i] = x
		}
		return list, nil
	case jsonvalue.TypeObject:
		m := make(map[string]any, v.Len())
		for name, e := range v.Members() {
			x, err := Plain(e)
			if err != nil {
				return nil, err
			}
			m[name] = x
		}
		return m, nil
	}
	return nil, errors.New("there is no value")
}

func plainNumber(v jsonvalue.Value) (any, error) {
	token := v.Text()
	if !strings.ContainsAny(token, ".eE") {
		if n, err := strconv.ParseInt(token, 10, 64); err == nil {
			return n, nil
		}
	} else if f, err := strconv.ParseFloat(token, 64); err == nil {
		if back, err := jsonvalue.Number(strconv.FormatFloat(f, 'e', -1, 64)); err == nil && back.Equal(v) {
			return f, nil
		}
	}
	return nil, fmt.Errorf("the number %.40s would be rounded", token)
}
