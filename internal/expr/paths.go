package expr

import (
	"path"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/bmatcuk/doublestar/v4"
)

// pathFunctions declares under and glob. Both work on slash-separated names
// and touch no disk.
func pathFunctions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function("under", cel.Overload("under_string_string",
			[]*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(binary(func(p, dir string) ref.Val {
				if p == "" || dir == "" {
					return types.NewErr("under: a path is empty")
				}
				return types.Bool(Under(p, dir))
			})))),
		cel.Function("glob", cel.Overload("glob_string_string",
			[]*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(binary(func(p, pattern string) ref.Val {
				if p == "" {
					return types.NewErr("glob: the path is empty")
				}
				ok, err := Glob(p, pattern)
				if err != nil {
					return types.NewErr("glob: %v", err)
				}
				return types.Bool(ok)
			})))),
	}
}

func binary(f func(a, b string) ref.Val) func(a, b ref.Val) ref.Val {
	return func(a, b ref.Val) ref.Val {
		x, ok := a.(types.String)
		y, ok2 := b.(types.String)
		if !ok || !ok2 {
			return types.NewErr("a string is needed")
		}
		return f(string(x), string(y))
	}
}

// Under reports whether p is dir or lies in it, comparing whole components:
// ".github" is not under ".git". Both are cleaned first. "." holds every
// relative path that does not climb out.
func Under(p, dir string) bool {
	p, dir = path.Clean(p), path.Clean(dir)
	switch {
	case p == dir:
		return true
	case dir == "/":
		return strings.HasPrefix(p, "/")
	case dir == ".":
		return !strings.HasPrefix(p, "/") && p != ".." && !strings.HasPrefix(p, "../")
	}
	return strings.HasPrefix(p, dir+"/")
}

// Glob reports whether the cleaned path matches the pattern: * and ? stay
// within a component, ** spans them, {a,b} are alternatives.
func Glob(p, pattern string) (bool, error) {
	return doublestar.Match(pattern, path.Clean(p))
}
