package hook

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// SandboxOn is Sandbox's result if all settings agree that it is on. That is
// still only what settings say, and anyone who can write one of them can say
// it.
const SandboxOn = "on"

// SandboxOff is the result if no settings turn it on.
const SandboxOff = "the client's own is switched off"

// Settings is one settings file of Claude Code, or settings that it was given
// instead. Raw is nil if there are none.
type Settings struct {
	Name string
	Raw  []byte
	Err  error // why it could not be read
}

// Sandbox returns SandboxOn if the settings show that the client's own sandbox
// of commands is on, or else a short reason. They show it only if one file
// turns it on, no file contradicts it, and the client would not run without
// it: by default the client runs without a sandbox that cannot start. An
// ambiguous setting shows nothing. cmdline is the client's.
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

// Given returns the arguments after a flag of the client that takes several,
// up to the next flag.
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
