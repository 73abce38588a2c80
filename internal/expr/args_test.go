package expr

import (
	"fmt"
	"testing"
)

// TestArgPaths: the arguments that an expression reads are taken from its syntax
// tree: no text in it can look like an argument, and none can be hidden.
func TestArgPaths(t *testing.T) {
	env, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ src, paths, plain string }{
		{"args.a", "[[a]]", "a"},
		{" ( args . a ) ", "[[a]]", "a"},
		{`args["a b"]`, "[[a b]]", "a b"},
		{"args['it\\'s']", "[[it's]]", "it's"},
		{"args.a.b", "[[a b]]", ""},
		{`args.a["b"].c`, "[[a b c]]", ""},
		{"args.a[0].b", "[[a]]", ""},
		{"args[args.key]", "[[] [key]]", ""},
		{"args", "[[]]", ""},
		{"args.a + args.a + args.b", "[[a] [b]]", ""},
		{`'see args.a and args["b"]'`, "[]", ""},
		{"'x' // args.a\n", "[]", ""},
		{"has(args.a) ? 'x' : 'y'", "[]", ""},
		{"has(args.a.b) ? args.a.b : ''", "[[a b]]", ""},
		{"args.to.map(r, r.email)", "[[to]]", ""},
		{"[1].map(args, args)", "[]", ""},
		{"args.to.filter(args, args.args == 'x')", "[[to]]", ""},
		{"args.map(k, args[k])", "[[]]", ""},
		{"{'a': args.a, args.b: 1}", "[[a] [b]]", ""},
		{"['myargs.x', args.a]", "[[a]]", ""},
	} {
		p, err := env.Compile(c.src, Dyn)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		plain, ok := p.PlainArg()
		if got := fmt.Sprint(p.ArgPaths()); got != c.paths || plain != c.plain || ok != (c.plain != "") {
			t.Errorf("%s: paths %s, plain %q; want %s, %q", c.src, got, plain, c.paths, c.plain)
		}
	}
}
