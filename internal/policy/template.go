package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/expr"
)

// template is a sentence with expressions in braces. {{ is a literal brace.
type template []piece

type piece struct {
	text string
	prog *expr.Program // nil for text
}

// maxValue bounds the output of one expression in a sentence, in characters.
const maxValue = 200

func (c *compiler) template(t *Tool, path, src string) (out template) {
	for rest := src; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			return append(out, piece{text: rest})
		}
		if i+1 < len(rest) && rest[i+1] == rest[i] {
			out, rest = append(out, piece{text: rest[:i+1]}), rest[i+2:]
			continue
		}
		end := strings.IndexByte(rest[i:], '}')
		if rest[i] == '}' || end < 0 {
			c.problem(c.cfg.Pos(path), "the braces of this sentence do not match", "write {{ or }} for a brace itself")
			return nil
		}
		p := c.expression(path, rest[i+1:i+end], expr.Dyn)
		c.known(t, path, p)
		if i > 0 {
			out = append(out, piece{text: rest[:i]})
		}
		out, rest = append(out, piece{prog: p}), rest[i+end+1:]
	}
	return out
}

// render fills in the sentence. What it quotes from arguments is hostile text and
// must be made safe before it is shown.
func (t template) render(v *expr.Vars) (string, error) {
	var b strings.Builder
	for _, p := range t {
		if p.prog == nil {
			b.WriteString(p.text)
			continue
		}
		x, err := p.prog.Any(v)
		if err != nil {
			return "", err
		}
		var s string
		switch x := x.(type) {
		case string:
			s = x
		case int64:
			s = strconv.FormatInt(x, 10)
		case []any:
			s = fmt.Sprintf("%d items", len(x))
		case map[string]any:
			s = fmt.Sprintf("%d members", len(x))
		default:
			s = fmt.Sprint(x)
		}
		if r := []rune(s); len(r) > maxValue {
			s = string(r[:maxValue]) + "…"
		}
		b.WriteString(s)
	}
	return b.String(), nil
}
