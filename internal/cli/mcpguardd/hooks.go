package mcpguardd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

func (a *app) hooks() *cobra.Command {
	c := &cobra.Command{
		Use:     "hooks",
		Short:   "send the client's own tools (Edit, Write, Bash …) through the guard, or stop doing so",
		GroupID: "setup",
		Args:    noCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.hooksInstall(), a.hooksRemove())
	return c
}

// settingsFlags selects a settings file.
type settingsFlags struct {
	file, scope string
	write       bool
}

func (f *settingsFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "settings", "", "the settings file, instead of the one of a scope")
	c.Flags().StringVar(&f.scope, "scope", "local", "local (.claude/settings.local.json here), project (.claude/settings.json here) or user (~/.claude/settings.json)")
	c.Flags().BoolVar(&f.write, "write", false, "do it; without this it is only shown")
}

// lock prevents other edits during an edit.
func (f *settingsFlags) lock(ctx context.Context) (release func(), err error) {
	if !f.write {
		return func() {}, nil
	}
	p, err := paths()
	if err != nil {
		return nil, err
	}
	return p.LockConfig(ctx)
}

// path returns the settings file, with links followed.
func (f *settingsFlags) path() (string, error) {
	name := f.file
	if name == "" {
		dir := os.Getenv("CLAUDE_CONFIG_DIR")
		switch f.scope {
		case "local":
			name = filepath.Join(".claude", "settings.local.json")
		case "project":
			name = filepath.Join(".claude", "settings.json")
		case "user":
			if dir == "" {
				home, err := os.UserHomeDir()
				if err != nil {
					return "", fmt.Errorf("finding the settings: %w", err)
				}
				dir = filepath.Join(home, ".claude")
			}
			name = filepath.Join(dir, "settings.json")
		default:
			return "", coded(exitUsage, fmt.Errorf("%q is no scope; write local, project or user", f.scope))
		}
	}
	name, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("finding the settings: %w", err)
	}
	real, err := filepath.EvalSymlinks(name)
	if err == nil {
		return real, nil
	}
	if _, lerr := os.Lstat(name); lerr == nil {
		return "", fmt.Errorf("%s is a link that leads nowhere: %w", name, err)
	}
	return name, nil
}

// settings is a settings file that is about to change, and the program that
// its hooks start.
type settings struct {
	path, exe string
	now       []byte // nil where there is no file
}

// edit runs a change of the settings while it holds the lock.
func (f *settingsFlags) edit(change func(ctx context.Context, s settings) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		release, err := f.lock(c.Context())
		if err != nil {
			return err
		}
		defer release()
		var s settings
		if s.path, err = f.path(); err != nil {
			return err
		}
		if s.exe, err = clientProgram(); err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		if s.now, err = readSettings(s.path); err != nil {
			return err
		}
		return change(c.Context(), s)
	}
}

// writable refuses a settings file that cannot be written, before anything is
// written.
func writable(path string) error {
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o200 == 0 {
		return fmt.Errorf("%s is read-only, so nothing was written; choose another file with --scope or --settings", path)
	}
	dir := filepath.Dir(path)
	for {
		err := unix.Access(dir, unix.W_OK)
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return fmt.Errorf("%s cannot be written, so nothing was: %w", path, err)
		}
		dir = filepath.Dir(dir) // it will be created
	}
}

// backup returns the path of the copy of the original settings.
func backup(path string) string { return path + ".before-mcpguard" }

func (a *app) hooksInstall() *cobra.Command {
	var f settingsFlags
	c := &cobra.Command{
		Use:   "install",
		Short: "write the hooks into the client's settings, after showing the change",
		Long: `Shows what would change in Claude Code's settings, and in the guard's configuration where
that does not name the client's own tools or does not serve this folder yet. With --write it
is done; the settings as they were are kept beside them, and "mcpguardd hooks remove --write"
restores them exactly.

From then on each of the client's own tools asks the guard first. A tool that the policy does
not name is refused; where the guard cannot be reached, everything is.`,
		Args: noArguments,
	}
	f.register(c)
	c.RunE = f.edit(func(ctx context.Context, s settings) error { return a.installHooks(ctx, f, s) })
	return c
}

func (a *app) installHooks(ctx context.Context, f settingsFlags, s settings) error {
	after, err := hook.Install(s.now, s.exe)
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	had, err := hook.Installed(s.now)
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	g, err := guardFor(f.file == "" && f.scope == "user")
	if err != nil {
		return err
	}
	changed := a.showChange(g.path, g.before, g.after)
	if !a.showChange(s.path, s.now, after) && !changed {
		fmt.Fprintln(a.out, "the hooks are in the settings already")
		a.note(g.note)
		return nil
	}
	a.note(g.note)
	if shared(ctx, s.path) {
		text := s.path + " may be shared, since git does not ignore it: whoever has it and no " + s.exe + " has every tool refused"
		if f.file == "" && f.scope == "local" {
			text += "; to keep it here, write .claude/settings.local.json into .git/info/exclude"
		}
		a.note(text)
	}
	if !f.write {
		fmt.Fprintln(a.out, "\nnothing was written; run it again with --write")
		return nil
	}
	if err := writable(s.path); err != nil {
		return err
	}
	if err := replaceFile(g.path, g.before, g.after, 0o600); err != nil {
		return err
	}
	if s.now != nil && !had {
		if err := replaceFile(backup(s.path), nil, s.now, 0o600); err != nil {
			return err
		}
	}
	if err := replaceFile(s.path, s.now, after, 0o644); err != nil {
		return err
	}
	fmt.Fprintln(a.out, "\nwritten; sessions of the client that begin from now on ask the guard")
	return nil
}

func (a *app) hooksRemove() *cobra.Command {
	var f settingsFlags
	c := &cobra.Command{
		Use:   "remove",
		Short: "take the hooks out of the client's settings, after showing the change",
		Args:  noArguments,
	}
	f.register(c)
	c.RunE = f.edit(func(_ context.Context, s settings) error { return a.removeHooks(f, s) })
	return c
}

func (a *app) removeHooks(f settingsFlags, s settings) error {
	switch had, err := hook.Installed(s.now); {
	case err != nil:
		return fmt.Errorf("%s: %w", s.path, err)
	case !had:
		fmt.Fprintln(a.out, "the settings name no hook of the guard")
		return nil
	}
	kept, err := readSettings(backup(s.path))
	if err != nil {
		return err
	}
	after, exact := kept, false
	if again, err := hook.Install(kept, s.exe); err == nil && bytes.Equal(again, s.now) {
		exact = true // unchanged since
	} else if after, err = hook.Remove(s.now); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	a.showChange(s.path, s.now, after)
	if !f.write {
		fmt.Fprintln(a.out, "\nnothing was written; run it again with --write")
		return nil
	}
	if err := writable(s.path); err != nil {
		return err
	}
	if exact && kept == nil {
		err = os.Remove(s.path) // the file did not exist before
	} else {
		err = replaceFile(s.path, s.now, after, 0o644)
	}
	if err != nil {
		return fmt.Errorf("restoring the settings: %w", err)
	}
	if err := os.Remove(backup(s.path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the kept settings: %w", err)
	}
	fmt.Fprintln(a.out, "\nwritten; the client's own tools do not ask the guard any more")
	return nil
}

func noArguments(c *cobra.Command, args []string) error {
	return exactly(0, "no arguments")(c, args)
}

// readSettings reads a file that may be missing.
func readSettings(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the settings: %w", err)
	}
	return b, nil
}

// note prints a remark.
func (a *app) note(text string) {
	if text != "" {
		fmt.Fprintf(a.out, "\nnote: %s\n", safetext.Text(text))
	}
}

func ending(text []byte) string {
	if bytes.HasSuffix(text, []byte("\n")) {
		return ""
	}
	return "\n"
}

// showChange prints a change as a diff, and reports whether there is one.
func (a *app) showChange(path string, before, after []byte) bool {
	if bytes.Equal(before, after) {
		return false
	}
	text, _ := diff.Unified(
		diff.File{Path: path, Data: before, Exists: before != nil},
		diff.File{Path: path, Data: after, Exists: after != nil}, diff.Options{})
	for _, line := range safetext.Lines(text) {
		fmt.Fprintln(a.out, line)
	}
	return true
}

// replaceFile writes a file atomically, if it still has the content that was
// shown.
func replaceFile(path string, before, after []byte, mode os.FileMode) error {
	if before != nil {
		if bytes.Equal(before, after) {
			return nil
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before) {
			return fmt.Errorf("%s has changed meanwhile; nothing was written to it", path)
		}
	}
	if st, err := os.Stat(path); err == nil {
		mode = st.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(after)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
