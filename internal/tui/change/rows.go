package change

import (
	"github.com/mcpguard/mcpguard/internal/safetext"
)

// row is one row of cells of a line, without its gutter.
type row struct {
	pieces   []piece
	width    int
	from, to int // bytes of the line that it shows in full
	// Part of the line is left or right of the row.
	before, after bool
}

func (r *row) add(p piece) {
	if p.line.Width() == 0 {
		return
	}
	if p.to > p.from {
		if len(r.pieces) == 0 || r.to == 0 && r.from == 0 {
			r.from = p.from
		}
		r.to = p.to
	}
	r.pieces = append(r.pieces, p)
	r.width += p.line.Width()
}

// cutAt splits p, which can be cut anywhere, after cols columns.
func (p piece) cutAt(cols int) (head, tail piece) {
	head, tail = p, p
	text := p.line.String()
	head.line, tail.line = safetext.Text(text[:cols]), safetext.Text(text[cols:])
	head.to = min(p.from+cols, p.to)
	tail.from = head.to
	return head, tail
}

// wrapper breaks pieces into rows of at most cols columns, which must be at
// least 2. Markers and letters with their marks are not split if they fit into
// a row.
type wrapper struct {
	cols int
	rows []row
}

func (w *wrapper) put(p piece) bool {
	if len(w.rows) == 0 {
		w.rows = append(w.rows, row{from: p.from, to: p.from})
	}
	for {
		last := &w.rows[len(w.rows)-1]
		free, width := w.cols-last.width, p.line.Width()
		switch {
		case width <= free:
			last.add(p)
			return true
		case p.splits && free > 0:
			var head piece
			head, p = p.cutAt(free)
			last.add(head)
			w.next(p.from)
		case last.width > 0:
			w.next(p.from)
		default: // wider than a row
			parts := p.line.Wrap(w.cols)
			for i, l := range parts {
				part := p
				part.line = l
				if i < len(parts)-1 {
					part.to = part.from
				}
				if i > 0 {
					w.next(p.from)
				}
				w.rows[len(w.rows)-1].add(part)
			}
			return true
		}
	}
}

func (w *wrapper) next(from int) {
	w.rows = append(w.rows, row{from: from, to: from})
}

// window takes the columns [skip, skip+cols) of the pieces.
type window struct {
	row
	skip, cols int
	col        int
}

func (w *window) put(p piece) bool {
	start, width := w.col, p.line.Width()
	w.col += width
	if w.col <= w.skip {
		w.before = w.before || width > 0
		w.from, w.to = p.to, p.to
		return true
	}
	if start < w.skip {
		w.before = true
		if p.splits {
			_, p = p.cutAt(w.skip - start)
		} else {
			p.line = p.line.Skip(w.skip - start)
			p.from = p.to // a part of it is not shown
		}
		w.from, w.to = p.from, p.from
	}
	free := w.cols - w.width
	if p.line.Width() <= free {
		w.add(p)
		return true
	}
	if p.splits && free > 0 {
		p, _ = p.cutAt(free)
		w.add(p)
	}
	w.after = true
	return false
}

// end closes the window. If something is outside it, the row begins or ends
// with an ellipsis.
func (w *window) end(ellipsis safetext.Line, right class) row {
	r := w.row
	if r.after {
		for r.width > max(0, w.cols-1) && len(r.pieces) > 0 {
			r.shrink()
		}
		blank := safetext.Line{}.Pad(max(0, w.cols-1-r.width))
		r.pieces = append(r.pieces, piece{line: blank}, piece{line: ellipsis, class: right})
		r.width = max(w.cols, 1)
	}
	if r.before {
		r.pieces = append([]piece{{line: ellipsis, class: ours}}, r.pieces...)
		r.width++
	}
	return r
}

// shrink removes the last column, or the last piece.
func (r *row) shrink() {
	last := &r.pieces[len(r.pieces)-1]
	width := last.line.Width()
	if last.splits && width > 1 {
		*last, _ = last.cutAt(width - 1)
		r.width--
		r.to = last.to
		return
	}
	r.to = min(r.to, last.from)
	r.pieces = r.pieces[:len(r.pieces)-1]
	r.width -= width
}
