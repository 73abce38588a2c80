package tui

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Bounds of what is stored.
const (
	maxReasons    = 6 // per tool and decision
	maxReasonKeys = 200
	maxReasonFile = 1 << 20 // bytes
)

// reasons holds the reviewer's earlier reasons, by tool, and unfinished ones.
type reasons struct {
	by     map[string][]string
	drafts map[string]string
}

func newReasons() reasons {
	return reasons{by: map[string][]string{}, drafts: map[string]string{}}
}

// presets are offered after the reviewer's own reasons.
func presets(word string) []string {
	if word == client.Allow {
		return []string{"reviewed, as intended", "as discussed", "I asked for this"}
	}
	return []string{
		"not what I asked for: stop and ask me first",
		"wrong file or place",
		"too much at once: split it into smaller changes",
		"add a test for it first",
	}
}

func (r *reasons) choices(tool, word string) []string {
	out := slices.Clone(r.by[word+" "+tool])
	for _, p := range presets(word) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

func (r *reasons) remember(tool, word, reason string) {
	k := word + " " + tool
	if _, known := r.by[k]; !known && len(r.by) >= maxReasonKeys {
		return
	}
	list := slices.DeleteFunc(slices.Clone(r.by[k]), func(s string) bool { return s == reason })
	list = slices.Insert(list, 0, reason)
	r.by[k] = list[:min(len(list), maxReasons)]
}

func (r *reasons) draft(id, word string) string { return r.drafts[word+" "+id] }

func (r *reasons) keep(id, word, text string) {
	if text == "" || len(r.drafts) > maxReasonKeys {
		return
	}
	r.drafts[word+" "+id] = text
}

func (r *reasons) drop(id string) {
	delete(r.drafts, client.Allow+" "+id)
	delete(r.drafts, client.Deny+" "+id)
}

func (r *reasons) snapshot() map[string][]string {
	out := make(map[string][]string, len(r.by))
	for k, v := range r.by {
		out[k] = slices.Clone(v)
	}
	return out
}

// load adds what an earlier run stored; it skips what is invalid.
func (r *reasons) load(kept map[string][]string) {
	for k, list := range kept {
		if len(r.by) >= maxReasonKeys {
			return
		}
		list = slices.DeleteFunc(list, func(s string) bool { _, err := guard.CheckReason(s); return err != nil })
		if _, known := r.by[k]; !known && len(list) > 0 {
			r.by[k] = list[:min(len(list), maxReasons)]
		}
	}
}

func (c caller) loadReasons(path string) tea.Cmd {
	if path == "" {
		return nil
	}
	return func() tea.Msg {
		f, err := os.Open(path)
		if err != nil {
			return nil // nothing was stored, which is normal
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxReasonFile))
		var kept map[string][]string
		if err != nil || json.Unmarshal(b, &kept) != nil {
			return nil
		}
		return reasonsMsg{kept}
	}
}

func (c caller) saveReasons(path string, kept map[string][]string) tea.Cmd {
	if path == "" {
		return nil
	}
	return func() tea.Msg { return savedMsg{writeReasons(path, kept)} }
}

// writeReasons replaces the whole file.
func writeReasons(path string, kept map[string][]string) error {
	b, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("keeping reasons: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("keeping reasons: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("keeping reasons: %w", err)
	}
	return nil
}
