package config

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// decodeFile reads a JSON file that decisions depend on, as strictly as frames are
// read; see [jsonvalue.DecodeStrict]. The error is an *Error with the position.
func decodeFile(path string, data []byte, into any) error {
	err := jsonvalue.DecodeStrict(data, into)
	var bad *jsonvalue.SyntaxError
	switch {
	case errors.As(err, &bad):
		return damaged(placeIn(path, data, bad.Offset), bad.Reason)
	case err != nil:
		return damaged(Pos{File: path}, err.Error())
	}
	return nil
}

// damaged returns the error for a file that is invalid or ambiguous.
func damaged(at Pos, why string) error {
	return NewError([]Diagnostic{{at, "the file is damaged: " + why, ""}})
}

// placeIn converts an offset to a line and a column in characters.
func placeIn(path string, data []byte, offset int) Pos {
	before := data[:min(max(offset, 0), len(data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return Pos{File: path, Line: 1 + bytes.Count(before, []byte("\n")), Col: 1 + utf8.RuneCount(before[start:])}
}

// versioned refuses another version of the format.
func versioned(path string, version int) error {
	if version == 1 {
		return nil
	}
	return fmt.Errorf("%s has version %d; this program reads version 1", path, version)
}
