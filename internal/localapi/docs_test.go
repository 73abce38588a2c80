package localapi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestTheAPIIsDocumented compares docs/control-api.md with the program: every
// address, every problem code and every member of an approval.
func TestTheAPIIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/control-api.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	section := func(from, to string) string {
		_, rest, ok := strings.Cut(page, from)
		part, _, closed := strings.Cut(rest, to)
		if !ok || !closed {
			t.Fatalf("docs/control-api.md has nothing between %q and %q", from, to)
		}
		return part
	}

	source, err := os.ReadFile("routes.go")
	if err != nil {
		t.Fatal(err)
	}
	var served []string
	for _, m := range regexp.MustCompile(`(?m)^\t(?:read|decide|add)\((?:http\.Method(\w+), )?"(/v1/[^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		method := strings.ToUpper(m[1])
		if method == "" {
			method = "GET"
		}
		served = append(served, m[2]+" "+method)
	}
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+) ([^`?]+)").FindAllStringSubmatch(section("## Addresses", "### Lists"), -1) {
		told = append(told, m[2]+" "+m[1])
	}
	slices.Sort(served)
	slices.Sort(told)
	if !slices.Equal(served, told) {
		t.Errorf("served are\n%s\ntold are\n%s", strings.Join(served, "\n"), strings.Join(told, "\n"))
	}

	problems := section("## Problems", "| 500 |") + page[strings.Index(page, "| 500 |"):]
	for _, code := range codes(t) {
		if !strings.Contains(problems, "`"+code+"`") {
			t.Errorf("the code %q stands nowhere", code)
		}
	}

	members := section("An approval in a list has", "### Deciding")
	for _, typ := range []reflect.Type{reflect.TypeFor[client.Approval](), reflect.TypeFor[client.Detail](), reflect.TypeFor[client.Diff](),
		reflect.TypeFor[client.Receipt](), reflect.TypeFor[client.Context](), reflect.TypeFor[client.Requester]()} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if name != "" && !regexp.MustCompile(`\b`+name+`\b`).MatchString(members) {
				t.Errorf("the member %q of %s stands nowhere", name, typ.Name())
			}
		}
	}
}

// codes returns the problem codes: those of package client, and the rules that
// refuse an approver.
func codes(t *testing.T) (list []string) {
	t.Helper()
	for file, prefix := range map[string]string{"../client/problem.go": "Code", "../ipc/approver.go": "Rule"} {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		n := len(list)
		ast.Inspect(tree, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(v.Names[0].Name, prefix) || len(v.Values) != 1 {
				return true
			}
			if lit, ok := v.Values[0].(*ast.BasicLit); ok {
				s, _ := strconv.Unquote(lit.Value)
				list = append(list, s)
			}
			return true
		})
		if len(list) == n {
			t.Fatalf("%s has no codes", file)
		}
	}
	return list
}
