package redact

// automaton finds all occurrences of many short patterns in one pass over the text,
// ignoring ASCII case (Aho-Corasick, as a table).
type automaton struct {
	class  [256]uint8 // byte → column
	next   []uint32   // row + column → row, with hitFlag where a pattern ends
	hits   [][]int32  // row / width → patterns that end there
	width  uint32
	length []int // of each pattern
}

const hitFlag = 1 << 31

func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// newAutomaton builds the table for the patterns, none of which is empty.
func newAutomaton(patterns [][]byte) *automaton {
	a := &automaton{length: make([]int, len(patterns))}
	columns := 1 // column 0 is for bytes that are in no pattern
	var column [256]int
	for i, p := range patterns {
		a.length[i] = len(p)
		for _, c := range p {
			if c = fold(c); column[c] == 0 {
				column[c] = columns
				columns++
			}
		}
	}
	for c := range 256 {
		a.class[c] = uint8(column[fold(byte(c))]) // at most 231 columns: upper case has none of its own
	}
	a.width = uint32(columns)

	trie := newTrie(columns)
	for i, p := range patterns {
		trie.add(p, int32(i), &a.class)
	}
	a.next, a.hits = trie.table()
	return a
}

type trie struct {
	columns int
	next    []int32 // node*columns + column → node, 0 for none
	hits    [][]int32
}

func newTrie(columns int) *trie {
	return &trie{columns: columns, next: make([]int32, columns), hits: make([][]int32, 1)}
}

func (t *trie) add(p []byte, id int32, class *[256]uint8) {
	node := int32(0)
	for _, c := range p {
		at := int(node)*t.columns + int(class[c])
		if t.next[at] == 0 {
			t.next[at] = int32(len(t.hits))
			t.hits = append(t.hits, nil)
			t.next = append(t.next, make([]int32, t.columns)...)
		}
		node = t.next[at]
	}
	t.hits[node] = append(t.hits[node], id)
}

// table completes the trie to an automaton: a missing edge leads where the longest
// proper suffix leads.
func (t *trie) table() ([]uint32, [][]int32) {
	fail := make([]int32, len(t.hits))
	queue := make([]int32, 0, len(t.hits))
	for c := range t.columns {
		if n := t.next[c]; n != 0 {
			queue = append(queue, n)
		}
	}
	for len(queue) > 0 {
		node := queue[0]
		queue = queue[1:]
		t.hits[node] = append(t.hits[node], t.hits[fail[node]]...)
		for c := range t.columns {
			at := int(node)*t.columns + c
			via := t.next[int(fail[node])*t.columns+c]
			if n := t.next[at]; n != 0 {
				fail[n] = via
				queue = append(queue, n)
			} else {
				t.next[at] = via
			}
		}
	}
	out := make([]uint32, len(t.next))
	for i, n := range t.next {
		out[i] = uint32(int(n) * t.columns)
		if len(t.hits[n]) > 0 {
			out[i] |= hitFlag
		}
	}
	return out, t.hits
}

// find calls hit for each occurrence of a pattern with its first byte, in order of
// where they end. It stops when hit returns false.
func (a *automaton) find(b []byte, hit func(pattern, start int) bool) {
	row := uint32(0)
	next, class := a.next, &a.class
	for i, c := range b {
		row = next[row+uint32(class[c])]
		if row&hitFlag == 0 {
			continue
		}
		row &^= hitFlag
		for _, p := range a.hits[row/a.width] {
			if !hit(int(p), i+1-a.length[p]) {
				return
			}
		}
	}
}
