package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/expr"
)

func check(t testing.TB, schema, args string, strict bool) error {
	t.Helper()
	s, err := compileSchema([]byte(schema))
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	v, err := expr.DecodeArgs([]byte(args))
	if err != nil {
		t.Fatal(err)
	}
	return s.check(v.Plain, strict)
}

func TestStrictSchema(t *testing.T) {
	for _, c := range []struct {
		schema, args, want string // want: part of the error, "" for none
	}{
		{`{"type":"object","properties":{"a":{"type":"string"}}}`, `{"a":"x"}`, ``},
		{`{"type":"object","properties":{"a":{"type":"string"}}}`, `{"a":"x","b":1}`, `"b"`},
		{`{"type":"object","properties":{"a":{"type":"string"}}}`, `{"a":1}`, `the argument "a" must be string`},
		{`{"type":"object","properties":{"a":{}},"required":["a"]}`, `{}`, `must have "a"`},
		{`{"type":"object","properties":{"a":{"enum":["x","y"]}}}`, `{"a":"z"}`, `must be one of ["x","y"]`},
		{`{"type":"object"}`, `{}`, ``},
		// A schema that names no member takes any; one that names some is closed.
		{`{"type":"object"}`, `{"a":1}`, ``},
		{`{}`, `{"a":{"b":1}}`, ``},
		{`{"type":"object","properties":{}}`, `{"a":1}`, ``},
		{`{"type":"object","required":["a"]}`, `{"a":1}`, ``},
		{`{"type":"object","required":["a"]}`, `{"a":1,"b":2}`, `"b"`},
		{`{"type":"object","properties":{"a":{}},"required":["a","b"]}`, `{"a":1,"b":2}`, ``},
		{`{"type":"object","properties":{"l":{"type":"array","items":{"type":"object"}}}}`, `{"l":[{"x":1},{"z":{"q":1}}]}`, ``},
		{`{"type":"object","properties":{"l":{"type":"array","items":{}}}}`, `{"l":[{"x":1}]}`, ``},
		{`{"type":"object","properties":{"v":{"anyOf":[{"type":"string"},{"type":"object"}]}}}`, `{"v":{"x":1}}`, ``},
		{`{"type":"object","properties":{"v":{"anyOf":[{"type":"object","properties":{"x":{}}},{"type":"object"}]}}}`, `{"v":{"y":1}}`, ``},
		{`{"type":"object","properties":{"v":{"anyOf":[{"type":"object","properties":{"x":{}}},{"type":"null"},{"enum":["q"]},false]}}}`, `{"v":{"y":1}}`, `"v"."y"`},
		{`{"type":"object","properties":{"v":{"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"}]}},"$defs":{"a":{"properties":{"x":{}}},"b":{"properties":{"y":{}}}}}`, `{"v":{"z":1}}`, `"v"."z"`},
		{`{"type":"object","properties":{"v":{"type":"object","properties":{"x":{}},"anyOf":[{"type":"object"}]}}}`, `{"v":{"y":1}}`, `"v"."y"`},
		{`{"type":"object","properties":{"v":{"allOf":[{"type":"object"},{"properties":{"x":{}}}]}}}`, `{"v":{"y":1}}`, `"v"."y"`},
		{`{"type":"object","properties":{"v":{"$ref":"#/$defs/free"}},"$defs":{"free":{"type":"object","description":"any"}}}`, `{"v":{"y":1}}`, ``},
		{`{"type":"object","properties":{"t":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"object","allOf":[{"$ref":"#/$defs/m"}]},"m":{"properties":{"k":{"$ref":"#/$defs/n"}}}}}`, `{"t":{"k":{"q":1}}}`, `"t"."k"."q"`},
		{`{"type":"object","additionalProperties":true}`, `{"a":1}`, ``},
		{`{"type":"object","additionalProperties":{"type":"string"}}`, `{"a":"x"}`, ``},
		{`{"type":"object","additionalProperties":{"type":"string"}}`, `{"a":1}`, `must be string`},
		{`{"type":"object","additionalProperties":false}`, `{"a":1}`, `must not have "a"`},
		{`{"type":"object","additionalProperties":{"type":"object","properties":{"x":{}}}}`, `{"a":{"y":1}}`, `"a"."y"`},
		{`{"type":"object","properties":{"o":{"type":"object","properties":{"x":{}}}}}`, `{"o":{"x":1,"y":2}}`, `"o"."y"`},
		{`{"type":"object","properties":{"o":{"type":"object"}}}`, `{"o":{"y":2}}`, ``},
		{`{"type":"object","properties":{"o":{}}}`, `{"o":{"y":2}}`, ``},
		{`{"type":"object","properties":{"l":{"type":"array","items":{"type":"object","properties":{"x":{}}}}}}`, `{"l":[{"x":1},{"z":1}]}`, `"l".1."z"`},
		{`{"type":"object","properties":{"l":{"prefixItems":[{"type":"object","properties":{"x":{}}}],"items":{"type":"object","properties":{"y":{}}}}}}`, `{"l":[{"x":1},{"x":1}]}`, `"l".1."x"`},
		{`{"allOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]}`, `{"a":1,"b":2}`, ``},
		{`{"allOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]}`, `{"a":1,"c":2}`, `"c"`},
		{`{"anyOf":[{"properties":{"a":{}},"required":["a"]},{"properties":{"b":{}},"required":["b"]}]}`, `{"b":2}`, ``},
		{`{"properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"object","properties":{"y":{}}}}}`, `{"a":{"z":1}}`, `"a"."z"`},
		{`{"properties":{"a":{"$ref":"#x"}},"$defs":{"x":{"$anchor":"x","type":"object","properties":{"y":{}}}}}`, `{"a":{"y":1}}`, ``},
		{`{"properties":{"n":{"type":"integer"},"c":{"$ref":"#"}}}`, `{"n":1,"c":{"c":{"n":2,"q":1}}}`, `"c"."c"."q"`},
		{`{"patternProperties":{"^x-":{"type":"string"}}}`, `{"x-a":"1"}`, ``},
		{`{"patternProperties":{"^x-":{"type":"string"}}}`, `{"y-a":"1"}`, `"y-a"`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"a":{"type":"string"}}}`, `{"a":"x","b":1}`, `"b"`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"a":{"$ref":"#/definitions/x"}},"definitions":{"x":{"type":"integer"}}}`, `{"a":"x"}`, `must be integer`},
		{`{"properties":{"a":{"type":"string","pattern":"^\\d+$"}}}`, `{"a":"x"}`, `pattern`},
		{`{"properties":{"a":{"type":"integer","maximum":9007199254740991}}}`, `{"a":9007199254740992}`, `maximum`},
		{`{"properties":{"a":{"type":"integer"}}}`, `{"a":3.0}`, ``},
		{`{"properties":{"a":{"not":{"type":"object","properties":{"q":{}}}}}}`, `{"a":5}`, ``},
		{`{"properties":{"\u0001\u202e":{"type":"string"}}}`, `{"\u0001\u202e":1}`, `\x01\u202e`},
	} {
		err := check(t, c.schema, c.args, true)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s with %s:\n got %v, want %q", c.schema, c.args, err, c.want)
		}
	}
	if err := check(t, `{"type":"object","properties":{"a":{}}}`, `{"b":1}`, false); err != nil {
		t.Errorf("extra members are allowed, but: %v", err)
	}
}

// TestPromise1_HostileSchemas: a definition cannot make the guard read a file,
// run out of stack or time, or crash; the tool is then not callable.
func TestPromise1_HostileSchemas(t *testing.T) {
	fan := `{"type":"object","properties":{"a":{"$ref":"#/$defs/d0"}},"$defs":{`
	for i := range 40 {
		fan += fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	fan += `"d40":{"type":"string"}}}`
	tree := `{"properties":{"x":{}},"anyOf":[{"properties":{"x":{"$ref":"#"}}},{"properties":{"x":{"$ref":"#"}}}]}`
	deep := strings.Repeat(`{"x":`, 60) + `{"q":1}` + strings.Repeat(`}`, 60)
	for _, c := range []struct{ name, schema, args string }{
		{"remote reference", `{"$ref":"https://example.com/x"}`, `{}`},
		{"file reference", `{"properties":{"a":{"$ref":"file:///etc/passwd"}}}`, `{}`},
		{"foreign dialect", `{"$schema":"https://example.com/dialect"}`, `{}`},
		{"embedded schema", `{"properties":{"a":{"$id":"https://example.com/a","$ref":"#/x"}}}`, `{}`},
		{"dangling reference", `{"$ref":"#/$defs/none"}`, `{}`},
		{"self reference", `{"$ref":"#"}`, `{}`},
		{"reference circle", `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`, `{}`},
		{"deep", strings.Repeat(`{"not":`, 200) + `{}` + strings.Repeat(`}`, 200), `{}`},
		{"large", `{"description":"` + strings.Repeat("x", maxSchema) + `"}`, `{}`},
		{"number", `{"properties":{"a":{"maximum":1e99999}}}`, `{"a":1}`},
		{"bad keyword", `{"properties":7}`, `{}`},
		{"bad pattern", `{"properties":{"a":{"pattern":"("}}}`, `{}`},
		{"fan-out", fan, `{"a":"x"}`},
		{"recursive fan-out", tree, deep},
		{"slow pattern", `{"properties":{"a":{"pattern":"^(a+)+$"}}}`, `{"a":"` + strings.Repeat("a", 60) + `!"}`},
		{"slow pattern turned round", `{"properties":{"a":{"not":{"pattern":"^(a+)+$"}}}}`, `{"a":"` + strings.Repeat("a", 60) + `!"}`},
		{"slow names", `{"patternProperties":{"^(a+)+$":{}},"additionalProperties":true}`, `{"` + strings.Repeat("a", 60) + `!":1}`},
		{"unique items", `{"properties":{"a":{"uniqueItems":true}}}`, `{"a":[` + strings.Repeat("1,", 200_000) + `1]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			s, err := compileSchema([]byte(c.schema))
			if err == nil {
				v, derr := expr.DecodeArgs([]byte(c.args))
				if derr != nil {
					t.Fatal(derr)
				}
				err = s.check(v.Plain, true)
			}
			if err == nil {
				t.Error("accepted")
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestRegexpBudgetIsPerCheck(t *testing.T) {
	s, err := compileSchema([]byte(`{"properties":{"a":{"pattern":"^(a+)+$"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	slow := map[string]any{"a": strings.Repeat("a", 60) + "!"}
	if s.check(slow, true) == nil {
		t.Fatal("accepted")
	}
	if err := s.check(map[string]any{"a": "aaa"}, true); err != nil {
		t.Errorf("after a slow one: %v", err)
	}
}

// FuzzStrict: a check ends whatever a schema says, and what passes strictly also
// passes loosely.
func FuzzStrict(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"type":"string"}}}`, `{"a":"x"}`)
	f.Add(`{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"properties":{"b":{"items":{"$ref":"#"}}}}}}`, `{"b":[{"b":[]}]}`)
	f.Add(`{"patternProperties":{"^x":{}},"unevaluatedProperties":false}`, `{"xa":1}`)
	f.Add(`{"$schema":"http://json-schema.org/draft-07/schema#","dependencies":{"a":["b"],"c":{"properties":{"d":{}}}}}`, `{"c":1,"d":2}`)
	f.Add(`{"properties":{"a":{"prefixItems":[{}],"contains":{"type":"string"},"uniqueItems":true}}}`, `{"a":[1,"x"]}`)
	f.Fuzz(func(t *testing.T, schema, args string) {
		if len(schema) > 4096 || len(args) > 4096 || !json.Valid([]byte(schema)) {
			return
		}
		s, err := compileSchema([]byte(schema))
		if err != nil {
			return
		}
		v, err := expr.DecodeArgs([]byte(args))
		if err != nil {
			return
		}
		strict, loose := s.check(v.Plain, true), s.check(v.Plain, false)
		if strict == nil && loose != nil {
			t.Fatalf("%s with %s: strict passes, loose says %v", schema, args, loose)
		}
	})
}

// TestSchemasOfRealServers uses tool lists of real servers. An unusable schema is
// reported with its cause, and a usable one accepts the calls that its server would
// accept.
func TestSchemasOfRealServers(t *testing.T) {
	unusable := map[string]string{
		"s_dangling":   "refers to \"#/$defs/ScreenInstance\", which is not in it",
		"s_external":   "nothing is loaded",
		"s_format":     "exclusiveMinimum",
		"s_nullable":   "type",
		"badre":        "pattern",
		"exbool":       "exclusiveMinimum",
		"typeany":      "type",
		"requiredbool": "required",
		"v3":           "example.com/own-dialect",
		"uprop2":       "pattern",
		"arrdraft4":    "items",
		"str_addprops": "something else where an object",
	}
	takes := map[string]string{
		"s_empty": `{"a":{"b":1}}`, "s_noprops": `{"a":1}`, "s_noschema": `{}`, "s_null": `{}`,
		"s_defs2020": `{"query_model":{"q":"x"}}`, "s_oneof": `{"b":"x"}`, "s_bool": `{"any":{"x":1}}`,
		"nested_free": `{"data":{"a":{"b":1}}}`, "nested_free2": `{"data":{"a":1}}`, "items_free": `{"rows":[{"a":1}]}`,
		"anyof_free": `{"v":{"a":1}}`, "addtrue": `{"a":1}`, "allof": `{"a":"x","b":"y"}`, "allof_obj": `{"a":"x","b":"y"}`,
		"ifthen": `{"m":"x","q":"y"}`, "patprops": `{"x-a":"1"}`, "patlook": `{"x":"1"}`, "reqmissing": `{"a":"x","b":1}`,
		"discrim": `{"op":{"kind":"b","y":"1"}}`, "idref": `{"a":"x"}`, "relid": `{"a":"x"}`, "pathref": `{"b":"x"}`,
		"itemsfalse": `{"a":["x",1]}`, "vocab": `{"a":["x"]}`, "typenull": `{"a":"x"}`, "lookahead": `{"e":"me@example.com"}`,
	}
	refuses := map[string]string{
		"s_noschema": `{"a":1}`, "s_null": `{"a":1}`, "s_defs2020": `{"query_model":{"z":1}}`, "s_recursive": `{"tree":{"kids":[{"z":1}]}}`,
		"allof": `{"c":1}`, "allof_obj": `{"c":1}`, "ifthen": `{"m":"y","z":1}`, "proproot": `{"b":1}`, "patprops": `{"y":1}`,
		"discrim": `{"op":{"kind":"b","z":1}}`, "typenull": `{"b":1}`, "vocab": `{"a":["x","y"]}`,
	}
	for _, file := range []string{"schemas.json", "schemas-odd.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		var tools []json.RawMessage
		if err := json.Unmarshal(data, &tools); err != nil {
			t.Fatal(err)
		}
		for _, raw := range tools {
			var tool struct{ Name string }
			if err := json.Unmarshal(raw, &tool); err != nil {
				t.Fatal(err)
			}
			cause, bad := unusable[tool.Name]
			err := CheckDefinition(raw)
			if (err != nil) != bad || bad && !strings.Contains(err.Error(), cause) {
				t.Errorf("%s: got %v, want an error with %q", tool.Name, err, cause)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: the cause has more than one line: %v", tool.Name, err)
			}
			if err != nil {
				continue
			}
			s, err := compileDefinition(raw)
			if err != nil {
				t.Fatal(err)
			}
			for args, ok := range map[string]bool{takes[tool.Name]: true, refuses[tool.Name]: false} {
				if args == "" {
					continue
				}
				v, err := expr.DecodeArgs([]byte(args))
				if err != nil {
					t.Fatal(err)
				}
				if err := s.check(v.Plain, true); (err == nil) != ok {
					t.Errorf("%s with %s: got %v, want it taken: %v", tool.Name, args, err, ok)
				}
			}
		}
	}
}

// TestDefinitionWithTwoSchemasIsRefused: two parsers could check arguments against
// different ones.
func TestDefinitionWithTwoSchemasIsRefused(t *testing.T) {
	strict, free := `{"type":"object","properties":{"a":{"type":"string"}}}`, `{"type":"object","additionalProperties":true}`
	for _, def := range []string{
		`{"name":"t","inputSchema":` + strict + `,"InputSchema":` + free + `}`,
		`{"name":"t","inputschema":` + free + `}`,
		`{"name":"t","inputSchema":` + strict + `,"inputSchema":` + free + `}`,
	} {
		if _, err := compileDefinition([]byte(def)); err == nil {
			t.Errorf("%s was taken", def)
		}
	}
	if _, err := compileDefinition([]byte(`{"name":"t","inputSchema":` + strict + `,"new":1}`)); err != nil {
		t.Errorf("a member that is not known: %v", err)
	}
}
