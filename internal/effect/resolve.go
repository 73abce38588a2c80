package effect

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// The kinds of target.
const (
	TargetFile   = "file"
	TargetOpaque = "opaque"
)

// maxPaths bounds the paths of one call.
const maxPaths = 1000

// Path resolves one path against the workspace folders: links are followed,
// and whatever is not an ordinary file or folder inside them is refused with a
// *Refusal. The path need not exist. A relative path is taken from the first
// folder.
func Path(path string, roots []string) (guard.Target, error) {
	j, err := newJail(roots)
	if err != nil {
		return guard.Target{}, err
	}
	abs, err := plainAbsolute(path, roots)
	if err != nil {
		return guard.Target{}, err
	}
	p, err := j.place(abs, false, true)
	if err != nil {
		return guard.Target{}, err
	}
	return p.target(false), nil
}

// Resolve returns the resources that the call names, with links resolved, the
// written one first. It looks at names alone and reads no content.
func (b *Binding) Resolve(ctx context.Context, in Input) ([]guard.Target, error) {
	if b.record != nil {
		return b.recordTargets(ctx, in)
	}
	places, err := b.places(ctx, in)
	if err != nil {
		return nil, err
	}
	return b.targets(in, places), nil
}

func (b *Binding) targets(in Input, places []place) []guard.Target {
	var out []guard.Target
	for _, p := range places {
		t := p.target(b.kind != FileRead)
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	switch b.kind {
	case Exec, HTTP, Message:
		return []guard.Target{runTarget(b.kind, in)}
	case SQL:
		return []guard.Target{b.sqlTarget(in)}
	}
	if b.Kind() == Opaque {
		if b.dialect == DialectClaude {
			// One tool of the client's own can contain others, such as a skill that
			// runs as an agent; they must not wait for it to end.
			return append(out, runTarget(Opaque, in))
		}
		// Nobody knows what else an opaque call touches: one at a time per server.
		out = append(out, guard.Target{Kind: TargetOpaque, Key: in.Call.Session.Server, Write: true})
	}
	return out
}

func (p place) target(write bool) guard.Target {
	return guard.Target{Kind: TargetFile, Key: p.abs(), Path: p.rel(), Root: p.root, Write: write}
}

// places resolves every path of the call.
func (b *Binding) places(ctx context.Context, in Input) ([]place, error) {
	switch b.kind {
	case Exec, HTTP, Message, SQL:
		return nil, nil // they change no file
	}
	paths, err := b.paths(in)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 && (b.kind != Opaque || b.params["path"] != nil) {
		return nil, refusePath("give a path", "the call names no path")
	}
	if len(paths) > maxPaths {
		return nil, refusePath("name fewer files in one call", "the call names %d paths; at most %d are taken", len(paths), maxPaths)
	}
	if len(paths) == 0 {
		return nil, nil
	}
	j, err := newJail(in.Roots)
	if err != nil {
		return nil, err
	}
	out := make([]place, 0, len(paths))
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		abs, err := b.absolute(path, in)
		if err != nil {
			return nil, err
		}
		node := b.dialect == DialectFilesystem
		p, err := j.place(abs, node, b.follows())
		if err != nil {
			return nil, err
		}
		if len(p.names) == 0 && b.kind != FileRead && b.kind != DirCreate && b.kind != Opaque {
			return nil, refusePath("name a file in the workspace", "the path is the workspace folder itself")
		}
		out = append(out, p)
	}
	return out, nil
}

// follows reports whether a link at the end of a path is followed.
func (b *Binding) follows() bool {
	switch {
	case b.dialect == DialectFilesystem:
		return true
	case b.kind == FileMove, b.kind == FileDelete:
		// A server of unknown habits may move or delete a link or what it
		// leads to; the link itself is shown, and refused by the plan.
		return false
	case b.dialect == DialectClaude:
		return b.kind != FileWrite && b.kind != FileEdit && b.kind != NotebookEdit // it refuses to write links
	}
	return true
}

// place resolves a clean absolute path.
func (j *jail) place(abs string, equal, follow bool) (place, error) {
	at, names, ok := j.locate(abs)
	if !ok {
		return place{}, errOutside()
	}
	return j.resolve(at, names, equal, follow)
}

// absolute returns the absolute path that the server would make of p.
func (b *Binding) absolute(p string, in Input) (string, error) {
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
		return abs, checkSlash(p, b.kind)
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

// checkText refuses what no file is called.
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

// plainAbsolute makes p absolute where nothing about it is left to a server's
// habits: no "..", whose meaning depends on whether links are followed first,
// and no ~.
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

// checkSlash refuses a file's name with a slash at its end.
func checkSlash(p, kind string) error {
	if !strings.HasSuffix(p, "/") {
		return nil
	}
	switch kind {
	case FileRead, DirCreate, FileMove, FileDelete, Opaque:
		return nil
	}
	return refusePath("write the path without it", "a slash ends the path of a file")
}
