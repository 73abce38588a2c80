package tui

// list is a cursor over n rows of which a window is shown.
type list struct {
	n, cursor, top int
}

func (l *list) resize(n int) {
	l.n = n
	l.cursor = max(0, min(l.cursor, n-1))
}

func (l *list) move(delta int) { l.cursor = max(0, min(l.cursor+delta, l.n-1)) }

// window returns the rows to show in h, with the cursor among them.
func (l *list) window(h int) (from, to int) {
	if h <= 0 {
		return 0, 0
	}
	if l.cursor < l.top {
		l.top = l.cursor
	}
	if l.cursor >= l.top+h {
		l.top = l.cursor - h + 1
	}
	l.top = max(0, min(l.top, l.n-h))
	return l.top, min(l.n, l.top+h)
}
