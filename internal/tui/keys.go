package tui

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"charm.land/bubbles/v2/key"
)

// KeyMap holds every key of the console. Help is made from it.
type KeyMap struct {
	Up, Down, Open, Back, Focus   key.Binding
	Approve, Deny                 key.Binding
	Merge, Next, Mark             key.Binding
	ApproveMarked, DenyMarked     key.Binding
	Compare, Info, Zoom           key.Binding
	PageUp, PageDown, HalfUp      key.Binding
	HalfDown, Top, Bottom         key.Binding
	LineUp, LineDown              key.Binding
	NextHunk, PrevHunk            key.Binding
	Search, NextMatch, PrevMatch  key.Binding
	Fold, UnfoldAll               key.Binding
	Wrap, Split, Raw, Document    key.Binding
	Queue                         key.Binding
	Filter, More, Act, Undo       key.Binding
	Mouse, Refresh, Help, Suspend key.Binding
	Quit                          key.Binding

	screens []screenRow
	tabs    []key.Binding // of the screens, in their order
}

// newKeys returns the default keys, including those of screens.
func newKeys(screens []screenRow) *KeyMap {
	k := &KeyMap{screens: screens, tabs: make([]key.Binding, len(screens))}
	for _, n := range k.table() {
		bind(n, n.keys)
	}
	return k
}

// tab returns the key of a screen.
func (k *KeyMap) tab(name string) key.Binding {
	for i, r := range k.screens {
		if r.name == name {
			return k.tabs[i]
		}
	}
	return key.Binding{}
}

// named is one key of the map, under its name in the file.
type named struct {
	name    string
	section string
	binding *key.Binding
	say     string // what it does, in a few words
	keys    []string
}

// table lists the keys in the order of the help. It is the only place for
// their names, descriptions and defaults, except for those of screens.
func (k *KeyMap) table() []named {
	var tabs []named
	for i, r := range k.screens {
		tabs = append(tabs, named{r.name, "views", &k.tabs[i], r.name, r.keys})
	}
	before := []named{
		{"up", "move", &k.Up, "up", []string{"k", "up"}},
		{"down", "move", &k.Down, "down", []string{"j", "down"}},
		{"open", "move", &k.Open, "open the change, or its details", []string{"enter"}},
		{"back", "move", &k.Back, "back", []string{"esc"}},
		{"focus", "move", &k.Focus, "between queue and change", []string{"tab"}},
		{"next", "move", &k.Next, "next pending change", []string{"."}},

		{"approve", "decide", &k.Approve, "approve, with a reason", []string{"a"}},
		{"deny", "decide", &k.Deny, "deny, with a reason for the agent", []string{"d"}},
		{"mark", "decide", &k.Mark, "mark, to decide several at once", []string{"x"}},
		{"approve_marked", "decide", &k.ApproveMarked, "approve the marked ones", []string{"A"}},
		{"deny_marked", "decide", &k.DenyMarked, "deny the marked ones", []string{"D"}},
		{"merge", "decide", &k.Merge, "show new changes, remove ended ones", []string{"m"}},
		{"compare", "decide", &k.Compare, "compare with the change it replaces", []string{"c"}},

		{"page_down", "change", &k.PageDown, "page down", []string{"space", "pgdown"}},
		{"page_up", "change", &k.PageUp, "page up", []string{"b", "pgup"}},
		{"half_down", "change", &k.HalfDown, "half a page down", []string{"ctrl+d"}},
		{"half_up", "change", &k.HalfUp, "half a page up", []string{"ctrl+u"}},
		{"line_down", "change", &k.LineDown, "one line down", []string{"J", "shift+down"}},
		{"line_up", "change", &k.LineUp, "one line up", []string{"K", "shift+up"}},
		{"top", "change", &k.Top, "to the top", []string{"g", "home"}},
		{"bottom", "change", &k.Bottom, "to the end", []string{"G", "end"}},
		{"next_hunk", "change", &k.NextHunk, "next hunk", []string{"]", "right"}},
		{"prev_hunk", "change", &k.PrevHunk, "previous hunk", []string{"[", "left"}},
		{"search", "change", &k.Search, "search", []string{"/"}},
		{"next_match", "change", &k.NextMatch, "next match", []string{"n"}},
		{"prev_match", "change", &k.PrevMatch, "previous match", []string{"N"}},
		{"fold", "change", &k.Fold, "open or close a fold", []string{"f"}},
		{"unfold_all", "change", &k.UnfoldAll, "open all folds", []string{"F"}},
		{"wrap", "change", &k.Wrap, "cut or wrap long lines", []string{"w"}},
		{"split", "change", &k.Split, "side by side", []string{"s"}},
		{"raw", "change", &k.Raw, "raw text of the change", []string{"r"}},
		{"document", "change", &k.Document, "the whole document", []string{"o"}},
		{"info", "change", &k.Info, "all details", []string{"i"}},
		{"zoom", "change", &k.Zoom, "the change only", []string{"z"}},

		{"queue", "views", &k.Queue, "queue", []string{"1"}},
	}
	return append(append(before, tabs...), []named{
		{"filter", "views", &k.Filter, "filter by kind", []string{"t"}},
		{"more", "views", &k.More, "load older ones", []string{"+"}},
		{"act", "views", &k.Act, "pause, resume, acknowledge", []string{"p"}},
		{"undo", "views", &k.Undo, "propose to undo an executed change", []string{"u"}},

		{"mouse", "console", &k.Mouse, "mouse on or off; it never decides", []string{"M"}},
		{"refresh", "console", &k.Refresh, "reload everything", []string{"R", "ctrl+l"}},
		{"help", "console", &k.Help, "keys", []string{"?"}},
		{"suspend", "console", &k.Suspend, "to the shell, back with fg", []string{"ctrl+z"}},
		{"quit", "console", &k.Quit, "quit", []string{"q", "ctrl+c"}},
	}...)
}

// DefaultKeys returns the keys that apply without a file.
func DefaultKeys() *KeyMap { return newKeys(screenTable()) }

func bind(n named, keys []string) {
	*n.binding = key.NewBinding(key.WithKeys(keys...), key.WithHelp(show(keys), n.say))
}

// show formats keys for people.
func show(keys []string) string {
	var out []string
	for _, k := range keys {
		switch k {
		case "up":
			k = "↑"
		case "down":
			k = "↓"
		case "left":
			k = "←"
		case "right":
			k = "→"
		}
		out = append(out, k)
	}
	return strings.Join(out, " ")
}

// spell formats keys as this terminal can show them.
func (m *Model) spell(keys []string) string {
	if m.cfg.ASCII {
		return strings.Join(keys, " ")
	}
	return show(keys)
}

// first formats the first key of a binding as this terminal can show it.
func (m *Model) first(b key.Binding) string {
	if k := b.Keys(); len(k) > 0 {
		return m.spell(k[:1])
	}
	return ""
}

// first formats the first key of a binding, for the key line.
func first(b key.Binding) string {
	if k := b.Keys(); len(k) > 0 {
		return show(k[:1])
	}
	return ""
}

// never lists the keys that cannot be assigned to a decision, because people
// press them without thinking.
var never = []string{"enter", "esc", "space", "tab", "backspace", "up", "down", "left", "right"}

// LoadKeys reads a key map from a YAML file of "name: [keys]". Keys that the
// file does not name keep their defaults, and a missing file gives the
// defaults. An error says what is wrong with the file; the caller then uses
// the defaults.
func LoadKeys(path string) (*KeyMap, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return DefaultKeys(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	return parseKeys(path, b)
}
