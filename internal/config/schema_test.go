package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mcpguard/mcpguard/configs"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
)

var update = flag.Bool("update", false, "write configs/mcpguard.schema.json from the Go types")

type object = map[string]any

// schemaBuilder derives the JSON Schema for editors from the types that the
// loader fills, so that neither can know a key that the other does not.
type schemaBuilder struct {
	defs object
}

func (b *schemaBuilder) of(t reflect.Type, f reflect.StructField) object {
	str := func(pattern string) object { return object{"type": "string", "pattern": pattern} }
	switch t {
	case reflect.TypeFor[guard.Tier]():
		return object{"enum": tierWords}
	case reflect.TypeFor[Access]():
		return object{"enum": []string{"allow", "deny"}}
	case reflect.TypeFor[Duration]():
		return str(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$|^[0-9]+d$`)
	case reflect.TypeFor[HoldTime]():
		return str(`^wait$|^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)
	case reflect.TypeFor[Size]():
		return object{"anyOf": []object{{"type": "integer", "minimum": 1}, str(`^[0-9]+ ?(B|kB|KB|KiB|MB|MiB|GB|GiB)?$`)}}
	case reflect.TypeFor[Rate]():
		return str(`^[0-9]+/[smh]$`)
	case reflect.TypeFor[Unsigned]():
		return object{"enum": []any{"no", false}}
	case reflect.TypeFor[SecretRef]():
		return str(`^(file|env|cmd):.`)
	case reflect.TypeFor[Sensitive]():
		return object{"anyOf": []object{{"type": "boolean"}, {"type": "array", "items": b.of(reflect.TypeFor[Rule](), f)}}}
	case reflect.TypeFor[Expression]():
		return object{"type": []string{"string", "number", "boolean"}}
	case reflect.TypeFor[Effect]():
		kinds := object{}
		var bare []object
		for _, k := range effect.Kinds() {
			about, _ := effect.Lookup(k)
			if about.Bare {
				bare = append(bare, object{"const": k})
			}
			if about.Record != "" {
				record := b.structure(reflect.TypeFor[Record]())
				required, optional := effect.Params(k)
				for _, name := range append(required, optional...) {
					record["properties"].(object)[name] = b.of(reflect.TypeFor[Expression](), f)
				}
				kinds[k] = record
				continue
			}
			kinds[k] = object{"type": []string{"object", "null"}, "additionalProperties": object{"type": "string"}}
		}
		return object{"anyOf": append(bare,
			object{"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false, "properties": kinds})}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return b.of(t.Elem(), f)
	case reflect.Struct:
		return b.ref(t)
	case reflect.Slice:
		return object{"type": "array", "items": b.of(t.Elem(), f)}
	case reflect.Map:
		if t.Key() == reflect.TypeFor[guard.Tier]() {
			return object{"type": "object", "propertyNames": object{"enum": tierWords}, "additionalProperties": b.of(t.Elem(), reflect.StructField{})}
		}
		return object{"type": []string{"object", "null"}, "additionalProperties": b.of(t.Elem(), reflect.StructField{})}
	case reflect.String:
		if words := f.Tag.Get("enum"); words != "" {
			return object{"enum": strings.Split(words, ",")}
		}
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int:
		return object{"type": "integer", "minimum": 1}
	}
	panic("no schema for " + t.String())
}

func (b *schemaBuilder) ref(t reflect.Type) object {
	if _, ok := b.defs[t.Name()]; !ok {
		b.defs[t.Name()] = object{} // a type may contain itself
		b.defs[t.Name()] = b.structure(t)
	}
	return object{"$ref": "#/$defs/" + t.Name()}
}

func (b *schemaBuilder) structure(t reflect.Type) object {
	props := object{}
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if name == "" || name == "-" || f.Tag.Get("preset") == "only" {
			continue
		}
		p := b.of(f.Type, f)
		if doc := f.Tag.Get("doc"); doc != "" {
			p["description"] = doc
		}
		props[name] = p
	}
	// A key may be written without a value, as one does while typing.
	return object{"type": []string{"object", "null"}, "additionalProperties": false, "properties": props}
}

func buildSchema(t *testing.T) []byte {
	t.Helper()
	b := &schemaBuilder{defs: object{}}
	root := b.structure(reflect.TypeFor[Config]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "mcpguard configuration"
	root["required"] = []string{"version"}
	root["properties"].(object)["version"] = object{"const": 1, "description": "Version of this format: 1."}
	root["$defs"] = b.defs
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestSchemaForEditors: the schema in configs says exactly what the Go types say.
func TestSchemaForEditors(t *testing.T) {
	want := buildSchema(t)
	if *update {
		if err := os.WriteFile("../../configs/mcpguard.schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(configs.Schema(), want) {
		t.Error("configs/mcpguard.schema.json does not fit the types: run go test ./internal/config -run TestSchemaForEditors -update")
	}
}

// TestSchemaAgrees: every key has a description, and the example fits the schema,
// but a misspelled key does not.
func TestSchemaAgrees(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(configs.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///schema", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:///schema")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(src []byte) error {
		j, err := yaml.YAMLToJSON(src)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
		if err != nil {
			t.Fatal(err)
		}
		return s.Validate(v)
	}
	if err := valid(configs.Example()); err != nil {
		t.Errorf("the example: %v", err)
	}
	for _, bad := range []string{"version: 2\n", "version: 1\nserver: {}\n", "version: 1\nservers: {a: {command: x, tools: {t: {tier: T1}}}}\n", "roots: [/w]\n",
		"version: 1\nservers: {a: {command: x, tools: {t: {tier: T0_READ, limits: {recipients: 3}}}}}\n"} {
		if valid([]byte(bad)) == nil {
			t.Errorf("the schema accepts %q", bad)
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Profile](), reflect.TypeFor[Server](), reflect.TypeFor[Tool](), reflect.TypeFor[Approval](), reflect.TypeFor[Limits]()} {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if y := f.Tag.Get("yaml"); y != "" && y != "-" && f.Tag.Get("doc") == "" {
				t.Errorf("%s.%s has no description", typ.Name(), f.Name)
			}
		}
	}
}
