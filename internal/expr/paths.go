package expr

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/bmatcuk/doublestar/v4"
)

// FunctionsVersion increases when the result of a function here changes; whatever
// is bound to an expression is bound to it too.
const FunctionsVersion = 2

// pathFunctions declares under, glob and the path tests that presets use. All work
// on slash-separated names and do not access the disk.
func pathFunctions() []cel.EnvOption {
	return []cel.EnvOption{
		question("secret_path", SecretPath),
		question("automation_path", AutomationPath),
		question("git_path", GitPath),
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
// ".github" is not under ".git". Both are cleaned first. "." contains every
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

func question(name string, ask func(string) bool) cel.EnvOption {
	return cel.Function(name, cel.Overload(name+"_string",
		[]*cel.Type{cel.StringType}, cel.BoolType,
		cel.UnaryBinding(func(v ref.Val) ref.Val {
			p, ok := v.(types.String)
			if !ok || p == "" {
				return types.NewErr("%s: a path is needed", name)
			}
			return types.Bool(ask(string(p)))
		})))
}

// The three tests ignore case, since some file systems do.
var (
	secretPaths = regexp.MustCompile(`(?i)(^|/)(` +
		`\.env(\..*)?|\.envrc|id_(rsa|dsa|ecdsa|ed25519)(_sk)?|[^/]*\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk|tfvars|tfstate)` +
		`|\.npmrc|\.yarnrc\.yml|\.pypirc|\.netrc|_netrc|\.pgpass|\.my\.cnf|\.git-credentials|\.htpasswd|\.vault-token` +
		`|credentials(\.(json|ya?ml|toml|csv))?|secrets?\.(json|ya?ml|toml)|service[-_]account[^/]*\.json)$` +
		`|(^|/)(\.aws|\.ssh|\.gnupg|\.kube|\.docker|\.azure|gcloud|\.password-store|secrets?)/`)
	gitPaths = regexp.MustCompile(`(?i)(^|/)\.git(/|$)`)
)

// SecretPath reports whether a path conventionally holds keys or credentials.
func SecretPath(p string) bool {
	p = path.Clean(p)
	return mayBeSecret(p) && secretPaths.MatchString(p)
}

// mayBeSecret is false for most paths that secretPaths does not match, in a small
// part of its time: all names of a workspace are looked at before a command runs
// there.
func mayBeSecret(p string) bool {
	for i := range len(p) {
		if p[i] >= 0x80 {
			return true // letters beyond ASCII may be the same as some of ASCII
		}
	}
	for {
		step, rest, more := strings.Cut(p, "/")
		for _, beginning := range secretBeginnings {
			if step == "" || step[0]|0x20 != beginning[0]|0x20 {
				continue // as most are
			}
			if len(step) >= len(beginning) && strings.EqualFold(step[:len(beginning)], beginning) {
				return true
			}
		}
		if !more {
			dot := strings.LastIndexByte(step, '.')
			ext := step[dot+1:]
			return dot >= 0 && slices.ContainsFunc(secretExtensions, func(e string) bool { return strings.EqualFold(e, ext) })
		}
		p = rest
	}
}

// What every name that secretPaths matches begins with, or has for an extension.
var (
	secretBeginnings = []string{".", "id_", "_netrc", "credentials", "secret", "service", "gcloud"}
	secretExtensions = []string{"pem", "key", "p12", "pfx", "jks", "keystore", "kdbx", "ppk", "tfvars", "tfstate"}
)

// GitPath reports whether a path is a repository's own data.
func GitPath(p string) bool { return gitPaths.MatchString(path.Clean(p)) }
