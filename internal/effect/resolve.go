package effect

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// Kinds of target.
const (
	TargetFile   = "file"
	TargetOpaque = "opaque"
)

// maxPaths bounds the paths of one call.
const maxPaths = 1000

// Path resolves one path against the workspace folders. Links are followed, and
// anything but a regular file or folder inside them is refused with a *Refusal. The
// path need not exist. A relative path starts at the first folder.
func Path(path string, roots []string) (guard.Target, error) {
	j, err := newJail(roots)
	if err != nil {
		return guard.Target{}, err
	}
	abs, err := plainAbsolute(path, roots)
	if err != nil {
		return guard.Target{}, err
	}
	p, err := j.resolvePath(abs, false, true)
	if err != nil {
		return guard.Target{}, err
	}
	return p.target(false), nil
}

// Resolve returns the resources that the call names, with links resolved and
// written ones first. It examines names only and reads no content.
func (b *Binding) Resolve(ctx context.Context, in Input) ([]guard.Target, error) {
	at, err := b.resolve(ctx, in)
	return at.targets, err
}

func (b *Binding) resolve(ctx context.Context, in Input) (resolved, error) {
	at, err := b.kind.resolve(ctx, b, in)
	if err == nil && b.unproven {
		at.targets = append(at.targets, opaqueTarget(b, in))
	}
	return at, err
}

// targetsOf returns the targets of files, each once.
func targetsOf(places []resolvedPath, write bool) []guard.Target {
	var out []guard.Target
	for _, p := range places {
		if t := p.target(write); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

func (p resolvedPath) target(write bool) guard.Target {
	return guard.Target{Kind: TargetFile, Key: p.abs(), Path: p.rel(), Root: p.root, Write: write}
}

// naming says how a kind names files.
type naming struct {
	paths []string // parameters that hold paths, the written one first
	// whole lets a path be the workspace folder itself; slash lets a path end in a
	// slash.
	whole, slash bool
	follow       func(dialect string) bool // follow a link as the last component
	optional     bool                      // the call may name no path
}

// Which kinds follow a link in the last component.
func followsAlways(string) bool { return true }

// followsToMove: an unknown server may move or delete either a link or its target,
// so the link itself is shown, and the plan refuses it.
func followsToMove(dialect string) bool { return dialect == DialectFilesystem }

// followsToWrite: Claude Code refuses to write links.
func followsToWrite(dialect string) bool { return dialect != DialectClaude }

// paths returns the paths that a call names.
func (b *Binding) paths(in Input, n naming) ([]string, error) {
	var out []string
	for _, name := range n.paths {
		prog, ok := b.params[name]
		if !ok {
			continue
		}
		list, err := prog.Strings(in.Vars)
		if err != nil {
			return nil, fmt.Errorf("effect %s, %s: %w", b.about.Name, name, err)
		}
		out = append(out, list...)
	}
	return out, nil
}

// resolvedPaths resolves every path of the call.
func (b *Binding) resolvedPaths(ctx context.Context, in Input, n naming) ([]resolvedPath, error) {
	paths, err := b.paths(in, n)
	if err != nil {
		return nil, err
	}
	switch {
	case len(paths) == 0 && n.optional:
		return nil, nil
	case len(paths) == 0:
		return nil, refusePath("give a path", "the call names no path")
	case len(paths) > maxPaths:
		return nil, refusePath("name fewer files in one call", "the call names %d paths; at most %d are taken", len(paths), maxPaths)
	}
	j, err := newJail(in.Roots)
	if err != nil {
		return nil, err
	}
	out := make([]resolvedPath, 0, len(paths))
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		abs, err := b.absolute(path, in, n)
		if err != nil {
			return nil, err
		}
		p, err := j.resolvePath(abs, b.dialect == DialectFilesystem, n.follow(b.dialect))
		if err != nil {
			return nil, err
		}
		if len(p.names) == 0 && !n.whole {
			return nil, refusePath("name a file in the workspace", "the path is the workspace folder itself")
		}
		out = append(out, p)
	}
	return out, nil
}

// resolvePath resolves a clean absolute path.
func (j *jail) resolvePath(abs string, equal, follow bool) (resolvedPath, error) {
	at, names, ok := j.locate(abs)
	if !ok {
		return resolvedPath{}, errOutside()
	}
	return j.resolve(at, names, equal, follow)
}

// absolute returns the absolute path that the server would derive from p.
func (b *Binding) absolute(p string, in Input, n naming) (string, error) {
	if b.dialect == DialectClaude && !filepath.IsAbs(p) {
		// fail closed: which folder the tool is in by now is not known
		return "", refusePath(useAbsolute, "the path is not absolute")
	}
	if b.dialect != DialectFilesystem {
		if b.dialect == DialectGeneric && len(in.Roots) > 1 && !filepath.IsAbs(p) {
			// fail closed: to which folder the server goes is not known
			return "", refusePath(useAbsolute, "a relative path could mean more than one file")
		}
		abs, err := plainAbsolute(p, in.Roots)
		if err != nil {
			return "", err
		}
		if strings.HasSuffix(p, "/") && !n.slash {
			return "", refusePath("write the path without it", "a slash ends the path of a file")
		}
		return abs, nil
	}
	if err := checkText(p); err != nil {
		return "", err
	}
	abs, err := nodeAbsolute(p, in.Home, nodeFolders(in.Roots))
	if err != nil || len(in.ServerRoots) == 0 || filepath.IsAbs(p) {
		return abs, err
	}
	if theirs, err := nodeAbsolute(p, in.Home, nodeFolders(in.ServerRoots)); err != nil || theirs != abs {
		// fail closed: the server would take another file
		return "", refusePath(useAbsolute, "a relative path could mean more than one file")
	}
	return abs, nil
}

// checkText refuses text that cannot be a file name.
func checkText(p string) error {
	switch {
	case p == "":
		return refusePath("give a path", "the path is empty")
	case strings.IndexByte(p, 0) >= 0:
		return refusePath("give a path without it", "the path contains a NUL")
	case len(p) > maxPath:
		return refusePath("use a shorter path", "the path has more than %d bytes", maxPath)
	}
	return nil
}

// plainAbsolute makes p absolute if that does not depend on the server: p has no
// "..", whose meaning depends on whether links are followed first, and no ~.
func plainAbsolute(p string, roots []string) (string, error) {
	if err := checkText(p); err != nil {
		return "", err
	}
	if p == "~" || strings.HasPrefix(p, "~/") {
		return "", refusePath(useAbsolute, "~ is not expanded")
	}
	if windowsPath.MatchString(p) {
		return "", refusePath(useAbsolute, "a path of Windows was given on another system")
	}
	if slices.Contains(strings.Split(p, "/"), "..") {
		return "", refusePath("write the path without it", `the path contains ".."`)
	}
	if filepath.IsAbs(p) {
		return filepath.Clean(p), nil
	}
	if len(roots) == 0 {
		return "", errOutside()
	}
	return filepath.Join(roots[0], p), nil
}

// files resolves a call that changes files.
func (b *Binding) files(ctx context.Context, in Input, n naming) (resolved, error) {
	places, err := b.resolvedPaths(ctx, in, n)
	return resolved{places: places, targets: targetsOf(places, true)}, err
}
