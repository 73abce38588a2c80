package hook

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// SandboxOn is Sandbox's answer where all settings speak for it. It is still only
// what settings say: whoever may write one of them can say it.
const SandboxOn = "on"

// SandboxOff is its answer where no settings switch it on.
const SandboxOff = "the client's own is switched off"

// Settings are one file of Claude Code's settings, or what it was given in the
// place of one. Raw is nil where there is none.
type Settings struct {
	Name string
	Raw  []byte
	Err  error // why it could not be read
}

// Sandbox says whether the client's own sandbox of commands is on by its
// settings, or in a few words why they do not say so. They do only where a file
// says so, no file says otherwise, and the client would not go on without it: by
// itself, a sandbox that cannot start is left out. What can be read in more than
// one way says nothing. cmdline is the client's.
func Sandbox(files []Settings, cmdline []string) string {
	for _, w := range cmdline {
		name, _, _ := strings.Cut(w, "=")
		switch {
		case name == "--setting-sources", name == "--bare", name == "--safe-mode",
			strings.HasPrefix(name, "--") && strings.Contains(name, "sandbox"):
			return "unknown: the client was started with " + name
		}
	}
	var on, off, required, optional bool
	for _, f := range files {
		if f.Err != nil {
			return "unknown: " + f.Name + " cannot be read"
		}
		if len(f.Raw) == 0 {
			continue
		}
		var s struct {
			Sandbox struct {
				Enabled      *bool            `json:"enabled"`
				Required     *bool            `json:"failIfUnavailable"`
				Excluded     []string         `json:"excludedCommands"`
				Platforms    *json.RawMessage `json:"enabledPlatforms"`
				WeakerNested bool             `json:"enableWeakerNestedSandbox"`
			} `json:"sandbox"`
		}
		if jsonvalue.DecodeKnown(f.Raw, &s) != nil {
			return "unknown: " + f.Name + " cannot be read in exactly one way"
		}
		switch v := s.Sandbox; {
		case len(v.Excluded) > 0:
			return "unknown: " + f.Name + " exempts some commands (sandbox.excludedCommands)"
		case v.Platforms != nil:
			return "unknown: " + f.Name + " limits it to some systems (sandbox.enabledPlatforms)"
		case v.WeakerNested:
			return "unknown: " + f.Name + " weakens it (sandbox.enableWeakerNestedSandbox)"
		}
		mark := func(v *bool, yes, no *bool) {
			if v != nil {
				*yes, *no = *yes || *v, *no || !*v
			}
		}
		mark(s.Sandbox.Enabled, &on, &off)
		mark(s.Sandbox.Required, &required, &optional)
	}
	switch {
	case !on:
		return SandboxOff
	case off:
		return "unknown: the client's settings disagree about its own (sandbox.enabled)"
	case !required || optional:
		return "unknown: the client goes on without its own where that cannot start (sandbox.failIfUnavailable is not set)"
	}
	return SandboxOn
}

// Given returns the words behind a flag of the client that takes several, up to
// the next flag.
func Given(cmdline []string, flag string) (words []string) {
	taking := false
	for _, w := range cmdline {
		switch v, ok := strings.CutPrefix(w, flag+"="); {
		case ok:
			words, taking = append(words, v), true
		case w == flag:
			taking = true
		case strings.HasPrefix(w, "-"):
			taking = false
		case taking:
			words = append(words, w)
		}
	}
	return slices.Clip(words)
}
