package expr

import (
	"path"
	"slices"
	"strings"
	"unicode"
)

// Automation is a program that runs or obeys files that nobody names to it: an
// editor, an agent, a hook, a build or a pipeline.
type Automation struct {
	By     string // the program
	Source string // where its documentation says so
	// Names of its files, in lower case, at any depth: a file name, with * for any
	// text, or a folder with everything in it, which ends with a slash.
	Names []string
}

// Automations returns the table behind automation_path. A name that is not listed
// counts as a file that only runs when somebody starts it.
func Automations() []Automation { return automations }

// startups are the rows whose files an agent, a shell or a login obeys each time
// that it starts.
var startups = []Automation{
	// Agents.
	{"Claude Code", "https://code.claude.com/docs/en/memory", []string{"claude.md", "claude.local.md", ".claude/", ".mcp.json", "skill.md"}},
	{"agents that read AGENTS.md", "https://agents.md/", []string{"agents.md", "agents.override.md", "agent.md", ".agents/"}},
	{"Codex", "https://developers.openai.com/codex/config-reference/", []string{".codex/"}},
	{"Gemini CLI", "https://geminicli.com/docs/cli/gemini-md/", []string{"gemini.md", ".gemini/"}},
	{"Cursor", "https://cursor.com/docs/context/rules", []string{".cursorrules", ".cursor/"}},
	{"Windsurf", "https://docs.windsurf.com/windsurf/cascade/memories", []string{".windsurfrules", ".windsurf/"}},
	{"Cline, Roo and Kilo Code", "https://docs.cline.bot/features/cline-rules", []string{".clinerules", ".clinerules/", ".roorules*", ".roo/", ".roomodes", ".kilocode/", ".kilocoderules*"}},
	{"Continue", "https://docs.continue.dev/customize/deep-dives/rules", []string{".continue/", ".continuerules", ".continuerc.json"}},
	{"Aider", "https://aider.chat/docs/config/aider_conf.html", []string{".aider.conf.yml"}},
	{"OpenCode", "https://opencode.ai/docs/config/", []string{"opencode.json", "opencode.jsonc", ".opencode/"}},
	{"Goose", "https://block.github.io/goose/docs/guides/context-engineering/using-goosehints", []string{".goosehints", ".goose/"}},
	{"Junie, Kiro, Amazon Q, Augment, Trae, Warp, Qwen Code, Crush, Factory, Copilot CLI", "https://kiro.dev/docs/steering/", []string{".junie/", ".kiro/", ".amazonq/", ".augment/", ".augment-guidelines", ".trae/", "warp.md", "qwen.md", ".qwen/", "crush.md", "crush.json", ".crush.json", ".crush/", ".factory/", ".copilot/"}},

	// Shells and whatever starts with a login.
	{"bash and sh", "https://www.gnu.org/software/bash/manual/html_node/Bash-Startup-Files.html", []string{".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".profile", ".shrc", ".inputrc"}},
	{"zsh", "https://zsh.sourceforge.io/Doc/Release/Files.html", []string{".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout"}},
	{"PowerShell", "https://learn.microsoft.com/en-us/powershell/module/microsoft.powershell.core/about/about_profiles", []string{"profile.ps1", "*_profile.ps1"}},
	{"fish, ksh, csh", "https://fishshell.com/docs/current/language.html#configuration-files", []string{".config/fish/", "config.fish", ".kshrc", ".mkshrc", ".cshrc", ".tcshrc", ".login", ".logout"}},
	{"direnv", "https://direnv.net/man/direnv.1.html", []string{".envrc"}},
	{"mise and asdf", "https://mise.jdx.dev/configuration.html", []string{"mise*.toml", ".mise*.toml", ".mise/", "mise/", ".config/mise/", ".tool-versions"}},
	{"tmux, screen and terminals", "https://man.openbsd.org/tmux.1", []string{".tmux.conf", ".config/tmux/", ".screenrc", ".config/kitty/", ".config/alacritty/", ".config/wezterm/", ".wezterm.lua"}},
	{"the desktop and the system", "https://specifications.freedesktop.org/autostart-spec/latest/", []string{".config/autostart/", ".config/systemd/", "launchagents/", "launchdaemons/", ".xinitrc", ".xprofile", ".xsession", ".xsessionrc", "crontab", "cron.d/", "cron.daily/", "cron.hourly/", "cron.weekly/", ".config/i3/", ".config/sway/", ".config/hypr/", "*.service", "*.timer", ".local/bin/"}},
	{"ssh", "https://man.openbsd.org/ssh_config", []string{".ssh/"}},
	{"curl, wget, less, mailcap, GnuPG", "https://curl.se/docs/manpage.html#-K", []string{".curlrc", ".wgetrc", ".lessfilter", ".mailcap", ".gnupg/"}},
	{"debuggers and prompts", "https://sourceware.org/gdb/current/onlinedocs/gdb.html/Init-File-in-the-Current-Directory.html", []string{".gdbinit", ".gdbearlyinit", ".lldbinit", ".rprofile", ".irbrc", ".pryrc", ".psqlrc", ".sqliterc", ".pdbrc", ".ghci", ".ocamlinit"}},
}

var automations = append(slices.Clone(startups), []Automation{
	// Pipelines.
	{"GitHub Actions, Copilot and Dependabot", "https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax", []string{".github/", "action.yml", "action.yaml"}},
	{"GitLab CI", "https://docs.gitlab.com/ci/yaml/", []string{".gitlab-ci.yml", ".gitlab-ci.yaml", "*.gitlab-ci.yml", ".gitlab/"}},
	{"CircleCI", "https://circleci.com/docs/configuration-reference/", []string{".circleci/", "circle.yml"}},
	{"Jenkins", "https://www.jenkins.io/doc/book/pipeline/jenkinsfile/", []string{"jenkinsfile", "jenkinsfile.*", "*.jenkinsfile"}},
	{"Azure Pipelines", "https://learn.microsoft.com/en-us/azure/devops/pipelines/yaml-schema/", []string{"azure-pipelines*.yml", "azure-pipelines*.yaml", ".azure-pipelines/"}},
	{"Bitbucket Pipelines", "https://support.atlassian.com/bitbucket-cloud/docs/bitbucket-pipelines-configuration-reference/", []string{"bitbucket-pipelines.yml"}},
	{"Travis CI", "https://docs.travis-ci.com/user/customizing-the-build/", []string{".travis.yml"}},
	{"Buildkite", "https://buildkite.com/docs/pipelines/configure/defining-steps", []string{".buildkite/", "buildkite.yml"}},
	{"TeamCity", "https://www.jetbrains.com/help/teamcity/storing-project-settings-in-version-control.html", []string{".teamcity/"}},
	{"Drone", "https://docs.drone.io/yaml/docker/", []string{".drone.yml", ".drone.jsonnet", ".drone.star"}},
	{"Woodpecker", "https://woodpecker-ci.org/docs/usage/workflows", []string{".woodpecker.yml", ".woodpecker.yaml", ".woodpecker/"}},
	{"AppVeyor", "https://www.appveyor.com/docs/appveyor-yml/", []string{"appveyor.yml", ".appveyor.yml"}},
	{"Semaphore", "https://docs.semaphore.io/reference/pipeline-yaml", []string{".semaphore/"}},
	{"Cirrus CI", "https://cirrus-ci.org/guide/writing-tasks/", []string{".cirrus.yml", ".cirrus.star"}},
	{"Gitea and Forgejo Actions", "https://docs.gitea.com/usage/actions/overview", []string{".gitea/", ".forgejo/"}},
	{"AWS CodeBuild", "https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html", []string{"buildspec*.yml", "buildspec*.yaml"}},
	{"Google Cloud Build", "https://cloud.google.com/build/docs/build-config-file-schema", []string{"cloudbuild*.yml", "cloudbuild*.yaml", "cloudbuild*.json"}},
	{"Netlify and Vercel", "https://docs.netlify.com/configure-builds/file-based-configuration/", []string{"netlify.toml", "vercel.json"}},
	{"Read the Docs, SourceHut, Bitrise, Codemagic, Tekton, Amplify, Render, Heroku, Railway, Fly", "https://docs.readthedocs.com/platform/stable/config-file/v2.html", []string{".readthedocs.yml", ".readthedocs.yaml", ".build.yml", ".builds/", "bitrise.yml", "codemagic.yaml", ".tekton/", ".buddy/", "amplify.yml", "render.yaml", "heroku.yml", "railway.json", "railway.toml", "nixpacks.toml", "fly.toml"}},

	// Editors.
	{"Visual Studio Code", "https://code.visualstudio.com/docs/debugtest/tasks", []string{".vscode/", "*.code-workspace"}},
	{"development containers", "https://containers.dev/implementors/json_reference/", []string{".devcontainer/", ".devcontainer.json"}},
	{"Gitpod, Replit, Devbox, devenv, Devfile", "https://www.gitpod.io/docs/classic/user/references/gitpod-yml", []string{".gitpod.yml", ".replit", "devbox.json", "devenv.nix", "devfile.yaml", ".devfile.yaml", ".idx/"}},
	{"JetBrains editors", "https://www.jetbrains.com/help/idea/creating-and-managing-projects.html", []string{".idea/", ".fleet/", ".run/"}},
	{"Zed", "https://zed.dev/docs/configuring-zed", []string{".zed/", ".rules"}},
	{"Vim and Neovim", "https://vimhelp.org/starting.txt.html#exrc", []string{".exrc", ".vimrc", "_vimrc", ".gvimrc", ".nvimrc", ".nvim.lua", ".lvimrc", ".vim/", ".config/nvim/"}},
	{"Emacs", "https://www.gnu.org/software/emacs/manual/html_node/emacs/Directory-Variables.html", []string{".dir-locals.el", ".dir-locals-2.el", ".emacs", ".emacs.el", ".emacs.d/", ".config/emacs/"}},
	{"Helix and Sublime Text", "https://docs.helix-editor.com/configuration.html", []string{".helix/", "*.sublime-project"}},

	// Hooks of version control.
	{"git", "https://git-scm.com/docs/githooks", []string{".githooks/", ".gitattributes", ".gitmodules", ".gitconfig", ".config/git/"}},
	{"Mercurial", "https://www.mercurial-scm.org/help/topics/config", []string{".hg/", ".hgrc"}},
	{"husky and lint-staged", "https://typicode.github.io/husky/how-to.html", []string{".husky/", ".huskyrc*", ".lintstagedrc*", "lint-staged.config.*"}},
	{"pre-commit, lefthook, overcommit", "https://pre-commit.com/", []string{".pre-commit-config.yaml", ".pre-commit-config.yml", ".pre-commit-hooks.yaml", "lefthook*.yml", "lefthook*.yaml", "lefthook*.toml", ".lefthook*", ".lefthook/", ".overcommit.yml"}},

	// Builds and tests.
	{"make", "https://www.gnu.org/software/make/manual/html_node/Makefile-Names.html", []string{"makefile", "gnumakefile", "bsdmakefile", "makefile.*", "*.mk", "*.mak"}},
	{"npm, yarn, pnpm and bun", "https://docs.npmjs.com/cli/using-npm/scripts", []string{"package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", ".yarn/", ".pnpmfile.cjs", ".pnpmfile.mjs", "pnpm-workspace.yaml", "bunfig.toml", "binding.gyp", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"}},
	{"tools of Node", "https://vite.dev/config/", []string{"*.config.js", "*.config.cjs", "*.config.mjs", "*.config.ts", "*.config.mts", "*.config.cts", ".eslintrc*", ".babelrc*", ".prettierrc*", ".mocharc*", ".swcrc", "gulpfile.*", "gruntfile.*", "deno.json", "deno.jsonc", "turbo.json", "nx.json", "node_modules/", "*.conf.js", "angular.json", "nodemon.json", "lerna.json", "rush.json", ".storybook/", ".stylelintrc*", ".nycrc*", ".commitlintrc*", ".releaserc*"}},
	{"Python", "https://docs.python.org/3/library/site.html", []string{"sitecustomize.py", "usercustomize.py", "*.pth", "site-packages/", ".venv/", "venv/"}},
	{"builds and tests of Python", "https://docs.pytest.org/en/stable/reference/fixtures.html#conftest-py-sharing-fixtures-across-multiple-files", []string{"conftest.py", "pytest.ini", ".pytest.ini", "setup.py", "setup.cfg", "pyproject.toml", "tox.ini", "noxfile.py", "fabfile.py", "requirements*.txt", "pipfile", "pip.conf", "pytest.toml", ".pytest.toml", ".coveragerc", "uv.toml"}},
	{"linters and tests that load code which their settings name", "https://pylint.readthedocs.io/en/stable/user_guide/configuration/all-options.html#init-hook", []string{"pylintrc", ".pylintrc", "pylintrc.toml", ".pylintrc.toml", ".flake8", "mypy.ini", ".mypy.ini", ".rubocop.yml", ".rspec", "phpunit.xml", "phpunit.xml.dist", "phpstan*.neon", "phpstan*.neon.dist", ".php-cs-fixer*.php"}},
	{"cargo", "https://doc.rust-lang.org/cargo/reference/build-scripts.html", []string{"build.rs", "cargo.toml", ".cargo/", "rust-toolchain", "rust-toolchain.toml"}},
	{"go", "https://go.dev/ref/mod#go-mod-file", []string{"go.mod", "go.work", "magefile.go", "magefiles/", ".goreleaser.yml", ".goreleaser.yaml", ".air.toml"}},
	{"Gradle, Maven, Ant, sbt", "https://docs.gradle.org/current/userguide/build_lifecycle.html", []string{"*.gradle", "*.gradle.kts", "gradle.properties", "gradlew", "gradlew.bat", "gradle-wrapper.*", "pom.xml", "mvnw", "mvnw.cmd", ".mvn/", "build.xml", "*.sbt", "build.sc"}},
	{"CMake, Meson, autotools, Ninja, SCons", "https://cmake.org/cmake/help/latest/manual/cmake-language.7.html", []string{"cmakelists.txt", "*.cmake", "cmakepresets.json", "meson.build", "configure", "configure.ac", "configure.in", "makefile.am", "build.ninja", "sconstruct", "sconscript", "wscript", "cmakeuserpresets.json", "autogen.sh", "*.m4", "conanfile.py", "xmake.lua", "premake5.lua"}},
	{"Bazel and Buck", "https://bazel.build/concepts/build-files", []string{"build", "build.bazel", "workspace", "workspace.bazel", "module.bazel", "*.bzl", ".bazelrc", ".bazelversion", "buck", ".buckconfig"}},
	{"MSBuild", "https://learn.microsoft.com/en-us/visualstudio/msbuild/customize-by-directory", []string{"*.csproj", "*.fsproj", "*.vbproj", "*.vcxproj", "*.sln", "directory.build.*", "nuget.config", "*.targets", "*.props"}},
	{"just, Task, Rake, Bundler", "https://just.systems/man/en/", []string{"justfile", ".justfile", "*.just", "taskfile.yml", "taskfile.yaml", "rakefile", "*.rake", "gemfile", "*.gemspec", ".bundle/", "guardfile", "podfile", "fastfile", "*.podspec", "dangerfile", "berksfile"}},
	{"Composer, Mix, Swift, Zig, Nix, Haskell, OCaml, Clojure, Erlang", "https://getcomposer.org/doc/articles/scripts.md", []string{"composer.json", "mix.exs", "package.swift", "build.zig", "flake.nix", "shell.nix", "default.nix", "setup.hs", "project.clj", "rebar.config", "dune", "dune-project"}},
	{"Xcode", "https://developer.apple.com/documentation/xcode/running-custom-scripts-during-a-build", []string{"*.pbxproj", "*.xcscheme"}},
	{"Docker and Podman", "https://docs.docker.com/reference/dockerfile/", []string{"dockerfile", "dockerfile.*", "*.dockerfile", "containerfile", "containerfile.*", "compose*.yml", "compose*.yaml", "docker-compose*.yml", "docker-compose*.yaml", "docker-bake.*"}},
	{"Vagrant, Tilt, Skaffold, Procfile, Terraform, Ansible", "https://developer.hashicorp.com/vagrant/docs/vagrantfile", []string{"vagrantfile", "tiltfile", "skaffold.yaml", "procfile", "procfile.*", "ansible.cfg", "*.tf", "*.tofu", "terragrunt.hcl", ".terraformrc", "pulumi.yaml"}},
	{"build scripts by custom", "https://github.com/github/scripts-to-rule-them-all", []string{"build.sh", "bootstrap.sh", "install.sh", "setup.sh", "deploy.sh", "ci.sh", "test.sh", "entrypoint.sh", "docker-entrypoint.sh", "postinstall.js", "preinstall.js"}},
}...)

// automationIndex is the table in the form used for lookups.
type automationIndex struct {
	names   map[string]bool // of files
	folders map[string]bool // of one component
	nested  []string        // of several components, with slashes around them
	globs   []string
}

var (
	automation = indexAutomations(automations)
	startup    = indexAutomations(startups)
)

func indexAutomations(rows []Automation) automationIndex {
	x := automationIndex{names: map[string]bool{}, folders: map[string]bool{}}
	for _, r := range rows {
		for _, name := range r.Names {
			folder, isFolder := strings.CutSuffix(name, "/")
			switch {
			case isFolder && strings.Contains(folder, "/"):
				x.nested = append(x.nested, "/"+folder+"/")
			case isFolder:
				x.folders[folder] = true
			case strings.Contains(name, "*"):
				x.globs = append(x.globs, name)
			default:
				x.names[name] = true
			}
		}
	}
	return x
}

// AutomationPath reports whether an editor, agent, hook, build or pipeline runs or
// obeys a file at p without being told to.
func AutomationPath(p string) bool { return automation.has(p) }

// StartupPath reports whether an agent, a shell or a login runs or obeys a file at p
// each time that it starts. Each such path is an [AutomationPath], too.
func StartupPath(p string) bool { return startup.has(p) }

func (x automationIndex) has(p string) bool {
	p = fold(path.Clean(p))
	base := path.Base(p)
	if x.names[base] {
		return true
	}
	for part := range strings.SplitSeq(p, "/") {
		if x.folders[part] {
			return true
		}
	}
	for _, n := range x.nested {
		if strings.Contains("/"+p+"/", n) {
			return true
		}
	}
	for _, g := range x.globs {
		if ok, err := path.Match(g, base); ok || err != nil {
			return true // fail closed: a pattern that cannot be read holds for all
		}
	}
	return false
}

// fold folds case as file systems that ignore case do.
func fold(p string) string {
	return strings.Map(func(r rune) rune {
		low := r
		for x := unicode.SimpleFold(r); x != r; x = unicode.SimpleFold(x) {
			if x < unicode.MaxASCII && (low > unicode.MaxASCII || unicode.IsLower(x)) {
				low = x
			}
		}
		return unicode.ToLower(low)
	}, p)
}
