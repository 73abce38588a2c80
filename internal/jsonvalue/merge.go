package jsonvalue

// MergePatch returns target with an RFC 7396 merge patch applied: members of patch
// replace those of target, null removes, and anything but an object replaces the
// whole. Members keep their position; new ones follow in the order of the patch.
func MergePatch(target, patch Value) Value {
	if patch.typ != TypeObject {
		return patch
	}
	var names []string
	var vals []Value
	if target.typ == TypeObject {
		names, vals = append(names, target.node.names...), append(vals, target.node.vals...)
	}
	place := make(map[string]int, len(names))
	for i, name := range names {
		place[name] = i
	}
	for i, name := range patch.node.names {
		change := patch.node.vals[i]
		at, has := place[name]
		switch {
		case change.typ == TypeNull && has:
			vals[at] = Value{} // marks the removed member
		case change.typ == TypeNull:
		case has:
			vals[at] = MergePatch(vals[at], change)
		default:
			names, vals = append(names, name), append(vals, MergePatch(Value{}, change))
		}
	}
	kept := 0
	for i, v := range vals {
		if v.Present() {
			names[kept], vals[kept] = names[i], v
			kept++
		}
	}
	return Value{typ: TypeObject, node: newNode(names[:kept], vals[:kept])}
}
