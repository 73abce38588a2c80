package approve

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/mcpguard/mcpguard/internal/safetext"
)

// look is the style of a piece of text. It uses only the sixteen colours that
// every terminal theme defines.
type look uint8

const (
	plain look = iota
	bold
	dim
	red
	green
	yellow
	cyan
)

var looks = [...]ansi.Style{
	bold:   ansi.NewStyle().Bold(),
	dim:    ansi.NewStyle().Faint(),
	red:    ansi.NewStyle().ForegroundColor(ansi.Red),
	green:  ansi.NewStyle().ForegroundColor(ansi.Green),
	yellow: ansi.NewStyle().ForegroundColor(ansi.Yellow),
	cyan:   ansi.NewStyle().ForegroundColor(ansi.Cyan),
}

// cell is a piece of one line. Its text is always safe.
type cell struct {
	text  safetext.Line
	look  look
	right bool // right-aligned
}

// text returns a cell of untrusted text.
func (a *app) text(l look, s string) cell { return cell{text: a.safe.Text(s), look: l} }

// words returns a cell of formatted text.
func (a *app) words(l look, format string, args ...any) cell {
	return a.text(l, fmt.Sprintf(format, args...))
}

// name returns a cell of a name, with deceptive letters marked.
func (a *app) name(l look, s string) cell { return cell{text: a.safe.Identity(s), look: l} }

// paint returns the output for a cell.
func (a *app) paint(c cell) string {
	s := c.text.String()
	if !a.colours || c.look == plain || s == "" {
		return s
	}
	return looks[c.look].Styled(s)
}

// page collects lines and writes them at once.
type page struct {
	app *app
	buf bytes.Buffer
}

func (a *app) page() *page { return &page{app: a} }

// line writes cells one after the other.
func (p *page) line(cells ...cell) {
	for _, c := range cells {
		p.buf.WriteString(p.app.paint(c))
	}
	p.buf.WriteByte('\n')
}

// flush writes the collected lines to standard output.
func (p *page) flush() error {
	_, err := p.buf.WriteTo(p.app.out)
	if err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	return nil
}

// tsv writes cells as one line of tab-separated values. Tabs and newlines in
// values are already replaced.
func (p *page) tsv(cells ...cell) {
	for i, c := range cells {
		if i > 0 {
			p.buf.WriteByte('\t')
		}
		p.buf.WriteString(c.text.String())
	}
	p.buf.WriteByte('\n')
}

// gap is the space between columns.
const gap = 2

// table writes rows in aligned columns below a header. The column flex gets
// the remaining width and is cut to it; below minFlex columns lines wrap.
func (p *page) table(header []string, flex int, rows [][]cell) {
	const minFlex = 12
	head := make([]cell, len(header))
	for i, h := range header {
		head[i] = p.app.text(dim, h)
		if len(rows) > 0 {
			head[i].right = rows[0][i].right
		}
	}
	all := append([][]cell{head}, rows...)
	widths := make([]int, len(header))
	for _, row := range all {
		for i, c := range row {
			widths[i] = max(widths[i], c.text.Width())
		}
	}
	if p.app.width > 0 {
		left := p.app.width - gap*(len(widths)-1)
		for i, w := range widths {
			if i != flex {
				left -= w
			}
		}
		widths[flex] = min(widths[flex], max(left, minFlex))
	}
	for _, row := range all {
		for i, c := range row {
			c.text = c.text.Truncate(widths[i])
			pad := strings.Repeat(" ", widths[i]-c.text.Width())
			if c.right {
				p.buf.WriteString(pad)
			}
			p.buf.WriteString(p.app.paint(c))
			if i == len(row)-1 {
				break
			}
			if !c.right {
				p.buf.WriteString(pad)
			}
			p.buf.WriteString(strings.Repeat(" ", gap))
		}
		p.buf.WriteByte('\n')
	}
}

// left formats the remaining time, as "4:12" or "2h 5m".
func left(seconds int) string {
	d := time.Duration(seconds) * time.Second
	if d >= time.Hour {
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

// ago formats an age.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// shortID returns what a list shows of an identifier: its end. Approvals of
// the same minute share the beginning.
func shortID(id string) string {
	if len(id) > 8 {
		return id[len(id)-8:]
	}
	return id
}

// stamp formats a time for people.
func (a *app) stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(a.zone).Format("2006-01-02 15:04:05")
}
