package effect

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestRulesSeeProgramsThatLaunchersStart: rules see the program that a launcher
// starts, whatever flags and lines precede it.
func TestRulesSeeProgramsThatLaunchersStart(t *testing.T) {
	for line, want := range map[string]string{
		"sudo -u root -E rm -rf /":                     "sudo rm",
		"sudo --user=root FOO=1 rm x":                  "sudo rm",
		"sudo -uroot -- rm x":                          "sudo rm",
		"doas -u me rm x":                              "doas rm",
		"env rm x":                                     "env rm",
		"env -i -u HOME A=1 B=2 rm x":                  "env rm",
		"env -S 'rm -rf' x":                            "env rm x", // x may be a program for all that is known
		"env -S'rm -rf x'":                             "env rm",
		"env -vS 'rm x' y":                             "env rm y",
		"env --split-string='rm x'":                    "env rm",
		"env --split 'rm x'":                           "env rm",
		"npx --call='rm x'":                            "npx rm",
		"runuser --command='rm x' me":                  "runuser rm",
		"script -qc 'rm x' /dev/null":                  "script rm",
		"timeout --foregr 5 rm x":                      "timeout rm x",
		"pkexec rm x":                                  "pkexec rm",
		"gosu me rm x":                                 "gosu rm",
		"setpriv --nnp rm x":                           "setpriv rm",
		"direnv exec . rm x":                           "direnv rm",
		"ssh-agent rm x":                               "ssh-agent rm",
		"trap -- 'rm x' EXIT":                          "trap rm",
		"parallel ::: 'rm x' 'mv y z'":                 "parallel rm mv",
		"timeout 5 rm x":                               "timeout rm",
		"timeout -k 1 -s KILL 5s rm x":                 "timeout rm",
		"timeout --preserve-status 5 rm x":             "timeout rm",
		"nice rm x":                                    "nice rm",
		"nice -n 10 rm x":                              "nice rm",
		"nice -10 rm x":                                "nice rm",
		"ionice -c 3 rm x":                             "ionice rm",
		"nohup rm x &":                                 "nohup rm",
		"setsid -w rm x":                               "setsid rm",
		"stdbuf -oL -e 0 rm x":                         "stdbuf rm",
		"time rm x":                                    "rm", // the shell's own word
		"/usr/bin/time -f %e rm x":                     "/usr/bin/time rm",
		"ls | xargs -0 -n 1 rm -f":                     "ls xargs rm",
		"ls | xargs -I{} -P4 rm {}":                    "ls xargs rm",
		"ls | xargs sh -c 'rm \"$@\"' _":               "ls xargs sh rm",
		"command rm x":                                 "command rm",
		"command -p rm x":                              "command rm",
		"exec -a ls rm x":                              "exec rm",
		"builtin eval rm x":                            "builtin eval rm",
		"find . -name x -exec rm {} +":                 "find rm",
		"find . -exec sudo rm {} \\; -ok mv {} y \\;":  "find sudo rm mv",
		"bash -c 'rm x; ls'":                           "bash rm ls",
		"bash -lc \"cd /tmp && rm *\"":                 "bash cd rm",
		"sh -e -c 'sudo rm x'":                         "sh sudo rm",
		"bash -o pipefail -c 'rm x'":                   "bash rm",
		"bash -c -o pipefail 'rm x'":                   "bash pipefail rm",
		"bash -ceuo pipefail 'rm x'":                   "bash pipefail rm",
		"env - A=1 rm x":                               "env rm",
		"env -i - rm x":                                "env rm",
		"bash script.sh -x":                            "bash",
		"su -c 'rm x' me":                              "su rm",
		"eval rm x":                                    "eval rm",
		"eval \"sudo rm x\"":                           "eval sudo rm",
		"trap 'rm x' EXIT":                             "trap rm",
		"watch -n 1 'rm x'":                            "watch rm",
		"sudo env timeout 5 nice xargs bash -c 'rm x'": "sudo env timeout nice xargs bash rm",
		"flock /tmp/l rm x":                            "flock rm",
		"flock -n /tmp/l -c 'rm x'":                    "flock rm",
		"busybox rm x":                                 "busybox rm",
		"uv run --quiet pytest":                        "uv pytest",
		"uv sync":                                      "uv",
		"npx -y cowsay hello":                          "npx cowsay",
		"sudo --unknown rm x":                          "sudo rm x", // one of the two is it
		"timeout --sig KILL 5 rm x":                    "timeout 5 rm",
		"r\\m x":                                       "rm",
		"[ -f x ] && rm x":                             "[ rm",
		"alias ll='rm -r'; ll":                         "alias rm ll",
	} {
		s := readShell(line)
		if got := strings.Join(s.programs, " "); got != want || s.computed {
			t.Errorf("%s: programs %q (computed %v), want %q", line, got, s.computed, want)
		}
	}
	// A computed program name is reported.
	for _, line := range []string{"sudo $X", "env $A rm x", "bash -c \"$X\"", "timeout 5 $(x)", "xargs $X rm", "eval \"$X\"", "sh -c $X", "find . -exec $X {} +"} {
		s := readShell(line)
		if !slices.ContainsFunc(s.hazards, func(h guard.Hazard) bool { return h.Kind == HazardIndirect && strings.Contains(h.Text, "computed") }) {
			t.Errorf("%s: hazards %+v", line, s.hazards)
		}
	}
	for _, line := range []string{"bash -c 'if true'", strings.Repeat("sudo ", 20) + "rm x", strings.Repeat("sudo --a ", 5000) + "rm x"} {
		s := readShell(line)
		if len(s.hazards) < 2 {
			t.Errorf("%.40s: hazards %+v", line, s.hazards)
		}
	}
	many := ""
	for i := range 200 {
		many += fmt.Sprintf("p%d; ", i)
	}
	if s := readShell(many + "sudo rm x"); !slices.Contains(s.programs, "rm") {
		t.Error("the program behind many others is not known")
	}
	if got := readWords([]string{"/usr/bin/sudo", "-n", "bash", "-c", "rm x"}).programs; !slices.Equal(got, []string{"/usr/bin/sudo", "bash", "rm"}) {
		t.Errorf("of words: %q", got)
	}
}

// TestShadowedProgramsAreReported: a function or alias called in place of a program is
// reported by name.
func TestShadowedProgramsAreReported(t *testing.T) {
	for line, want := range map[string]string{
		"git() { rm -rf x; }; git status":      "git",
		"function ls { rm x; }; sudo ls":       "ls",
		"alias git='rm x'; git status":         "git",
		"bash -c 'git() { rm x; }; git'":       "git",
		"git() { rm x; }; ls":                  "",
		"hash -p /tmp/x git; git status":       "git",
		"enable -f ./x.so git; git status":     "git",
		"git status":                           "",
		"cd() { builtin cd \"$1\"; }; cd /tmp": "cd",
	} {
		got := ""
		for _, h := range readShell(line).hazards {
			if h.Kind == HazardShadowed {
				_, got, _ = strings.Cut(h.Text, ": ")
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
