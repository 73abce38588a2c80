package redact

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

func textSeeds(f *testing.F) {
	for _, form := range forms(f) {
		f.Add(form.text)
	}
	for _, list := range tokens {
		for _, tok := range list {
			f.Add("a " + tok + " b")
		}
	}
	for _, s := range configured {
		for _, spelled := range spell(s) {
			f.Add(`{"a":"` + spelled + `"}`)
		}
	}
	for _, s := range []string{
		"password=hunter2", `"password": "hunter22"`, "https://u:p@h/", "Bearer 0123456789abcdef", "[REDACTED:jwt]password=[REDACTED:x]a1b2c3d4",
		`\u0070assword=hunter2`, "%70assword=hunter2", "TOKEN=[REDACTED:", "ghp_" + a36 + "ghp_" + a36,
	} {
		f.Add(s)
	}
}

// FuzzText: masking is idempotent, and a configured secret does not survive.
func FuzzText(f *testing.F) {
	textSeeds(f)
	secrets := []string{"hunter2", `quo"te\slash/`, "ünïcødé-秘密"}
	r := New(Config{Secrets: secrets})
	f.Fuzz(func(t *testing.T, in string) {
		before := strings.Clone(in)
		out, found := r.Text([]byte(in))
		if in != before {
			t.Fatal("the input changed")
		}
		if len(found) == 0 && string(out) != in {
			t.Fatalf("%q became %q without a finding", in, out)
		}
		for _, s := range secrets {
			if bytes.Contains(out, []byte(s)) {
				t.Fatalf("%q keeps %q: %q", in, s, out)
			}
		}
		if again, f2 := r.Text(out); !bytes.Equal(again, out) || len(f2) > 0 {
			t.Fatalf("%q became %q, and then %q %v", in, out, again, f2)
		}
		if len(found) > 0 && !ContainsMarker(out) {
			t.Fatalf("%q became %q without a marker", in, out)
		}
	})
}

// FuzzJSON: valid input stays valid, only strings and names change, and no secret
// survives in a decoded string.
func FuzzJSON(f *testing.F) {
	for _, form := range forms(f) {
		f.Add(append(append([]byte(`{"text":`), jsonrpc.QuoteString(form.text)...), '}'))
	}
	f.Add([]byte(`{"password":"x","n":[1,null,{"a":"hunter2"}],"t":"{\"token\":\"x\"}"}`))
	f.Add([]byte(`{"` + "ghp_" + a36 + `":{"type":"string"},"secret":{"type":"string"},"\u0070assword":["\u0068unter2"]}`))
	f.Add([]byte(`["https:\/\/u:p@h","[{\"password\":\"[REDACTED:member]\"}]",1e999]`))
	secrets := []string{"hunter2", `quo"te\slash/`}
	r := New(Config{Secrets: secrets})
	f.Fuzz(func(t *testing.T, in []byte) {
		out, found, err := r.JSON(in)
		if jsonrpc.Check(in, jsonrpc.Limits{}) != nil {
			return
		}
		if err != nil {
			if out != nil {
				t.Fatalf("%q: output with error %v", in, err)
			}
			return
		}
		if err := jsonrpc.Check(out, jsonrpc.Limits{}); err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		if len(found) == 0 && !bytes.Equal(in, out) {
			t.Fatalf("%q became %q without a finding", in, out)
		}
		// The quick pass must not miss what the walk would find.
		if w, err := r.walk(out, 0); err != nil || len(w.edits) > 0 {
			t.Fatalf("%q became %q, in which the walk finds %v %v", in, out, w.counts, err)
		}
		if a, b := skeleton(in), skeleton(out); a != b {
			t.Fatalf("%q became %q: %s, %s", in, out, a, b)
		}
		var v any
		d := json.NewDecoder(bytes.NewReader(out))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if holds(v, s) {
				t.Fatalf("%q keeps %q: %q", in, s, out)
			}
		}
		if again, f2, err := r.JSON(out); err != nil || !bytes.Equal(again, out) || len(f2) > 0 {
			t.Fatalf("%q became %q, and then %q %v %v", in, out, again, f2, err)
		}
	})
}

// skeleton returns the text with every string emptied.
func skeleton(b []byte) string {
	var out []byte
	for i := 0; i < len(b); i++ {
		out = append(out, b[i])
		if b[i] == '"' {
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		}
	}
	return string(out)
}

func holds(v any, s string) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, s)
	case []any:
		for _, e := range v {
			if holds(e, s) {
				return true
			}
		}
	case map[string]any:
		for k, e := range v {
			if strings.Contains(k, s) || holds(e, s) {
				return true
			}
		}
	}
	return false
}

func TestConcurrentUse(t *testing.T) {
	r := New(Config{Secrets: configured})
	in := []byte(`{"password":"x","t":"` + "ghp_" + a36 + `"}`)
	want, wf, _ := r.JSON(in)
	done := make(chan struct{})
	for range 8 {
		go func() { // ends by itself
			defer func() { done <- struct{}{} }()
			for range 50 {
				if got, f, _ := r.JSON(in); !bytes.Equal(got, want) || !reflect.DeepEqual(f, wf) {
					t.Errorf("got %s %v", got, f)
				}
			}
		}()
	}
	for range 8 {
		<-done
	}
}
