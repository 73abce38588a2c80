package jsonvalue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrNoSuchValue is returned if a JSON Pointer leads nowhere.
var ErrNoSuchValue = errors.New("no value at this path")

// ParsePointer splits a JSON Pointer (RFC 6901) into its unescaped tokens. The
// empty pointer, which means the whole document, has none.
func ParsePointer(pointer string) ([]string, error) {
	if pointer == "" {
		return nil, nil
	}
	if pointer[0] != '/' {
		return nil, fmt.Errorf("pointer %.64q does not begin with /", pointer)
	}
	tokens := strings.Split(pointer[1:], "/")
	for i, t := range tokens {
		for j := 0; j < len(t); j++ {
			if t[j] == '~' && (j+1 == len(t) || t[j+1] != '0' && t[j+1] != '1') {
				return nil, fmt.Errorf("pointer %.64q has a ~ that is neither ~0 nor ~1", pointer)
			}
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
	}
	return tokens, nil
}

// FormatPointer is the inverse of ParsePointer.
func FormatPointer(tokens ...string) string {
	var w strings.Builder
	for _, t := range tokens {
		w.WriteByte('/')
		w.WriteString(escapeToken(t))
	}
	return w.String()
}

func escapeToken(t string) string {
	return strings.ReplaceAll(strings.ReplaceAll(t, "~", "~0"), "/", "~1")
}

// At returns the value at a JSON Pointer, or ErrNoSuchValue.
func (v Value) At(pointer string) (Value, error) {
	tokens, err := ParsePointer(pointer)
	if err != nil {
		return Value{}, err
	}
	for _, t := range tokens {
		switch v.typ {
		case TypeObject:
			v = v.Member(t)
		case TypeArray:
			i, err := arrayIndex(t)
			if err != nil {
				return Value{}, err
			}
			v = v.Elem(i)
		default:
			v = Value{}
		}
		if !v.Present() {
			return Value{}, ErrNoSuchValue
		}
	}
	return v, nil
}

// arrayIndex parses an index: digits without a leading zero (RFC 6901 section 4).
// The caller handles "-", the index after the last element.
func arrayIndex(t string) (int, error) {
	const longest = 9 // digits; keeps the number within every int
	if t == "" || len(t) > longest || len(t) > 1 && t[0] == '0' || strings.Trim(t, "0123456789") != "" {
		return 0, fmt.Errorf("%.64q is no array index", t)
	}
	return strconv.Atoi(t)
}
