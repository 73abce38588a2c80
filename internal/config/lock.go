package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Lock holds the accepted tool definitions: tools.lock. The zero value is empty and
// ready to use. It is not safe for concurrent changes, and must not change after it
// is passed to a policy.
type Lock struct {
	pins     map[pinKey]guard.Pin
	programs map[string]Program // by server
}

type pinKey struct{ server, tool string }

// lockFile is the form of the file. It is JSON, so that it holds each definition as
// the server sent it.
type lockFile struct {
	Comment string       `json:"comment,omitempty"`
	Version int          `json:"version"`
	Servers []lockServer `json:"servers,omitempty"`
	Tools   []lockPin    `json:"tools"`
}

type lockPin struct {
	Server     string          `json:"server"`
	Tool       string          `json:"tool"`
	SHA256     digest.Digest   `json:"sha256"`
	AcceptedAt time.Time       `json:"accepted_at"`
	AcceptedBy string          `json:"accepted_by"`
	Definition json.RawMessage `json:"definition"`
}

const lockComment = "Accepted tool definitions. Written by 'mcpguardd add' and 'mcpguardd accept'."

// LoadLock reads tools.lock. A missing file is an empty lock. A definition that
// does not match its hash is an error.
func LoadLock(path string) (*Lock, error) {
	data, err := readOwned(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lock{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the accepted definitions: %w", err)
	}
	l, err := parseLock(path, data)
	if err != nil {
		return nil, fmt.Errorf("reading the accepted definitions: %w", err)
	}
	return l, nil
}

// ParseLock reads the format that Save writes.
func ParseLock(data []byte) (*Lock, error) { return parseLock("tools.lock", data) }

func parseLock(path string, data []byte) (*Lock, error) {
	var f lockFile
	if err := decodeFile(path, data, &f); err != nil {
		return nil, err
	}
	if err := versioned(path, f.Version); err != nil {
		return nil, err
	}
	l := &Lock{}
	for _, s := range f.Servers {
		if err := l.addProgram(s); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, p := range f.Tools {
		if _, twice := l.Pin(p.Server, p.Tool); twice {
			return nil, fmt.Errorf("%s: %s/%s stands in it twice", path, p.Server, p.Tool)
		}
		if p.SHA256.IsZero() {
			// fail closed: the file always has it, so somebody else wrote this
			return nil, fmt.Errorf("%s: %s/%s stands in it without its hash; run: mcpguardd accept %s/%s", path, p.Server, p.Tool, p.Server, p.Tool)
		}
		pin := guard.Pin{Server: p.Server, Tool: p.Tool, SHA256: p.SHA256, Definition: p.Definition, AcceptedAt: p.AcceptedAt, AcceptedBy: p.AcceptedBy}
		if err := l.Put(pin); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Pin returns the accepted definition of a tool. The bytes must not be changed.
func (l *Lock) Pin(server, tool string) (guard.Pin, bool) {
	if l == nil {
		return guard.Pin{}, false
	}
	p, ok := l.pins[pinKey{server, tool}]
	return p, ok
}

// Pins returns every pin, sorted by server and tool.
func (l *Lock) Pins() []guard.Pin {
	if l == nil {
		return nil
	}
	list := make([]guard.Pin, 0, len(l.pins))
	for _, p := range l.pins {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b guard.Pin) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Tool, b.Tool))
	})
	return list
}

// Put adds or replaces a pin. The hash may be empty; otherwise it must match the
// definition. The definition must belong to that tool.
func (l *Lock) Put(p guard.Pin) error {
	hash, err := DefinitionHash(p.Definition)
	if err != nil {
		return fmt.Errorf("accepting %s/%s: %w", p.Server, p.Tool, err)
	}
	if !p.SHA256.IsZero() && p.SHA256 != hash {
		// fail closed: the file was changed by hand or by someone else
		return fmt.Errorf("accepting %s/%s: the definition does not have the hash that stands beside it", p.Server, p.Tool)
	}
	root, _ := jsonrpc.Root(p.Definition)
	at, _ := jsonrpc.Member(p.Definition, root, "name") // by its exact name, as a client reads it
	if name, ok := jsonrpc.String(p.Definition, at); !ok || name != p.Tool {
		return fmt.Errorf("accepting %s/%s: the definition is of another tool", p.Server, p.Tool)
	}
	p.SHA256 = hash
	p.Definition = slices.Clone(p.Definition)
	if l.pins == nil {
		l.pins = map[pinKey]guard.Pin{}
	}
	l.pins[pinKey{p.Server, p.Tool}] = p
	return nil
}

// Remove removes a pin, or all pins of the server if tool is empty.
func (l *Lock) Remove(server, tool string) {
	if tool == "" {
		delete(l.programs, server)
	}
	for k := range l.pins {
		if k.server == server && (tool == "" || k.tool == tool) {
			delete(l.pins, k)
		}
	}
}

// Encode returns the file's content. The same pins give the same bytes.
func (l *Lock) Encode() ([]byte, error) {
	f := lockFile{Comment: lockComment, Version: 1, Tools: []lockPin{}}
	for _, name := range slices.Sorted(maps.Keys(l.programs)) {
		f.Servers = append(f.Servers, lockServer{name, l.programs[name]})
	}
	for _, p := range l.Pins() {
		f.Tools = append(f.Tools, lockPin{p.Server, p.Tool, p.SHA256, p.AcceptedAt.UTC().Truncate(time.Second), p.AcceptedBy, p.Definition})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(f); err != nil {
		return nil, fmt.Errorf("writing the accepted definitions: %w", err)
	}
	return b.Bytes(), nil
}

// Save writes the file atomically, with access for its owner only.
func (l *Lock) Save(path string) error {
	data, err := l.Encode()
	if err != nil {
		return err
	}
	return writeFile(path, data)
}

// writeFile replaces a file atomically and syncs it to disk. It follows a link, so
// that a configuration kept elsewhere stays there.
func writeFile(path string, data []byte) (err error) {
	if real, e := filepath.EvalSymlinks(path); e == nil {
		path = real
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	if _, err = f.Write(data); err != nil { // CreateTemp gave it mode 0600
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
