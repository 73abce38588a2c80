package tui

import (
	"fmt"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// Sizes of a picture, in pixels. A cell is as wide as a letter of the usual
// fixed fonts at that height.
const (
	cellW, cellH = 8.43, 18.0
	fontSize     = 14
	margin       = 16.0
	bar          = 34.0 // of the window
)

// cellStyle is how a cell is painted.
type cellStyle struct {
	fg, bg                            string
	bold, faint, italic, under, swaps bool
}

// piece is a run of cells of one style.
type piece struct {
	style cellStyle
	text  string
	x, w  int // in cells
}

// picture draws a frame as a window, as SVG: letters as text, so that they stay
// letters, lines and blocks as shapes, so that they join.
func picture(frame tea.View, cols int, light bool) string {
	const title = "approve"
	lines := strings.Split(frame.Content, "\n")
	rows := len(lines)
	paper, fg, edge, dots, faded := "#12151c", "#d7dce4", "#2b3240", "#3a4252", "#7d8796"
	if light {
		paper, fg, edge, dots, faded = "#ffffff", "#24292f", "#d0d7de", "#d0d7de", "#6e7781"
	}
	w, h := 2*margin+float64(cols)*cellW, bar+margin+float64(rows)*cellH
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.2f %.2f" role="img" aria-label="%s">`+"\n", w, h, w, h, escapeXML(title))
	fmt.Fprintf(&b, `<rect x="0.5" y="0.5" width="%.2f" height="%.2f" rx="9" fill="%s" stroke="%s"/>`+"\n", w-1, h-1, paper, edge)
	for i := range 3 {
		fmt.Fprintf(&b, `<circle cx="%d" cy="17" r="5" fill="%s"/>`, 21+18*i, dots)
	}
	fmt.Fprintf(&b, "\n"+`<text x="%.2f" y="21.5" fill="%s" font-size="12" text-anchor="middle" font-family="system-ui,sans-serif">%s</text>`+"\n", w/2, faded, escapeXML(title))
	fmt.Fprintf(&b, `<g font-family="ui-monospace,SFMono-Regular,Menlo,'DejaVu Sans Mono',Consolas,monospace" font-size="%d" fill="%s" xml:space="preserve">`+"\n", fontSize, fg)
	for y, line := range lines {
		top := bar + float64(y)*cellH
		for _, p := range pieces(line) {
			st := p.style
			if st.swaps {
				st.fg, st.bg = orElse(st.bg, paper), orElse(st.fg, fg)
			}
			x := margin + float64(p.x)*cellW
			if st.bg != "" {
				fmt.Fprintf(&b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>`, x, top, float64(p.w)*cellW, cellH, st.bg)
			}
			drawPiece(&b, p, st, orElse(st.fg, fg), top)
		}
		b.WriteByte('\n')
	}
	if c := frame.Cursor; c != nil {
		fmt.Fprintf(&b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>`+"\n", margin+float64(c.X)*cellW, bar+float64(c.Y)*cellH, cellW, cellH, fg)
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

// drawPiece draws the words of a piece, each at its own place, and its shapes.
func drawPiece(b *strings.Builder, p piece, st cellStyle, fg string, top float64) {
	attr := ""
	if st.fg != "" {
		attr += ` fill="` + st.fg + `"`
	}
	for _, a := range []struct {
		on   bool
		text string
	}{{st.bold, ` font-weight="700"`}, {st.faint, ` opacity="0.6"`}, {st.italic, ` font-style="italic"`}, {st.under, ` text-decoration="underline"`}} {
		if a.on {
			attr += a.text
		}
	}
	at, word, from := p.x, "", 0
	flush := func() {
		if word != "" {
			n := at - from
			fmt.Fprintf(b, `<text x="%.2f" y="%.2f" textLength="%.2f"%s>%s</text>`, margin+float64(from)*cellW, top+cellH-4.7, float64(n)*cellW, attr, escapeXML(word))
		}
		word = ""
	}
	for s := p.text; s != ""; {
		cluster, cw := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		s = s[len(cluster):]
		x := margin + float64(at)*cellW
		switch shape := shapeOf(cluster); {
		case cluster == " ":
			flush()
		case shape != nil:
			flush()
			run := 1
			for strings.HasPrefix(s, cluster) && shape[2] == 1 { // shapes that join
				s = s[len(cluster):]
				run++
			}
			fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>`, x+shape[0]*cellW, top+shape[1]*cellH, (float64(run-1)+shape[2])*cellW, shape[3]*cellH, fg)
			at += run
			continue
		default:
			if word == "" {
				from = at
			}
			word += cluster
		}
		at += cw
	}
	flush()
}

// shapeOf is the place of a line or block within its cell, as shares of it: x, y,
// width and height; nil for letters.
func shapeOf(s string) []float64 {
	switch s {
	case "─":
		return []float64{0, 0.48, 1, 0.06}
	case "━":
		return []float64{0, 0.42, 1, 0.16}
	case "│":
		return []float64{0.44, 0, 0.12, 1}
	case "▌":
		return []float64{0, 0, 0.5, 1}
	case "█":
		return []float64{0, 0, 1, 1}
	}
	if r := []rune(s); len(r) == 1 && r[0] >= '▁' && r[0] < '█' {
		eighths := float64(r[0]-'▁'+1) / 8
		return []float64{0, 1 - eighths, 1, eighths}
	}
	return nil
}

// pieces takes a painted row apart.
func pieces(line string) []piece {
	var out []piece
	var st cellStyle
	x := 0
	var state byte
	p := ansi.NewParser()
	for line != "" {
		seq, w, n, next := ansi.DecodeSequence(line, state, p)
		state = next
		line = line[n:]
		switch {
		case w > 0:
			if k := len(out); k > 0 && out[k-1].style == st && out[k-1].x+out[k-1].w == x {
				out[k-1].text += seq
				out[k-1].w += w
			} else {
				out = append(out, piece{st, seq, x, w})
			}
			x += w
		case strings.HasPrefix(seq, "\x1b[") && strings.HasSuffix(seq, "m"):
			st.apply(seq[2 : len(seq)-1])
		}
	}
	return out
}

// apply follows the parameters of a "select graphic rendition".
func (s *cellStyle) apply(params string) {
	f := strings.Split(params, ";")
	for i := 0; i < len(f); i++ {
		switch f[i] {
		case "", "0":
			*s = cellStyle{}
		case "1":
			s.bold = true
		case "2":
			s.faint = true
		case "3":
			s.italic = true
		case "4":
			s.under = true
		case "7":
			s.swaps = true
		case "38", "48":
			if i+4 >= len(f) || f[i+1] != "2" {
				continue
			}
			c := "#"
			for _, v := range f[i+2 : i+5] {
				n, _ := strconv.Atoi(v)
				c += fmt.Sprintf("%02x", n)
			}
			if f[i] == "38" {
				s.fg = c
			} else {
				s.bg = c
			}
			i += 4
		}
	}
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func escapeXML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}
