package policy

import "reflect"

// visits estimates how many pairs of schema and value a check visits; it stops
// counting above maxVisits.
func (w *walker) visits(v any) int {
	c := &counter{memo: map[visit]int{}}
	n := c.count(w.root, v)
	if c.steps > maxVisits {
		return maxVisits + 1
	}
	return n
}

type visit struct {
	n  *snode
	at uintptr
	ln int
}

type counter struct {
	memo  map[visit]int
	steps int
}

func (c *counter) count(n *snode, v any) int {
	key := visit{n: n}
	switch v := v.(type) {
	case map[string]any:
		key.at, key.ln = reflect.ValueOf(v).Pointer(), -1
	case []any:
		key.at, key.ln = reflect.ValueOf(v).Pointer(), len(v)
	}
	if x, ok := c.memo[key]; ok {
		return x
	}
	if c.steps++; c.steps > maxVisits {
		return maxVisits + 1
	}
	c.memo[key] = 0 // a cycle costs nothing: the library stops at it
	total := 1
	add := func(list []*snode, v any) {
		for _, x := range list {
			if total <= maxVisits {
				total += c.count(x, v)
			}
		}
	}
	add(n.inPlace, v)
	add(n.aside, v)
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			if sub, ok := n.props[name]; ok {
				add([]*snode{sub}, x)
			}
			for _, p := range n.patterns {
				add([]*snode{p.n}, x) // an upper bound: the pattern is not matched here
			}
			add(n.additional, x)
		}
	case []any:
		for i, x := range v {
			if i < len(n.prefix) {
				add(n.prefix[i:i+1], x)
			} else {
				add(n.rest, x)
			}
		}
	}
	total = min(total, maxVisits+1)
	c.memo[key] = total
	return total
}
