package sandbox

import "encoding/json"

// Names, targets of links and attributes may be any bytes, which JSON texts cannot
// hold: a record would name another file than the run did.

// MarshalJSON writes names as bytes.
func (c Change) MarshalJSON() ([]byte, error) {
	return json.Marshal(changeReport{Tree: []byte(c.Tree), Path: []byte(c.Path), Op: c.Op, Before: c.Before.report(), After: c.After.report()})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Change) UnmarshalJSON(data []byte) error {
	var r changeReport
	err := json.Unmarshal(data, &r)
	*c = r.change()
	return err
}

func (e *Entry) report() *entryReport {
	if e == nil {
		return nil
	}
	out := &entryReport{Type: e.Type, Mode: e.Mode, Size: e.Size, Sum: e.Sum, Target: []byte(e.Target), MTime: e.MTime, Links: e.Links, Inode: e.Inode, At: e.At}
	for k, v := range e.Xattrs {
		if out.Xattrs == nil {
			out.Xattrs = map[string][]byte{}
		}
		out.Xattrs[k] = []byte(v)
	}
	return out
}

type nameText struct{ Tree, Path []byte }

// MarshalJSON writes both as bytes.
func (n Name) MarshalJSON() ([]byte, error) {
	return json.Marshal(nameText{[]byte(n.Tree), []byte(n.Path)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Name) UnmarshalJSON(data []byte) error {
	var t nameText
	err := json.Unmarshal(data, &t)
	*n = Name{string(t.Tree), string(t.Path)}
	return err
}
