package mcpguardd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/redact"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/version"
)

// importFlags are the flags of import.
type importFlags struct {
	write, noStart, undo, keep bool
	roots                      []string
}

func (a *app) imports() *cobra.Command {
	var o importFlags
	c := &cobra.Command{
		Use:   "import [FILE…]",
		Short: "guard the servers that Claude Code has: a plan first, then --write, or --undo",
		Long: `Reads the servers that Claude Code has in this folder (.mcp.json here and above,
its user and local scope in ~/.claude.json), or those of the files that you
name, such as an exported claude_desktop_config.json. It shows a plan: what each
server is, the version found, its preset, a tier for each tool with the reason,
where each environment variable goes, and what cannot be guarded and why.

With --write each entry becomes "mcpguard stdio NAME" and keeps every other
byte of its file. The originals are kept in the guard's state folder. Values of
the environment move into the guard's own record, what looks like a secret into
a file that only you can read; package runners are held to the version found.
--undo puts the files back byte for byte.

To ask for their tools the servers are started once, a project's own only where
Claude Code may start them already, or where you name the file.`,
		Example: `  mcpguardd import                    what would be done
  mcpguardd import --write            do it
  mcpguardd import --undo             take the last one back
  mcpguardd import ~/claude_desktop_config.json --no-start`,
		GroupID: "setup",
		RunE: func(c *cobra.Command, args []string) error {
			p, err := paths()
			if err != nil {
				return err
			}
			switch {
			case o.undo && (o.write || o.noStart || len(o.roots) > 0 || len(args) > 1):
				return coded(exitUsage, errors.New("--undo takes one FILE at most, and --keep-changes\nsee: mcpguardd import --help"))
			case o.keep && !o.undo:
				return coded(exitUsage, errors.New("--keep-changes belongs to --undo\nsee: mcpguardd import --help"))
			case o.undo:
				return a.undoImport(c.Context(), p, args, o.keep)
			}
			r, err := a.importRequest(p, args, o)
			if err != nil {
				return err
			}
			im, err := onboard.NewImport(c.Context(), r)
			if err != nil {
				return err
			}
			a.printImport(im)
			return a.writeImport(c.Context(), im, o.write)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.write, "write", false, "do what the plan says")
	f.BoolVar(&o.noStart, "no-start", false, "start no server; tools stay unknown until `mcpguardd accept NAME`")
	f.BoolVar(&o.undo, "undo", false, "put the files of the last import back, byte for byte")
	f.BoolVar(&o.keep, "keep-changes", false, "with --undo: where a file was changed since, put back the entries alone")
	f.StringArrayVar(&o.roots, "root", nil, "serve clients in this folder too, besides the current one (repeatable)")
	f.Lookup("no-start").Usage = strings.ReplaceAll(f.Lookup("no-start").Usage, "`", "")
	return c
}

// importRequest collects what import needs to know about this shell.
func (a *app) importRequest(p ipc.Paths, files []string, o importFlags) (onboard.ImportRequest, error) {
	var none onboard.ImportRequest
	folder, err := here()
	if err != nil {
		return none, err
	}
	exe, err := clientProgram()
	if err != nil {
		return none, fmt.Errorf("finding this program: %w", err)
	}
	r := onboard.ImportRequest{
		Folder: folder, NoStart: o.noStart, Program: exe, GuardHome: os.Getenv(ipc.EnvHome), Paths: p,
		Lookup: os.LookupEnv, User: userName(), Version: version.Number, Now: time.Now(),
		Waiting: a.waiting,
	}
	for _, f := range files {
		abs, err := filepath.Abs(f)
		if err != nil {
			return none, fmt.Errorf("finding %s: %w", f, err)
		}
		r.Files = append(r.Files, abs)
	}
	for _, dir := range o.roots {
		abs, err := filepath.Abs(dir)
		if err == nil {
			abs, err = filepath.EvalSymlinks(abs)
		}
		if err != nil {
			return none, fmt.Errorf("finding the folder %s: %w", dir, err)
		}
		r.Roots = append(r.Roots, abs)
	}
	return r, nil
}

// here returns the current folder with links resolved, as the daemon will see
// it.
func here() (string, error) {
	folder, err := os.Getwd()
	if err == nil {
		folder, err = filepath.EvalSymlinks(folder)
	}
	if err != nil {
		return "", fmt.Errorf("finding the current folder: %w", err)
	}
	return folder, nil
}

func (a *app) writeImport(ctx context.Context, im *onboard.Import, write bool) error {
	guarded, refused, already := 0, 0, 0
	servers := map[string]bool{}
	for _, it := range im.Items {
		switch {
		case it.Already:
			already++
		case it.Refused != "":
			refused++
		case it.Guarded():
			guarded++
			servers[it.Server] = true
		}
	}
	// Several entries may start one server.
	entries := ""
	if guarded != len(servers) {
		entries = fmt.Sprintf(" in %s", count(guarded, "entry", "entries"))
	}
	before := ""
	if already > 0 {
		before = fmt.Sprintf("; %s already", count(already, "entry was guarded", "entries were guarded"))
	}
	fmt.Fprintln(a.out)
	for _, w := range im.Warnings {
		fmt.Fprintf(a.out, "WARNING: %s.\n", safetext.Text(w))
	}
	if refused > 0 {
		fmt.Fprintf(a.out, "%s unguarded: nothing that goes through there is seen here.\n", count(refused, "server stays", "servers stay"))
	}
	switch {
	case guarded == 0:
		fmt.Fprintf(a.out, "There is nothing to guard%s.\n", before)
		return nil
	case !write:
		fmt.Fprintf(a.out, "%s would be guarded%s%s. Nothing was written; do it with --write.\n", count(len(servers), "server", "servers"), entries, before)
		return nil
	}
	rec, err := im.Write(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s guarded%s%s. The originals are in %s; `mcpguardd import --undo` puts them back.\n", count(len(servers), "server is", "servers are"), entries, before, safetext.Text(rec.Folder()))
	fmt.Fprintf(a.out, "Claude Code uses them at its next start, or after /mcp. Look the tiers over in %s, and keep `approve` at hand in another pane.\n", safetext.Text(im.Request.Paths.ConfigFile()))
	for _, it := range im.Items {
		if it.Guarded() && it.Unstarted != "" && it.Same == "" {
			fmt.Fprintf(a.out, "The tools of %s are not known yet: mcpguardd accept %s\n", it.Server, it.Server)
		}
	}
	return nil
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (a *app) printImport(im *onboard.Import) {
	r := redact.New(redact.Config{})
	for _, f := range im.Files {
		fmt.Fprintln(a.out, safetext.Text(f.Path))
		any := false
		for _, it := range im.Items {
			if it.Entry.File == f {
				any = true
				a.printItem(it, r)
			}
		}
		if !any {
			fmt.Fprintln(a.out, "  no servers")
		}
		for _, n := range f.Notes {
			fmt.Fprintf(a.out, "  note: %s\n", safetext.Text(n))
		}
	}
}

func (a *app) printItem(it *onboard.Item, r *redact.Redactor) {
	head := func(format string, args ...any) {
		fmt.Fprintf(a.out, "  %s (%s scope): %s\n", safetext.Identity(it.Entry.Name), it.Entry.Scope, safetext.Text(fmt.Sprintf(format, args...)))
	}
	line := func(label, format string, args ...any) {
		fmt.Fprintf(a.out, "    %-8s %s\n", label, safetext.Text(fmt.Sprintf(format, args...)))
	}
	switch {
	case it.Already:
		head("guarded already, as %s", it.Server)
	case it.Refused != "":
		head("NOT guarded: %s", it.Refused)
	case it.Same != "":
		head("guarded as %s, the same server as %s", it.Server, it.Same)
	default:
		head("to be guarded as %s", it.Server)
		a.printServer(it, r, line)
	}
	for _, n := range it.Notes {
		line("note", "%s", n)
	}
}

func (a *app) printServer(it *onboard.Item, r *redact.Redactor, line func(label, format string, args ...any)) {
	words, _ := r.Text([]byte(strings.Join(append([]string{it.Plan.Entry.Command}, it.Launch.Args...), " ")))
	line("starts", "%s", words)
	what := it.Launch.Kind + " " + it.Launch.Name
	if it.Launch.Version != "" {
		what += " " + it.Launch.Version + ", " + it.Launch.Source
	}
	if it.Launch.Pinned {
		what += ", and held to it"
	}
	line("is", "%s", what)
	if it.Plan.Entry.Preset != "" {
		line("preset", "%s, found by the package's name%s", it.Plan.Entry.Preset, unrun[it.Plan.Basis])
	}
	var named []string
	for _, h := range it.Env {
		to := "recorded"
		if h.Secret {
			to = "secret file"
		}
		if h.Reason != "" {
			to += " (" + h.Reason + ")"
		}
		line("env", "%s: %s", h.Name, to)
		named = append(named, h.Name)
	}
	rest := slices.DeleteFunc(slices.Clone(it.Plan.Entry.Env), func(n string) bool { return slices.Contains(named, n) })
	line("env", "of this shell: %s, and nothing else", strings.Join(rest, ", "))
	if it.Unstarted != "" {
		for i, l := range strings.Split(it.Unstarted, "\n") {
			label := ""
			if i == 0 {
				label, l = "tools", l+"; they stay blocked until `mcpguardd accept "+it.Server+"`"
			}
			line(label, "%s", l)
		}
		return
	}
	l := it.Plan.Listing
	line("tools", "%d, of %s %s; ? marks the server's own word or the lack of one", len(l.Tools), l.Name, l.Version)
	a.printTiers(it.Plan, strings.Repeat(" ", 11))
	a.printLeftOut(l.LeftOut, strings.Repeat(" ", 11))
}

// undoImport reverts an import.
func (a *app) undoImport(ctx context.Context, p ipc.Paths, files []string, keep bool) error {
	r := onboard.UndoRequest{Paths: p, KeepChanges: keep, Now: time.Now()}
	if len(files) > 0 {
		abs, err := filepath.Abs(files[0])
		if err != nil {
			return fmt.Errorf("finding %s: %w", files[0], err)
		}
		r.File = abs
	}
	done, err := onboard.Undo(ctx, r)
	var changed *onboard.ChangedError
	if errors.As(err, &changed) {
		for _, l := range safetext.Lines(changed.Diff) {
			fmt.Fprintf(a.out, "  %s\n", l)
		}
		return coded(exitRefused, fmt.Errorf("%w\nto put back the servers' entries and keep what else was changed: mcpguardd import --undo --keep-changes", err))
	}
	if err != nil {
		return err
	}
	for _, f := range done.Restored {
		fmt.Fprintf(a.out, "%s is what it was, byte for byte.\n", safetext.Text(f))
	}
	for _, f := range done.Entries {
		fmt.Fprintf(a.out, "%s has its own entries again; what else was changed since stays.\n", safetext.Text(f))
	}
	for _, s := range done.Kept {
		fmt.Fprintf(a.out, "%s.\n", safetext.Text(s))
	}
	fmt.Fprintln(a.out, "Claude Code starts its servers without the guard from its next start on.")
	return nil
}

// unguarded lists the entries of Claude Code that bypass the guard to start a
// guarded server, as Claude Code would see them from here.
func (d *diagnosis) unguarded(set *policy.Set) {
	folder, err := here()
	if set == nil || err != nil {
		return
	}
	for _, s := range set.Servers() {
		for _, where := range onboard.Unguarded(folder, os.LookupEnv, s.Name, s.Config.Command, s.Config.Args) {
			d.weak("%s still starts %s past the guard; remove it, or run `mcpguardd import`", where, s.Name)
		}
	}
}
