package jsonvalue

import (
	"slices"
	"strings"
	"unicode"
)

// Objects in a document often have the same names as a recent one. Such names are
// compared with the text directly, and kept once.

// container makes an array or object of the values from base on. Many are small, so
// those of a document are allocated in bulk.
func (d *decoder) container(typ Type, names []string, base int) Value {
	const bulk = 1 << 10
	read := d.vals[base:]
	d.vals = d.vals[:base]
	var vals []Value
	var n *node
	switch {
	case len(read) == 0:
	case d.text == "" || len(read) > bulk/8:
		vals = slices.Clone(read)
	default:
		if len(read) > len(d.room) {
			d.room = make([]Value, bulk)
		}
		vals, d.room = d.room[:len(read):len(read)], d.room[len(read):]
		copy(vals, read)
	}
	if d.text == "" {
		n = newNode(names, vals)
	} else {
		if len(d.nodes) == 0 {
			d.nodes = make([]node, bulk)
		}
		n, d.nodes = &d.nodes[0], d.nodes[1:]
		n.names, n.vals = names, vals
		n.sum()
	}
	return Value{typ: typ, node: n}
}

// shape returns the names of an object shortly before whose first one is name.
func (d *decoder) shape(name string) []string {
	for _, names := range d.shapes {
		if len(names) > 0 && names[0] == name {
			return names
		}
	}
	return nil
}

// remember keeps the names of an object for later objects, if they can be compared
// with the text directly.
func (d *decoder) remember(names []string) []string {
	names = slices.Clip(names)
	if len(names) == 0 || len(names) > 64 {
		return names
	}
	for _, name := range names {
		if strings.ContainsAny(name, "\"\\") || strings.ContainsFunc(name, unicode.IsControl) {
			return names
		}
	}
	d.shapes[d.latest%len(d.shapes)] = names
	d.latest++
	return names
}

// members are those of the object being read.
type members struct {
	// like are the names of an earlier object, which all names so far match.
	like  []string
	n     int
	names []string       // used once they do not match
	at    map[string]int // for large numbers of names
}

// find returns the index of the member with this name, or -1.
func (m *members) find(name string) int {
	if m.at != nil {
		if i, ok := m.at[name]; ok {
			return i
		}
		return -1
	}
	return slices.Index(m.names, name)
}

func (m *members) add(name string) {
	m.names = append(m.names, name)
	m.n++
	switch {
	case m.at != nil:
		m.at[name] = m.n - 1
	case m.n == 16:
		m.at = make(map[string]int, 64)
		for i, name := range m.names {
			m.at[name] = i
		}
	}
}

// part copies the names that matched, since the next one does not.
func (m *members) part() {
	if m.like == nil {
		return
	}
	same := m.like[:m.n]
	m.like, m.n = nil, 0
	for _, name := range same {
		m.add(name)
	}
}

// expected consumes the next name if it is the one that an earlier object has at
// this index.
func (d *decoder) expected(m *members) bool {
	if m.n >= len(m.like) {
		return false
	}
	name := m.like[m.n]
	rest := d.data[d.at+1:]
	if len(rest) <= len(name) || rest[len(name)] != '"' || string(rest[:len(name)]) != name {
		return false
	}
	d.at += len(name) + 2
	m.n++
	return true
}

func (d *decoder) object() (Value, error) {
	d.at++
	var m members
	base := len(d.vals)
	done, err := d.first('}', true)
	for ; !done && err == nil; done, err = d.next('}') {
		start := d.at
		if d.peek() != '"' {
			return Value{}, d.fail("want a member name, found %s", d.here())
		}
		earlier, name := -1, ""
		if d.expected(&m) {
			name = m.like[m.n-1]
		} else {
			m.part()
			if name, err = d.str(); err != nil {
				return Value{}, err
			}
			if earlier = m.find(name); earlier < 0 && m.n == 0 {
				m.like = d.shape(name)
			}
			switch {
			case earlier >= 0:
			case m.like != nil:
				m.n = 1
			default:
				m.add(name)
			}
		}
		d.push(name)
		if earlier >= 0 {
			if d.duplicates == nil {
				d.at = start
				return Value{}, d.fail("member %.64q appears twice", name)
			}
			*d.duplicates = append(*d.duplicates, FormatPointer(d.path...))
		}
		v, err := d.member()
		if err != nil {
			return Value{}, err
		}
		d.pop()
		if earlier >= 0 {
			d.vals[base+earlier] = v
			continue
		}
		d.vals = append(d.vals, v)
	}
	if err != nil {
		return Value{}, err
	}
	if m.like != nil && m.n < len(m.like) {
		m.part()
	}
	names := m.like
	if names == nil {
		names = d.remember(m.names)
	}
	return d.container(TypeObject, names, base), nil
}
