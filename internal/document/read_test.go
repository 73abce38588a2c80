package document

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

func TestParseDocument(t *testing.T) {
	for _, c := range []struct {
		ext, text, want string
		notes           Notes
	}{
		{"json", `{"b":1,"a":[2.50]}`, `{"b":1,"a":[2.50]}`, Notes{}},
		{".JSON", "\ufeff{}", `{}`, Notes{BOM: true}},
		{"json", `{"a":1,"b":{"c":1,"c":[{"d":1,"d":2}]},"a":3}`, `{"a":3,"b":{"c":[{"d":2}]}}`, Notes{Duplicates: []string{"/b/c", "/b/c/0/d", "/a"}}},
		{"jsonc", "// c\n{/*x*/\"a\": [1, 2,], // y\n}\n//", `{"a":[1,2]}`, Notes{}},
		{"yaml", "a: 1\nb:\n  - x\n  - 'y'\n  - \"z\\n\"\n# comment\nc: {d: ~, e: }\n", `{"a":1,"b":["x","y","z\n"],"c":{"d":null,"e":null}}`, Notes{}},
		{"yml", "---\nliteral: |\n  one\n  two\nfolded: >-\n  three\n  four\n", `{"literal":"one\ntwo\n","folded":"three four"}`, Notes{}},
		{"yaml", "", `null`, Notes{}},
		{"yaml", "# nothing\n", `null`, Notes{}},
		{"yaml", "plain text", `"plain text"`, Notes{}},
		{"yaml", "- 1.5\n- -3\n- 1.5e+3\n- 0\n- 9007199254740993\n- true\n- False\n- null\n- '1'\n", `[1.5,-3,1.5e+3,0,9007199254740993,true,false,null,"1"]`, Notes{}},
		{"yaml", "a: yes\nb: 'yes'\nc: 012\nd: 0x1F\ne: 1_000\nf: 2001-01-01\ng: 12:30\nh: .inf\ni: 1e3\nj: +1\nk: .5\n", `{"a":"yes","b":"yes","c":12,"d":31,"e":"1_000","f":"2001-01-01","g":"12:30","h":".inf","i":1e3,"j":1,"k":0.5}`,
			Notes{Ambiguous: []string{"/a yes", "/c 012", "/d 0x1F", "/e 1_000", "/f 2001-01-01", "/g 12:30", "/h .inf", "/i 1e3", "/j +1", "/k .5"}}},
		{"yaml", "a: 1\nb: 2\na: 3\n", `{"a":3,"b":2}`, Notes{Duplicates: []string{"/a"}}},
		{"yaml", "base: &b {x: 1, z: 2}\nuse:\n  <<: *b\n  z: 3\nagain: *b\n", `{"base":{"x":1,"z":2},"use":{"z":3,"x":1},"again":{"x":1,"z":2}}`,
			Notes{Anchors: []string{"b"}, MergeKeys: []string{"/use"}, Ambiguous: []string{"/use <<"}}},
		{"yaml", "a: &a {x: 1}\nb: &b {x: 2, z: 2}\nc:\n  <<: [*a, *b]\n", `{"a":{"x":1},"b":{"x":2,"z":2},"c":{"x":1,"z":2}}`,
			Notes{Anchors: []string{"a", "b"}, MergeKeys: []string{"/c"}, Ambiguous: []string{"/c <<"}}},
		{"yaml", "v: !!str 1\nw: !!float 2\nx: !Ref name\n", `{"v":"1","w":2.0,"x":{"!Ref":"name"}}`, Notes{Ambiguous: []string{"/x !Ref"}}},
		{"yaml", "1: a\nnull: b\n", `{"1":"a","null":"b"}`, Notes{Ambiguous: []string{" 1:", " null:"}}},
		{"yaml", "on:\n  y: 1\n", `{"on":{"y":1}}`, Notes{Ambiguous: []string{" on:", "/on y:"}}},
		{"yaml", "a:\r\n  b: c\r\n", `{"a":{"b":"c"}}`, Notes{}},
		{"toml", "b = 1\na = 1.0\n[t]\ns = \"x\"\nl = [1, 2]\n[[u]]\nn = true\n[[u]]\nn = false\n", `{"a":1.0,"b":1,"t":{"l":[1,2],"s":"x"},"u":[{"n":true},{"n":false}]}`, Notes{}},
		{"toml", "d = 1979-05-27\nt = 07:32:00\nz = 1979-05-27T07:32:00Z\nl = 1979-05-27T07:32:00\ni = inf\nm = 9007199254740993\ne = 1e6\n", `{"d":"1979-05-27","e":1e+06,"i":"+Inf","l":"1979-05-27T07:32:00","m":9007199254740993,"t":"07:32:00","z":"1979-05-27T07:32:00Z"}`,
			Notes{Ambiguous: []string{"/d 1979-05-27", "/i +Inf", "/l 1979-05-27T07:32:00", "/t 07:32:00", "/z 1979-05-27T07:32:00Z"}}},
		{"toml", "", `{}`, Notes{}},
	} {
		v, notes, err := ParseDocument(c.ext, []byte(c.text))
		if notes.Format == "" {
			t.Errorf("%s %q: no format", c.ext, c.text)
		}
		c.notes.Format = notes.Format
		if err != nil || v.String() != c.want || !reflect.DeepEqual(notes, c.notes) {
			t.Errorf("%s %q\n got %v %+v %v\nwant %s %+v", c.ext, c.text, v, notes, err, c.want, c.notes)
		}
	}
}

func TestParseDocumentRefuses(t *testing.T) {
	laughs := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 30 {
		laughs += fmt.Sprintf("a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i+1, i+1, i, i, i, i, i, i, i, i, i)
	}
	wide := "m: &m {"
	for i := range 2000 {
		wide += fmt.Sprintf("k%d: 1,", i)
	}
	wide += "}\nl:\n" + strings.Repeat("- <<: *m\n", 1000)
	for _, c := range []struct {
		name, ext, text string
		want            error
	}{
		{"unknown", "txt", "", ErrUnknownFormat},
		{"none", "", "", ErrUnknownFormat},
		{"two documents", "yaml", "a: 1\n---\nb: 2\n", ErrNotOneDocument},
		{"an empty second document", "yaml", "a: 1\n---\n", ErrNotOneDocument},
		{"comments in JSON", "json", "{} // c", nil},
		{"empty JSON", "json", "", nil},
		{"malformed JSONC", "jsonc", "{,}", nil},
		{"unclosed comment", "jsonc", "{} /* c", nil},
		{"malformed YAML", "yaml", "a: [1\n", nil},
		{"unknown alias", "yaml", "a: *b\n", nil},
		{"alias of itself", "yaml", "a: &a [*a]\n", nil},
		{"object as a name", "yaml", "? {a: 1}\n: b\n", nil},
		{"merge of a scalar", "yaml", "a: &a 1\nb:\n  <<: *a\n", nil},
		{"wrong tag", "yaml", "a: !!int x\n", nil},
		{"aliases without end", "yaml", laughs, ErrTooLarge},
		{"merges without end", "yaml", wide, ErrTooLarge},
		{"many lines", "yaml", strings.Repeat("- a\n", 20_000), ErrTooLarge},
		{"long YAML", "yaml", "a: " + strings.Repeat("x", 2<<20), ErrTooLarge},
		{"many brackets", "yaml", strings.Repeat("[", 500_000), ErrTooLarge},
		{"many dashes", "yaml", strings.Repeat("- ", 500_000), ErrTooLarge},
		{"deep YAML", "yaml", strings.Repeat("[", 5000) + strings.Repeat("]", 5000), nil},
		{"deep dashes", "yaml", strings.Repeat("- ", 5000) + "a", nil},
		{"invalid UTF-8 in YAML", "yaml", "a: \xff\n", nil},
		{"malformed TOML", "toml", "a = \n", nil},
		{"twice in TOML", "toml", "a = 1\na = 2\n", nil},
		{"deep TOML", "toml", "a = " + strings.Repeat("[", 4000) + strings.Repeat("]", 4000), nil},
		{"many keys", "toml", strings.Repeat("a.", 2) + "b = 1\n" + strings.Repeat("#\n", 20_000), ErrTooLarge},
	} {
		v, _, err := ParseDocument(c.ext, []byte(c.text))
		if err == nil || v.Present() || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %.80v, %v; want %v", c.name, v, err, c.want)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: the error has %d bytes", c.name, len(err.Error()))
		}
	}
}

// TestSameReading: only what every parser reads alike is formatting.
func TestSameReading(t *testing.T) {
	for _, c := range []struct {
		ext, before, after string
		want               bool
	}{
		{"json", `{"a":1,"b":[2]}`, "{\n \"b\": [2],\n \"a\": 1\n}", true},
		{"json", `{"a":1}`, `{"a":1.0}`, false},
		{"json", `{"a":1}`, `{"a":2,"a":1}`, false},
		{"json", `{"a":1}`, "\ufeff{\"a\":1}", false},
		{"yaml", "a: x # c\nb: 'z'\n", "b: z\na: \"x\"\n", true},
		{"yaml", "a: yes\n", "a: 'yes'\n", false},
		{"yaml", "a: yes\nb: c\n", "a: yes\nb: 'c'\n", true},
		{"yaml", "a: 010\n", "a: 10\n", false},
		{"yaml", "a: 1.0\n", "a: 1\n", false},
		{"yaml", "a: 1.10\n", "a: 1.1\n", true},
		{"yaml", "a: !x b\n", "a: {'!x': b}\n", false},
		{"yaml", "a: &x {b: 1}\nc: {<<: *x}\n", "a: {b: 1}\nc: {b: 1}\n", false},
		{"yaml", "a: &x {b: 1}\nc: *x\n", "a: {b: 1}\nc: {b: 1}\n", true},
		{"yaml", "1: a\n", "'1': a\n", false},
		{"toml", "d = 1979-05-27\n", "d = \"1979-05-27\"\n", false},
		{"toml", "d = 1979-05-27 # c\n", "d=1979-05-27\n", true},
		{"toml", "a = 0x10\n", "a = 16\n", true},
	} {
		v, n, err := ParseDocument(c.ext, []byte(c.before))
		if err != nil {
			t.Fatal(err)
		}
		w, m, err := ParseDocument(c.ext, []byte(c.after))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(jsonvalue.MakePatch(v, w)) == 0 && n.SameReading(m); got != c.want {
			t.Errorf("%q and %q: same %v; %v %+v, %v %+v", c.before, c.after, got, v, n, w, m)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add("yaml", []byte("a: &x [1, 'b', !!str 2]\nc: {<<: {d: ~}}\n? e\n: |\n  f\n"))
	f.Add("toml", []byte("a = [1.5, 2001-01-01]\n[b]\nc = \"d\"\n"))
	f.Add("jsonc", []byte("// c\n{\"a\": [1,],}"))
	f.Add("json", []byte(`{"a":1,"a":{"b":[]}}`))
	f.Fuzz(func(t *testing.T, ext string, data []byte) {
		v, _, err := ParseDocument(ext, data)
		if err != nil {
			return
		}
		w, err := jsonvalue.Decode(v.Encode())
		if err != nil || !w.Equal(v) {
			t.Fatalf("%s %q reads as %v, which does not read again: %v", ext, data, v, err)
		}
	})
}
