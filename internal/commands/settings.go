package commands

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// Settings is what a configuration says of commands. The zero value is the
// default.
type Settings struct {
	Scratch []string // folders kept apart from the real ones, "~/" for the home; nil for the default list
	Limits  sandbox.Limits
	// Temporary are the folders for temporary files, which are shown and landed
	// like the workspace; nil for /tmp and /var/tmp.
	Temporary []string
}

// defaultScratch are caches that builds fill, below the home folder. What the
// machine has there already is seen, and stays as it is.
var defaultScratch = []string{
	"~/.cache/go-build", "~/go/pkg", "~/.npm", "~/.cache/pip", "~/.cache/uv", "~/.cache/yarn", "~/.cache/pnpm", "~/.cache/ms-playwright",
	"~/.local/share/pnpm", "~/.cargo/registry", "~/.cargo/git", "~/.gradle/caches", "~/.gradle/wrapper", "~/.gradle/daemon", "~/.gradle/native", "~/.m2/repository", "~/.ivy2", "~/.nuget/packages",
	"~/.cache/bazel", "~/.cache/ccache", "~/.ccache", "~/.cache/deno", "~/.bun/install/cache", "~/.cache/mypy", "~/.cache/pre-commit",
	"~/.cache/golangci-lint", "~/.cache/node-gyp", "~/.cache/typescript", "~/.config/go/telemetry", "~/.composer/cache", "~/.hex/packages", "~/.mix/archives", "~/.mix/elixir",
}

// toolChains are folders of programs below the home folder, shown read-only.
var toolChains = []string{
	"~/.nvm", "~/.fnm", "~/.local/share/fnm", "~/.volta", "~/.asdf", "~/.local/share/mise", "~/.pyenv", "~/.rbenv", "~/.sdkman", "~/.rustup",
	"~/.cargo/bin", "~/.cargo/env", "~/go/bin", "~/sdk", "~/.deno/bin", "~/.bun/bin", "~/.local/bin", "~/.local/lib", "~/.local/pipx",
	"~/.local/share/uv/python", "~/.local/share/uv/tools", "~/.dotnet", "~/.ghcup", "~/.opam", "~/.goenv", "~/.jenv", "~/.gitconfig", "~/.config/git/config", "~/.config/git/ignore", "~/.gitignore",
}

// systemFolders is what programs need of the machine.
var systemFolders = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/snap", "/gnu", "/var/lib/dpkg", "/var/lib/alternatives",
}

// closedSystem are paths of the machine that hold keys, or say how it is guarded.
var closedSystem = []string{
	"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh", "/etc/ssl/private",
	"/etc/krb5.keytab", "/etc/wireguard", "/etc/NetworkManager/system-connections", "/etc/claude-code", "/etc/docker", "/etc/kubernetes", "/etc/rancher",
}

// environmentNames are the variables of the client that a command gets. Nothing
// that could hold a token is among them.
var environmentNames = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "COLORTERM", "TZ", "EDITOR", "VISUAL", "PAGER", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI",
	"GOPATH", "GOROOT", "GOFLAGS", "GOBIN", "GOTOOLCHAIN", "GOOS", "GOARCH", "CGO_ENABLED", "JAVA_HOME", "MAVEN_OPTS", "GRADLE_OPTS", "CARGO_HOME", "RUSTUP_HOME", "RUSTFLAGS",
	"NVM_DIR", "NVM_BIN", "NODE_ENV", "NODE_PATH", "PNPM_HOME", "VOLTA_HOME", "BUN_INSTALL", "DENO_DIR", "PYENV_ROOT", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV",
	"RBENV_ROOT", "GEM_HOME", "GEM_PATH", "BUNDLE_PATH", "SDKMAN_DIR", "ANDROID_HOME", "DOTNET_ROOT", "PKG_CONFIG_PATH", "LD_LIBRARY_PATH", "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "MAKEFLAGS",
}

// Environment picks what a command gets of a client's variables ("NAME=value").
func Environment(client []string) []string {
	allowed := map[string]bool{}
	for _, n := range environmentNames {
		allowed[n] = true
	}
	var out []string
	for _, kv := range client {
		name, _, ok := strings.Cut(kv, "=")
		if ok && (allowed[name] || strings.HasPrefix(name, "LC_")) {
			out = append(out, kv)
		}
	}
	return out
}

// expand puts the home folder in the place of a leading "~/".
func expand(paths []string, home string) []string {
	out := make([]string, 0, len(paths))
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(p, "~/"); ok {
			if home == "" {
				continue
			}
			p = filepath.Join(home, rest)
		}
		out = append(out, filepath.Clean(p))
	}
	return out
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
