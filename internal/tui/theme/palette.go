package theme

// palette is what differs between backgrounds.
type palette struct {
	dim, faint, strong         hue
	accent, good, warn, bad    hue
	addBG, removeBG            hue
	addWord, removeWord        hue
	addFG, removeFG            hue
	hunk, selected, border     hue
	keyword, name, str, number hue
	comment                    hue
	match, matchText           hue
	tier                       [6]hue // backgrounds of the badges
	badgeText                  hue
}

// Text that must be read has a contrast of at least 4.5 to 1 against black and
// the usual dark greys, or against white.
var (
	night = palette{
		dim:    hue{"#9aa4b2", "247", "7"},
		faint:  hue{"#7d8796", "244", "8"},
		strong: hue{"#ffffff", "231", "15"},
		accent: hue{"#7aa2f7", "111", "12"},
		good:   hue{"#7fd88f", "114", "10"},
		warn:   hue{"#f0c674", "222", "11"},
		bad:    hue{"#ff7b72", "210", "9"},
		addBG:  hue{"#10301f", "22", ""}, removeBG: hue{"#3c1a1f", "52", ""},
		addWord: hue{"#1f6b3c", "28", ""}, removeWord: hue{"#8a2f38", "124", ""},
		addFG: hue{"#c9f2d4", "194", "10"}, removeFG: hue{"#ffd7d5", "224", "9"},
		hunk:     hue{"#7dcfff", "117", "14"},
		selected: hue{"#28344f", "237", ""},
		border:   hue{"#454f60", "240", "8"},
		keyword:  hue{"#c4a7f7", "183", ""},
		name:     hue{"#7dcfff", "117", ""},
		str:      hue{"#a5d6a7", "151", ""},
		number:   hue{"#ffb86c", "215", ""},
		comment:  hue{"#8f9bab", "246", ""},
		match:    hue{"#f0c674", "222", "3"}, matchText: hue{"#1a1a1a", "234", "0"},
		tier: [6]hue{
			{"#8b95a5", "246", "7"}, {"#7fd88f", "114", "2"}, {"#f0c674", "222", "3"},
			{"#ff9e64", "215", "1"}, {"#f08cc6", "212", "5"}, {"#ff7b72", "210", "1"},
		},
		badgeText: hue{"#14161b", "233", "0"},
	}
	light = palette{
		dim:    hue{"#57606a", "241", "8"},
		faint:  hue{"#6e7781", "243", "8"},
		strong: hue{"#000000", "16", "0"},
		accent: hue{"#0550ae", "25", "4"},
		good:   hue{"#116329", "22", "2"},
		warn:   hue{"#7d4e00", "94", "3"},
		bad:    hue{"#b31d28", "124", "1"},
		addBG:  hue{"#dafbe1", "194", ""}, removeBG: hue{"#ffebe9", "224", ""},
		addWord: hue{"#94e5a8", "157", ""}, removeWord: hue{"#ffb3ad", "217", ""},
		addFG: hue{"#0a3d1a", "22", "2"}, removeFG: hue{"#5c0f14", "52", "1"},
		hunk:     hue{"#0550ae", "25", "4"},
		selected: hue{"#dbe7fb", "189", ""},
		border:   hue{"#b6bfca", "250", "8"},
		keyword:  hue{"#6f42c1", "55", ""},
		name:     hue{"#0550ae", "25", ""},
		str:      hue{"#0a4f8a", "24", ""},
		number:   hue{"#8a3a00", "94", ""},
		comment:  hue{"#57606a", "241", ""},
		match:    hue{"#ffd33d", "221", "3"}, matchText: hue{"#000000", "16", "0"},
		tier: [6]hue{
			{"#57606a", "241", "8"}, {"#1a7f37", "28", "2"}, {"#7d4e00", "94", "3"},
			{"#a63c00", "130", "1"}, {"#99286e", "89", "5"}, {"#b31d28", "124", "1"},
		},
		badgeText: hue{"#ffffff", "231", "15"},
	}
)

func (t *Theme) fill(p painter, c palette) {
	fg := func(h hue, attr, plain attr) Style { return p.style(look{fg: h, attr: attr, plain: plain}) }

	t.Text = p.style(look{})
	t.Dim = fg(c.dim, 0, 0)
	t.Strong = fg(c.strong, bold, bold)
	t.Title = fg(c.strong, bold, bold)
	t.Accent = fg(c.accent, bold, bold)
	t.Key = fg(c.accent, bold, bold)
	t.KeyText = fg(c.dim, 0, 0)
	t.KeyOff = fg(c.faint, 0, faint)
	t.Good = fg(c.good, 0, 0)
	t.Warn = fg(c.warn, bold, bold)
	t.Bad = fg(c.bad, bold, bold)
	t.Selected = p.style(look{bg: c.selected, plain: reverse, basic: reverse})
	t.Border = fg(c.border, 0, 0)
	t.Prompt = fg(c.accent, bold, bold)
	t.Input = fg(c.strong, 0, 0)
	t.Placeholder = fg(c.faint, 0, faint)
	t.Fresh = fg(c.accent, bold, bold|underline)
	t.Chart = fg(c.accent, 0, 0)
	t.ChartBad = fg(c.bad, 0, bold)

	t.Add = p.style(look{fg: c.addFG, bg: c.addBG})
	t.Remove = p.style(look{fg: c.removeFG, bg: c.removeBG})
	t.Context = p.style(look{})
	t.AddWord = p.style(look{fg: c.addFG, bg: c.addWord, attr: bold, basic: reverse, plain: bold | underline})
	t.RemoveWord = p.style(look{fg: c.removeFG, bg: c.removeWord, attr: bold, basic: reverse, plain: bold | underline})
	t.LineNumber = fg(c.faint, 0, faint)
	t.AddNumber = p.style(look{fg: c.good, bg: c.addBG})
	t.RemoveNumber = p.style(look{fg: c.bad, bg: c.removeBG})
	t.HunkHeader = fg(c.hunk, 0, 0)
	t.FileHeader = fg(c.strong, bold, bold)
	t.Fold = fg(c.faint, italic, faint)
	t.Match = p.style(look{fg: c.matchText, bg: c.match, plain: underline})
	t.CurrentMatch = p.style(look{fg: c.matchText, bg: c.match, attr: bold | underline, plain: reverse})
	t.Hazard = p.style(look{fg: c.badgeText, bg: c.bad, attr: bold, plain: bold | reverse, basic: bold})
	t.SideEffect = fg(c.warn, 0, 0)
	t.Claim = fg(c.dim, italic, 0)
	t.Path = fg(c.hunk, bold, bold)
	t.OldValue = p.style(look{fg: c.removeFG, bg: c.removeBG})
	t.NewValue = p.style(look{fg: c.addFG, bg: c.addBG, plain: bold})
	t.Note = fg(c.dim, italic, 0)

	t.Keyword = fg(c.keyword, 0, 0)
	t.Name = fg(c.name, 0, 0)
	t.String = fg(c.str, 0, 0)
	t.Number = fg(c.number, 0, 0)
	t.Comment = fg(c.comment, italic, 0)

	for i, h := range c.tier {
		plain := bold
		if i >= 2 { // irreversible and above
			plain = bold | reverse
		}
		t.tiers[i] = p.style(look{fg: c.badgeText, bg: h, attr: bold, plain: plain, basic: bold})
	}
}
