package onboard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/redact"
)

// ImportRequest is what a person wants to import.
type ImportRequest struct {
	// Files are the files to read; none means those that Claude Code reads in
	// Folder. Naming a file allows its servers to be started.
	Files   []string
	Folder  string   // where the client works
	Roots   []string // further folders in which clients are served
	NoStart bool     // do not start servers to ask for their tools
	Program string   // absolute path of this program
	// GuardHome is MCPGUARD_HOME if set; entries then contain it.
	GuardHome string
	Paths     ipc.Paths
	Lookup    func(name string) (string, bool)
	User      string
	Version   string
	Now       time.Time
	Waiting   func(sentence string) // as in Request; may be called concurrently

	// Replaced by tests; nil asks this machine.
	which func(program string) (string, error)
	image func(program, image string) []string
	// patience is how long Claude Code may keep its configuration locked; 0
	// means lockPatience.
	patience time.Duration
}

// Import is the plan for the servers of a client. Making it changes nothing.
type Import struct {
	Request  ImportRequest
	Files    []*ClientFile
	Items    []*Item // in the order of the files
	Warnings []string
}

// Item is the plan for one entry.
type Item struct {
	Entry *Entry
	// Server is the guard's name for it; empty if it is not guarded.
	Server string
	// Already is true if the entry already starts the guard.
	Already bool
	// Refused says why the entry stays unguarded.
	Refused string
	// Same is the item, or "config.yaml", that has the same server.
	Same   string
	Launch Launch
	Env    []Handling
	Plan   Plan
	// Unstarted says why the server's tools are not known; empty if they are.
	Unstarted string
	Notes     []string

	command string
}

// Guarded reports whether writing the plan puts the guard in front of the
// entry.
func (i *Item) Guarded() bool { return i.Server != "" && !i.Already }

// starters is how many servers are probed at once.
const starters = 3

// NewImport reads the files and plans the import. It starts the servers to ask
// for their tools unless told not to, and writes nothing.
func NewImport(ctx context.Context, r ImportRequest) (*Import, error) {
	if r.which == nil {
		r.which = exec.LookPath
	}
	if r.image == nil {
		r.image = repoDigests
	}
	im := &Import{Request: r}
	known, err := im.open()
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(r.Paths.ConfigFile())
	if errors.Is(err, fs.ErrNotExist) {
		cfg, err = &config.Config{}, nil
	}
	if err != nil {
		return nil, err
	}
	recorded, err := config.LoadEnvironment(r.Paths.EnvironmentFile())
	if err != nil {
		return nil, err
	}
	p := &planner{im: im, cfg: cfg, recorded: recorded, redactor: redact.New(redact.Config{}), known: known}
	for _, f := range im.Files {
		for _, e := range f.Entries {
			if e.Scope == Local && !slices.Contains(projectKeys(r.Folder), e.Project) {
				continue // of another project
			}
			im.Items = append(im.Items, p.item(e))
		}
	}
	im.noteFiles()
	p.ask(ctx)
	p.refuseMoving()
	im.warn(known)
	return im, nil
}

// open reads the named files, or else those that exist. known is everything
// that Claude Code reads, to find entries that stay unguarded.
func (im *Import) open() (known []*ClientFile, err error) {
	sources := claudeFiles(im.Request.Folder, im.Request.Lookup)
	named := len(im.Request.Files) > 0
	paths := im.Request.Files
	if !named {
		paths = sources
	}
	for _, path := range paths {
		f, err := readClientFile(path)
		if errors.Is(err, fs.ErrNotExist) && !named {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading what a client has: %w", err)
		}
		if !slices.ContainsFunc(im.Files, func(g *ClientFile) bool { return g.real == f.real }) {
			im.Files = append(im.Files, f)
		}
	}
	if len(im.Files) == 0 {
		return nil, fmt.Errorf("no client's configuration was found: none of %s is there; name a file", strings.Join(sources, ", "))
	}
	known = slices.Clone(im.Files)
	for _, path := range sources {
		f, err := readClientFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			im.Warnings = append(im.Warnings, fmt.Sprintf("whether servers stand unguarded elsewhere is not known: %v", err))
		case !slices.ContainsFunc(known, func(g *ClientFile) bool { return g.real == f.real }):
			known = append(known, f)
		}
	}
	return known, nil
}

// claudeFiles returns the files in which Claude Code looks for servers when it
// runs in folder: .mcp.json there and in parent folders, nearest first, and
// its own.
func claudeFiles(folder string, lookup func(string) (string, bool)) (paths []string) {
	for dir := folder; ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, ".mcp.json")
		if _, err := os.Stat(path); err == nil || dir == folder {
			paths = append(paths, path)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if dir, ok := lookup("CLAUDE_CONFIG_DIR"); ok && dir != "" {
		return append(paths, filepath.Join(dir, ".claude.json"))
	}
	if home, ok := lookup("HOME"); ok && home != "" {
		paths = append(paths, filepath.Join(home, ".claude.json"))
	}
	return paths
}

// projectKeys returns the folders under which Claude Code may store what
// belongs to the project of folder: its repository, the repository of a
// worktree, and folder itself.
func projectKeys(folder string) []string {
	keys := []string{folder}
	for dir := folder; ; dir = filepath.Dir(dir) {
		git := filepath.Join(dir, ".git")
		if st, err := os.Stat(git); err == nil {
			keys = append(keys, dir)
			if data, err := os.ReadFile(git); err == nil && !st.IsDir() {
				main, _, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(string(data), "gitdir:")), "/.git/worktrees/")
				if ok {
					keys = append(keys, main)
				}
			}
			return keys
		}
		if dir == filepath.Dir(dir) {
			return keys
		}
	}
}

// ask starts the servers, a few at once, and completes the plans from their
// replies. A server that cannot be asked stays in the plan.
func (p *planner) ask(ctx context.Context) {
	slots := make(chan struct{}, starters)
	var all sync.WaitGroup
	for _, it := range p.im.Items {
		if !it.Guarded() || it.Same != "" {
			continue
		}
		if it.Unstarted = p.mayNotStart(it.Entry); it.Unstarted != "" {
			continue
		}
		all.Go(func() { // ends with the server's answers, at the latest by the probe's bound
			slots <- struct{}{}
			defer func() { <-slots }()
			p.complete(ctx, it)
		})
	}
	all.Wait()
}

// complete asks one server. A package that was downloaded for this now has a
// version.
func (p *planner) complete(ctx context.Context, it *Item) {
	if err := it.Plan.listen(ctx); err != nil {
		it.Unstarted = "it could not be asked: " + err.Error()
		return
	}
	if it.Launch.Fixed {
		return
	}
	if l := p.launchEnv().launchOf(it.command, it.Launch.Args); l.Pinned {
		l.Source += " just now"
		it.Notes = slices.DeleteFunc(it.Notes, func(n string) bool { return n == it.Launch.Advice })
		it.Launch = l
		it.Plan.Request.Args, it.Plan.Entry.Args = l.Args, l.Args
	}
}

// refuseMoving refuses what can change its version by itself if the folder's
// profile is for production: there each start must run what was reviewed.
func (p *planner) refuseMoving() {
	name, prod := p.production()
	if !prod {
		return
	}
	for _, it := range p.im.Items {
		if it.Guarded() && it.Same != "config.yaml" && !it.Launch.Fixed {
			it.Server, it.Same = "", ""
			it.Refused = fmt.Sprintf("each start may bring another version of %s, and the profile %q of this folder is of prod; write the version behind its name", it.Launch.Name, name)
		}
	}
}

// production returns the profile of the folder, and whether it is of production.
func (p *planner) production() (name string, prod bool) {
	longest := -1
	for _, n := range slices.Sorted(maps.Keys(p.cfg.Profiles)) {
		for _, root := range p.cfg.Profiles[n].Roots {
			if expr.Under(p.im.Request.Folder, root) && len(root) > longest {
				name, prod, longest = n, p.cfg.Profiles[n].Environment == "prod", len(root)
			}
		}
	}
	return name, prod
}

// mayNotStart says why a server is not started for the plan. A command in a
// repository's .mcp.json is someone else's until the user has allowed it, in
// Claude Code or by naming the file here.
func (p *planner) mayNotStart(e *Entry) string {
	if p.im.Request.NoStart {
		return "it was not started (--no-start)"
	}
	if e.Scope != Project || len(p.im.Request.Files) > 0 {
		return ""
	}
	for _, f := range p.known {
		for _, key := range projectKeys(p.im.Request.Folder) {
			if t := f.projects[key]; t.accepted && slices.Contains(t.enabled, e.Name) {
				return ""
			}
		}
	}
	return fmt.Sprintf("it was not started: Claude Code has not been told to start it here; `mcpguardd import %s` says that you trust that file", e.File.Path)
}

// noteFiles adds what follows from where the entries are.
func (im *Import) noteFiles() {
	for _, f := range im.Files {
		has := func(s Scope) bool {
			return slices.ContainsFunc(im.Items, func(it *Item) bool { return it.Entry.File == f && it.Entry.Scope == s && it.Guarded() })
		}
		if has(Project) {
			f.Notes = append(f.Notes, "this file may be shared: who has it and no mcpguard on the PATH loses these servers with the change")
		}
		if has(User) && len(im.Request.Roots) == 0 {
			f.Notes = append(f.Notes, fmt.Sprintf("the user scope holds in every project, and the guard serves clients in %s; name further folders with --root", im.Request.Folder))
		}
		if has(File) {
			f.Notes = append(f.Notes, fmt.Sprintf("the guard serves clients in %s; if this client starts its servers elsewhere, name that folder with --root and set workspaces", im.Request.Folder))
		}
	}
}

// warn reports entries for the same server that stay unguarded.
func (im *Import) warn(known []*ClientFile) {
	for _, it := range im.Items {
		if !it.Guarded() {
			continue
		}
		for _, o := range known {
			for _, e := range o.Entries {
				if im.covers(e) || !im.same(it, e) {
					continue
				}
				w := fmt.Sprintf("%s is also in %s (%s), and stays unguarded there: whatever starts that entry goes past the guard", e.Name, e.File.Path, e.where())
				if !slices.Contains(im.Warnings, w) {
					im.Warnings = append(im.Warnings, w)
				}
			}
		}
	}
}

// covers reports whether an entry is guarded, now or by this plan.
func (im *Import) covers(e *Entry) bool {
	if _, ok := e.guarded(); ok {
		return true
	}
	return slices.ContainsFunc(im.Items, func(it *Item) bool {
		return it.Guarded() && it.Entry.File.real == e.File.real && it.Entry.Scope == e.Scope && it.Entry.Project == e.Project && it.Entry.Name == e.Name
	})
}

// same reports whether an entry is for the item's server, by its name or by
// the package that it starts.
func (im *Import) same(it *Item, e *Entry) bool {
	if e.Name == it.Entry.Name {
		return true
	}
	if it.Launch.Name == "" || !strings.HasSuffix(it.Launch.Kind, "package") {
		return false
	}
	g := launchEnv{lookup: im.Request.Lookup, which: im.Request.which, image: func(string, string) []string { return nil }}
	l := g.launchOf(e.Command, e.Args)
	return l.Kind == it.Launch.Kind && l.Name == it.Launch.Name
}

// Unguarded returns, as sentences, the entries of Claude Code that start a
// server with this name or command without the guard.
func Unguarded(folder string, lookup func(string) (string, bool), name, command string, args []string) (found []string) {
	for _, path := range claudeFiles(folder, lookup) {
		f, err := readClientFile(path)
		if err != nil {
			continue // what Claude Code cannot read either, or is not there
		}
		for _, e := range f.Entries {
			_, guarded := e.guarded()
			same := e.Name == name || (command != "" && e.Command == command && slices.Equal(e.Args, args))
			if !guarded && same {
				found = append(found, fmt.Sprintf("%s in %s (%s)", e.Name, e.File.Path, e.where()))
			}
		}
	}
	return found
}
