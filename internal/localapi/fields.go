package localapi

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// selection writes only some members of approvals. A full list of a thousand
// is 2 MB, and takes longer to write and read than to find.
type selection struct {
	names   []string
	indexes [][]int
}

// selected returns the selection of the named members, or nil for no names.
func selected(list string) (*selection, error) {
	if list == "" {
		return nil, nil
	}
	var s selection
	for name := range strings.SplitSeq(list, ",") {
		index := member(reflect.TypeFor[client.Approval](), name)
		if index == nil {
			return nil, badRequest("an approval has no member %q", name)
		}
		s.names, s.indexes = append(s.names, name), append(s.indexes, index)
	}
	return &s, nil
}

func member(t reflect.Type, name string) []int {
	for i := range t.NumField() {
		if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); tag == name {
			return []int{i}
		}
	}
	return nil
}

// encoded is an answer that is already JSON.
type encoded []byte

// page writes a page with the members in the order of their names.
func (s *selection) page(p client.Page) (encoded, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteString(`{"approvals":[`)
	for i := range p.Approvals {
		if i > 0 {
			b.WriteByte(',')
		}
		v := reflect.ValueOf(&p.Approvals[i]).Elem()
		for j, name := range s.names {
			b.WriteByte("{,"[min(j, 1)])
			b.WriteByte('"')
			b.WriteString(name) // a known member name
			b.WriteString(`":`)
			value := v.FieldByIndex(s.indexes[j]).Addr().Interface()
			if t, ok := value.(*time.Time); ok && t.IsZero() {
				value = nil // null: it has not happened
			}
			if err := enc.Encode(value); err != nil {
				return nil, err
			}
			b.Truncate(b.Len() - 1) // the newline
		}
		b.WriteByte('}')
	}
	b.WriteString(`],"next":`)
	if err := enc.Encode(p.Next); err != nil {
		return nil, err
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
