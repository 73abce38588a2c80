package expr

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// TestScopes: record and answer are known where they are meant and nowhere else.
func TestScopes(t *testing.T) {
	base := env(t)
	record, err := base.Record()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := base.Answer()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env *Env
		src string
	}{{base, "record.a == 1"}, {base, "answer.a == 1"}, {record, "answer.a == 1"}, {answer, "record.a == 1"}} {
		var e *Error
		if _, err := c.env.Compile(c.src, Bool); !errors.As(err, &e) || !strings.Contains(e.Message, "undeclared reference") {
			t.Errorf("%s compiles where it means nothing: %v", c.src, err)
		}
	}
	p, err := record.Compile("record.list.transformList(i, x, x.name == args.name, i)[0]", Dyn)
	if err != nil {
		t.Fatal(err)
	}
	var doc any = map[string]any{"list": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}}
	got, err := p.Any(&Vars{Args: map[string]any{"name": "b"}, Record: &doc})
	if err != nil || !reflect.DeepEqual(got, int64(1)) {
		t.Errorf("the place in a list is %v, %v", got, err)
	}
	if _, err := p.Any(&Vars{Args: map[string]any{"name": "b"}}); err == nil {
		t.Error("an expression over an unknown record has a value")
	}
	var null any
	p, err = record.Compile("record == null ? 'none' : 'one'", String)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := p.String(&Vars{Record: &null}); err != nil || s != "none" {
		t.Errorf("no record is %q, %v", s, err)
	}
}

// TestScopesAreBounded: what is not estimated stops when it runs.
func TestScopesAreBounded(t *testing.T) {
	record, err := env(t).Record()
	if err != nil {
		t.Fatal(err)
	}
	p, err := record.Compile("record.all(a, record.all(b, record.all(c, record.all(d, a + b + c + d >= 0))))", Bool)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]any, 200)
	for i := range list {
		list[i] = int64(i)
	}
	var doc any = list
	if _, err := p.Bool(&Vars{Record: &doc}); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("an expression without end ends with %v", err)
	}
}
