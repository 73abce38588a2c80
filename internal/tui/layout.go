package tui

// Sizes of the screen.
const (
	minWidth  = 60 // below this, or below minHeight: one item, no queue
	minHeight = 16
	wideFrom  = 140 // queue beside the change
	minItem   = 4   // rows of head and change that stay visible beside a dialog
)

// layout is the position of each part on a screen of a given size.
type layout struct {
	tiny, wide     bool
	queueW, queueH int // 0 if hidden
	itemW, itemH   int
	head           []string
	pane           int // rows of the change
	dialog         []string
	cursor         *spot // of the input, relative to the dialog
	bodyH          int
}

// spot is the position of a cell.
type spot struct{ x, y int }

// sizes computes the columns and rows that do not depend on the item.
func (m *Model) sizes() layout {
	l := layout{tiny: m.w < minWidth || m.h < minHeight, wide: m.w >= wideFrom}
	l.bodyH = m.bodyRows()
	l.itemW, l.itemH = m.w, l.bodyH
	rows := len(m.queue.rows)
	switch {
	case l.tiny || m.pane.zoom || rows == 0:
	case l.wide:
		l.queueW = min(max(m.w*3/10, 42), 64)
		l.queueH = l.bodyH
		l.itemW = m.w - l.queueW - 1
	default:
		l.queueW = m.w
		l.queueH = min(rows, max(4, l.bodyH/4))
		l.itemH = l.bodyH - l.queueH
	}
	return l
}

// lay computes the whole layout of the queue's view.
func (m *Model) lay() layout {
	l := m.sizes()
	if m.dialog != nil {
		l.dialog, l.cursor = m.dialogRows(m.w, max(3, l.bodyH-minItem))
		n := min(len(l.dialog), max(0, l.bodyH-2))
		l.dialog = l.dialog[:n]
		l.bodyH -= n
		if l.wide && l.queueH > 0 {
			l.queueH = l.bodyH
			l.itemH = l.bodyH
		} else {
			// Shrink the queue first: the change must stay visible.
			l.itemH -= n
			if want := 8; l.itemH < want && l.queueH > 0 {
				give := min(l.queueH, want-l.itemH)
				l.queueH -= give
				l.itemH += give
			}
		}
	}
	if m.item == nil {
		return l
	}
	l.head = m.headRows(l.itemW, max(1, min(l.itemH/2, l.itemH-3, 12)), l.tiny)
	l.pane = max(0, l.itemH-len(l.head)-1)
	return l
}
