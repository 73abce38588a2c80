package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Commands says how commands run in a sandbox before approval. The zero value is
// the default.
type Commands struct {
	Preview   string        `yaml:"preview" json:",omitempty" doc:"'overlay' (default) runs a command in a sandbox first and shows what it changes; 'text' shows commands by their text; 'require' does as overlay and refuses what cannot be contained." enum:"overlay,text,require"`
	Unchanged string        `yaml:"unchanged" json:",omitempty" doc:"Whether a command that changed nothing and wanted nothing passes: 'allow' (default) or 'ask'. In prod it is always asked about." enum:"allow,ask"`
	Rewrite   string        `yaml:"rewrite" json:",omitempty" doc:"'bash' (default) runs the commands of Claude Code's own Bash in a sandbox first, too, where the machine, the client's version and its settings allow that, and gives it a line in their place that shows what came of them; 'off' shows them by their text." enum:"off,bash"`
	Scratch   []string      `yaml:"scratch" json:",omitempty" doc:"Folders for caches, such as ~/.cache/go-build: what is written there is kept apart for each workspace, never shown and never landed. Default: the caches of common build tools."`
	Direct    []string      `yaml:"direct" json:",omitempty" doc:"Whole command lines that are not tried in a sandbox, but asked about by their text and run for real."`
	Limits    CommandLimits `yaml:"limits" json:",omitzero" doc:"What one run in the sandbox may use."`
}

// RewritesBash reports whether the client's own Bash may get a line in the place
// of a command.
func (c Commands) RewritesBash() bool { return c.Rewrite != "off" }

func (Commands) displayName() string { return "the section commands" }

// CommandLimits bound one run of a command in the sandbox. Zero means the default.
type CommandLimits struct {
	Time      Duration `yaml:"time" json:",omitempty" doc:"How long it may take. Default: 2m."`
	Memory    Size     `yaml:"memory" json:",omitempty" doc:"Memory of all of its processes. Default: 4GiB."`
	Processes int      `yaml:"processes" json:",omitempty" doc:"Processes at once. Default: 512."`
	Written   Size     `yaml:"written" json:",omitempty" doc:"What it may write. Default: 2GiB."`
	Output    Size     `yaml:"output" json:",omitempty" doc:"What it may print. Default: 10MiB."`
}

func (CommandLimits) displayName() string { return "the limits of commands" }

func (c *Config) checkCommands(d *decoder) {
	w := c.Commands
	oneOf(d, "commands.preview", "a preview", w.Preview, "overlay", "text", "require")
	oneOf(d, "commands.rewrite", "a word here", w.Rewrite, "off", "bash")
	oneOf(d, "commands.unchanged", "an answer here", w.Unchanged, "allow", "ask")
	for i, p := range w.Scratch {
		rest, home := strings.CutPrefix(p, "~/")
		if !home && !filepath.IsAbs(p) || p == "/" || home && filepath.Clean(rest) == "." || slices.Contains(strings.Split(p, "/"), "..") {
			d.errorf(fmt.Sprintf("commands.scratch[%d]", i), "name a folder for caches alone, such as ~/.cache/go-build", "%q cannot be kept apart", clip(p))
		}
	}
	for key, v := range map[string]int64{"time": int64(w.Limits.Time), "memory": int64(w.Limits.Memory), "processes": int64(w.Limits.Processes), "written": int64(w.Limits.Written), "output": int64(w.Limits.Output)} {
		if v < 0 {
			d.errorf("commands.limits."+key, "", "a limit is above zero")
		}
	}
	if time.Duration(w.Limits.Time) > time.Hour {
		d.errorf("commands.limits.time", "", "a command may take at most 1h in the sandbox")
	}
}
