package theme

import (
	"reflect"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"

	"github.com/mcpguard/mcpguard/internal/safetext"
)

func each(t *testing.T, do func(t *testing.T, th Theme)) {
	for _, dark := range []bool{true, false} {
		for _, p := range []colorprofile.Profile{colorprofile.ASCII, colorprofile.ANSI, colorprofile.ANSI256, colorprofile.TrueColor} {
			name := p.String() + "/light"
			if dark {
				name = p.String() + "/dark"
			}
			t.Run(name, func(t *testing.T) { do(t, New(dark, p)) })
		}
	}
}

// styles returns every named style of a theme.
func styles(th Theme) map[string]Style {
	out := map[string]Style{}
	v := reflect.ValueOf(th)
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		if s, ok := v.Field(i).Interface().(Style); ok {
			out[v.Type().Field(i).Name] = s
		}
	}
	return out
}

func TestLevelsUseTheirOwnSequencesAlone(t *testing.T) {
	each(t, func(t *testing.T, th Theme) {
		for name, s := range styles(th) {
			out := s.Render(safetext.Text("x"))
			full, indexed := strings.Contains(out, "8;2;"), strings.Contains(out, "8;5;")
			switch th.Profile {
			case colorprofile.TrueColor:
				if indexed {
					t.Errorf("%s: %q", name, out)
				}
			case colorprofile.ANSI256:
				if full {
					t.Errorf("%s: %q", name, out)
				}
			case colorprofile.ANSI:
				if full || indexed {
					t.Errorf("%s: %q", name, out)
				}
			default:
				for _, code := range strings.FieldsFunc(out, func(r rune) bool { return strings.ContainsRune("\x1b[;mx", r) }) {
					if len(code) > 1 {
						t.Errorf("%s has a colour without colours: %q", name, out)
					}
				}
			}
		}
	})
}

// TestMeaningSurvivesWithoutColours holds apart what must not look alike.
func TestMeaningSurvivesWithoutColours(t *testing.T) {
	each(t, func(t *testing.T, th Theme) {
		x := safetext.Text("x")
		plain := th.Context.Render(x)
		for name, s := range map[string]Style{
			"hazard": th.Hazard, "added word": th.AddWord, "removed word": th.RemoveWord, "match": th.Match,
			"selected": th.Selected, "key": th.Key, "title": th.Title, "T2": th.Badge("T2_IRREVERSIBLE_WRITE"), "NEVER": th.Badge("NEVER"),
		} {
			if s.Render(x) == plain {
				t.Errorf("%s looks like plain text", name)
			}
		}
		if th.Badge("T1").Render(x) == th.Badge("T2").Render(x) {
			t.Error("the badges of T1 and T2 look alike")
		}
		if th.Match.Render(x) == th.CurrentMatch.Render(x) {
			t.Error("the current match looks like any other")
		}
	})
}

func TestUnknownTierHasStyleOfHighest(t *testing.T) {
	th := New(true, colorprofile.TrueColor)
	x := safetext.Text("x")
	for _, tier := range []string{"", "T", "T9", "t1", "INVALID_TIER"} {
		if th.Badge(tier).Render(x) != th.Badge("NEVER").Render(x) {
			t.Errorf("%q has a badge of its own", tier)
		}
	}
}

func TestOnKeepsWhatIsSetAbove(t *testing.T) {
	th := New(true, colorprofile.TrueColor)
	out := th.Bad.On(th.Selected).Render(safetext.Text("x"))
	if !strings.Contains(out, "38;2;255;123;114") || !strings.Contains(out, "48;2;40;52;79") {
		t.Errorf("got %q", out)
	}
}

func BenchmarkRender(b *testing.B) {
	s, l := New(true, colorprofile.TrueColor).Add, safetext.Text("return price.Mul(rate)")
	for b.Loop() {
		s.Render(l)
	}
}
