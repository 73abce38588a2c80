package daemon

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/commands"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// maxKeptOutput bounds what is kept of the output of a command whose line may
// print it after a restart, in bytes.
const maxKeptOutput = 1 << 20

// outcomeOf returns an outcome for a client, without secrets.
func (d *daemon) outcomeOf(o commands.Outcome) clienttools.Outcome {
	return clienttools.Outcome{Exit: o.Exit, Signal: o.Signal, Truncated: o.Truncated, Output: withoutSecrets(pieces(o.Output), d.secrets.text)}
}

// pieces joins what was read of one stream without anything of the other in
// between. A character that was read in two parts stays whole.
func pieces(chunks []sandbox.Chunk) []clienttools.Piece {
	var out []clienttools.Piece
	var begun [2][]byte // characters of which the end is missing, by stream
	add := func(stderr bool, data []byte) {
		if len(data) == 0 {
			return
		}
		if n := len(out); n > 0 && out[n-1].Stderr == stderr {
			out[n-1].Text += string(data)
			return
		}
		out = append(out, clienttools.Piece{Stderr: stderr, Text: string(data)})
	}
	for _, c := range chunks {
		b := &begun[0]
		if c.Stderr {
			b = &begun[1]
		}
		data := slices.Concat(*b, c.Data)
		n := len(data) - missingEnd(data)
		*b = data[n:]
		add(c.Stderr, data[:n])
	}
	add(false, begun[0])
	add(true, begun[1])
	for i := range out {
		out[i].Text = strings.ToValidUTF8(out[i].Text, "\ufffd")
	}
	return out
}

// missingEnd returns how many bytes at the end of b are the beginning of a
// character.
func missingEnd(b []byte) int {
	for k := 1; k < utf8.UTFMax && k <= len(b); k++ {
		if utf8.RuneStart(b[len(b)-k]) {
			if utf8.FullRune(b[len(b)-k:]) {
				return 0
			}
			return k
		}
	}
	return 0
}

// withoutSecrets takes secrets out. One may be spread over several pieces, so
// each stream is searched as a whole, and both together as a terminal shows
// them; if there is one, the order of the streams is given up for it.
func withoutSecrets(in []clienttools.Piece, clean func([]byte) []byte) []clienttools.Piece {
	var stdout, stderr, both strings.Builder
	for _, p := range in {
		both.WriteString(p.Text)
		if p.Stderr {
			stderr.WriteString(p.Text)
		} else {
			stdout.WriteString(p.Text)
		}
	}
	o, e, b := string(clean([]byte(stdout.String()))), string(clean([]byte(stderr.String()))), string(clean([]byte(both.String())))
	var out []clienttools.Piece
	switch {
	case o == stdout.String() && e == stderr.String() && b == both.String():
		return in
	case o == stdout.String() && e == stderr.String():
		return []clienttools.Piece{{Text: b}}
	}
	for _, p := range []clienttools.Piece{{Text: o}, {Text: e, Stderr: true}} {
		if p.Text != "" {
			out = append(out, p)
		}
	}
	return out
}

// cut shortens the output of an outcome.
func cut(o clienttools.Outcome, limit int) clienttools.Outcome {
	left := limit
	for i, p := range o.Output {
		if left -= len(p.Text); left >= 0 {
			continue
		}
		o.Output = slices.Clone(o.Output[:i+1])
		o.Output[i].Text = strings.ToValidUTF8(p.Text[:len(p.Text)+left], "")
		o.Truncated = true
		break
	}
	return o
}
