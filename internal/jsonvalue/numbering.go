package jsonvalue

import (
	"hash/maphash"
	"strings"
)

// numbering gives equal keys equal numbers. A large document has as many keys as
// values, most of them new. A Go map takes three times as long for these
// (BenchmarkLargeDocument), since each key is a separate string and is looked up
// before it is inserted.
type numbering struct {
	seed maphash.Seed
	// slots is a hash table without chains. A slot holds the upper half of a hash
	// and the index of its key plus one, or 0 if it is free.
	slots []uint64
	keys  []string
	ids   []uint32
	room  strings.Builder // storage for keys that are not part of another string
}

// newNumbering makes room for about n keys.
func newNumbering(n int) *numbering {
	size := 64
	for size < 2*n {
		size *= 2
	}
	return &numbering{seed: maphash.MakeSeed(), slots: make([]uint64, size)}
}

// ofBytes returns the number of a key, next if it is new. The key is copied.
func (n *numbering) ofBytes(key []byte, next uint32) (id uint32, fresh bool) {
	hash := maphash.Bytes(n.seed, key)
	at := hash & uint64(len(n.slots)-1)
	for ; n.slots[at] != 0; at = (at + 1) & uint64(len(n.slots)-1) {
		if i := uint32(n.slots[at]) - 1; n.slots[at]>>32 == hash>>32 && n.keys[i] == string(key) {
			return n.ids[i], false
		}
	}
	const bulk = 64 << 10
	if n.room.Cap()-n.room.Len() < len(key) {
		n.room = strings.Builder{} // the keys still refer to the previous one
		n.room.Grow(max(bulk, len(key)))
	}
	start := n.room.Len()
	n.room.Write(key)
	n.put(at, hash, n.room.String()[start:], next)
	return next, true
}

// ofText is ofBytes for a string, which is kept without copying.
func (n *numbering) ofText(key string, next uint32) (id uint32, fresh bool) {
	hash := maphash.String(n.seed, key)
	at := hash & uint64(len(n.slots)-1)
	for ; n.slots[at] != 0; at = (at + 1) & uint64(len(n.slots)-1) {
		if i := uint32(n.slots[at]) - 1; n.slots[at]>>32 == hash>>32 && n.keys[i] == key {
			return n.ids[i], false
		}
	}
	n.put(at, hash, key, next)
	return next, true
}

func (n *numbering) put(at, hash uint64, key string, id uint32) {
	n.keys, n.ids = append(n.keys, key), append(n.ids, id)
	n.slots[at] = hash>>32<<32 | uint64(len(n.keys))
	if 2*len(n.keys) <= len(n.slots) {
		return
	}
	n.slots = make([]uint64, 2*len(n.slots))
	for i, k := range n.keys {
		hash := maphash.String(n.seed, k)
		at := hash & uint64(len(n.slots)-1)
		for n.slots[at] != 0 {
			at = (at + 1) & uint64(len(n.slots)-1)
		}
		n.slots[at] = hash>>32<<32 | uint64(i+1)
	}
}
