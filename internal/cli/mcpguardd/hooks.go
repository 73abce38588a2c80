package mcpguardd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/config"
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

// settingsFlags says which settings are meant.
type settingsFlags struct {
	file, scope string
	write       bool
}

func (f *settingsFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "settings", "", "the settings file, instead of the one of a scope")
	c.Flags().StringVar(&f.scope, "scope", "local", "local (.claude/settings.local.json here), project (.claude/settings.json here) or user (~/.claude/settings.json)")
	c.Flags().BoolVar(&f.write, "write", false, "do it; without this it is only shown")
}

// hold keeps other edits out while one is made.
func (f *settingsFlags) hold(ctx context.Context) (release func(), err error) {
	if !f.write {
		return func() {}, nil
	}
	p, err := paths()
	if err != nil {
		return nil, err
	}
	return p.HoldConfig(ctx)
}

// path returns the settings file, a link followed.
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
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	return name, nil
}

// backup is where the settings stand as they were.
func backup(path string) string { return path + ".before-mcpguard" }

func (a *app) hooksInstall() *cobra.Command {
	var f settingsFlags
	c := &cobra.Command{
		Use:   "install",
		Short: "write the hooks into the client's settings, after showing the change",
		Long: `Shows what would change in Claude Code's settings, and in the guard's configuration where
that does not name the client's own tools yet. With --write it is done; the settings as they
were are kept beside them, and "mcpguardd hooks remove --write" restores them exactly.

From then on each of the client's own tools asks the guard first. A tool that the policy does
not name is refused; where the guard cannot be reached, everything is.`,
		Args: noArguments,
	}
	f.register(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		release, err := f.hold(c.Context())
		if err != nil {
			return err
		}
		defer release()
		path, err := f.path()
		if err != nil {
			return err
		}
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		before, err := readSettings(path)
		if err != nil {
			return err
		}
		after, err := hook.Install(before, exe)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		configPath, configBefore, configAfter, err := withNative()
		if err != nil {
			return err
		}
		changed := a.showChange(configPath, configBefore, configAfter)
		if !a.showChange(path, before, after) && !changed {
			fmt.Fprintln(a.out, "the hooks are in the settings already")
			return nil
		}
		if !f.write {
			fmt.Fprintln(a.out, "\nnothing was written; run it again with --write")
			return nil
		}
		if err := replaceFile(configPath, configBefore, configAfter, 0o600); err != nil {
			return err
		}
		if len(before) > 0 && !hook.Installed(before) {
			if err := replaceFile(backup(path), nil, before, 0o600); err != nil {
				return err
			}
		}
		if err := replaceFile(path, before, after, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(a.out, "\nwritten; sessions of the client that begin from now on ask the guard")
		return nil
	}
	return c
}

func (a *app) hooksRemove() *cobra.Command {
	var f settingsFlags
	c := &cobra.Command{
		Use:   "remove",
		Short: "take the hooks out of the client's settings, after showing the change",
		Args:  noArguments,
	}
	f.register(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		release, err := f.hold(c.Context())
		if err != nil {
			return err
		}
		defer release()
		path, err := f.path()
		if err != nil {
			return err
		}
		now, err := readSettings(path)
		if err != nil {
			return err
		}
		if !hook.Installed(now) {
			fmt.Fprintln(a.out, "the settings name no hook of the guard")
			return nil
		}
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		kept, err := readSettings(backup(path))
		if err != nil {
			return err
		}
		after, exact := kept, false
		if again, err := hook.Install(kept, exe); err == nil && bytes.Equal(again, now) {
			exact = true // nobody has changed them since
		} else if after, err = hook.Remove(now); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		a.showChange(path, now, after)
		if !f.write {
			fmt.Fprintln(a.out, "\nnothing was written; run it again with --write")
			return nil
		}
		if exact && len(kept) == 0 {
			err = os.Remove(path) // it was not there before
		} else {
			err = replaceFile(path, now, after, 0o644)
		}
		if err != nil {
			return fmt.Errorf("restoring the settings: %w", err)
		}
		if err := os.Remove(backup(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the kept settings: %w", err)
		}
		fmt.Fprintln(a.out, "\nwritten; the client's own tools do not ask the guard any more")
		return nil
	}
	return c
}

func noArguments(c *cobra.Command, args []string) error {
	return exactly(0, "no arguments")(c, args)
}

// readSettings reads a file that may not be there.
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

// withNative returns the guard's configuration with a section for the client's
// own tools.
func withNative() (path string, before, after []byte, err error) {
	p, err := paths()
	if err != nil {
		return "", nil, nil, err
	}
	path = p.ConfigFile()
	if before, err = readSettings(path); err != nil {
		return "", nil, nil, err
	}
	text := before
	if len(text) == 0 {
		here, err := os.Getwd()
		if err != nil {
			return "", nil, nil, fmt.Errorf("finding this folder: %w", err)
		}
		text = []byte("version: 1\nroots: [" + strconv.Quote(here) + "]\n")
	} else {
		c, err := config.Parse(path, before)
		if err != nil {
			return "", nil, nil, err
		}
		if c.Native != nil {
			return path, before, before, nil
		}
	}
	after = append(bytes.Clone(text), ending(text)...)
	after = append(after, "native:\n  preset: claude-native\n"...)
	if _, err := config.Parse(path, after); err != nil {
		return "", nil, nil, fmt.Errorf("adding the section 'native': %w", err)
	}
	return path, before, after, nil
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
		diff.File{Path: path, Data: before, Exists: len(before) > 0},
		diff.File{Path: path, Data: after, Exists: len(after) > 0}, diff.Options{})
	for _, line := range safetext.Lines(text) {
		fmt.Fprintln(a.out, line)
	}
	return true
}

// replaceFile writes a file at once or not at all, if it still is what was
// shown.
func replaceFile(path string, before, after []byte, mode os.FileMode) error {
	if bytes.Equal(before, after) {
		return nil
	}
	if before != nil {
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
