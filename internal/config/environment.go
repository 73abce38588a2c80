package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Environment holds the environment variables that `add` recorded for each server:
// environment.json. The daemon itself does not use them. The zero value is empty.
// It is not safe for concurrent changes.
type Environment struct {
	servers map[string]map[string]string
}

type environmentFile struct {
	Version int                          `json:"version"`
	Servers map[string]map[string]string `json:"servers"`
}

// LoadEnvironment reads environment.json; a missing file is empty.
func LoadEnvironment(path string) (*Environment, error) {
	data, err := readOwned(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Environment{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the recorded environment: %w", err)
	}
	var f environmentFile
	err = decodeFile(path, data, &f)
	if err == nil {
		err = versioned(path, f.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the recorded environment: %w", err)
	}
	return &Environment{servers: f.Servers}, nil
}

// Record replaces the recorded values of a server with those that lookup returns
// for the names. It returns the names without a value.
func (e *Environment) Record(server string, names []string, lookup func(string) (string, bool)) (missing []string) {
	values := map[string]string{}
	for _, n := range names {
		if v, ok := lookup(n); ok && !strings.ContainsRune(v, 0) {
			values[n] = v
		} else {
			missing = append(missing, n)
		}
	}
	if e.servers == nil {
		e.servers = map[string]map[string]string{}
	}
	e.servers[server] = values
	return missing
}

// Lookup returns a recorded value.
func (e *Environment) Lookup(server, name string) (string, bool) {
	if e == nil {
		return "", false
	}
	v, ok := e.servers[server][name]
	return v, ok
}

// Names returns the names recorded for a server, sorted.
func (e *Environment) Names(server string) []string {
	if e == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(e.servers[server]))
}

// Remove deletes a server's values, and reports whether there were any.
func (e *Environment) Remove(server string) bool {
	_, known := e.servers[server]
	delete(e.servers, server)
	return known
}

// Save writes the file atomically with mode 0600.
func (e *Environment) Save(path string) error {
	f := environmentFile{Version: 1, Servers: e.servers}
	if f.Servers == nil {
		f.Servers = map[string]map[string]string{}
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the recorded environment: %w", err)
	}
	return writeFile(path, append(data, '\n'))
}

// Environ returns the complete environment of a server: the recorded values of the
// names in `env` and the resolved secrets, sorted, and nothing else. Names without
// a recorded value are left out and returned as missing.
func (s *Server) Environ(e *Environment, secrets map[string]string) (environ, missing []string) {
	values := maps.Clone(secrets)
	if values == nil {
		values = map[string]string{}
	}
	for _, n := range s.Env {
		if v, ok := e.Lookup(s.Name, n); ok {
			values[n] = v
		} else {
			missing = append(missing, n)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(values)) {
		environ = append(environ, n+"="+values[n])
	}
	return environ, missing
}

// Limits of a secret.
const (
	maxSecret     = 64 << 10 // bytes
	secretTimeout = 15 * time.Second
)

// ResolveSecrets fetches a server's secrets. env: references are looked up with
// lookup first, which may be nil, and then in the process's own environment. No
// error contains a value or a command's output.
func (s *Server) ResolveSecrets(ctx context.Context, lookup func(name string) (string, bool)) (map[string]string, error) {
	out := make(map[string]string, len(s.Secrets))
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		v, err := s.Secrets[name].resolve(ctx, lookup)
		if err != nil {
			return nil, fmt.Errorf("fetching the secret %s of server %s: %w", name, s.Name, err)
		}
		if v == "" || strings.ContainsRune(v, 0) {
			return nil, fmt.Errorf("fetching the secret %s of server %s: it is empty or holds a NUL", name, s.Name)
		}
		out[name] = v
	}
	return out, nil
}

func (r SecretRef) resolve(ctx context.Context, lookup func(string) (string, bool)) (string, error) {
	switch r.Scheme {
	case "env":
		if lookup != nil {
			if v, ok := lookup(r.Value); ok {
				return v, nil
			}
		}
		if v, ok := os.LookupEnv(r.Value); ok {
			return v, nil
		}
		return "", fmt.Errorf("the environment variable %s is not set", r.Value)
	case "file":
		return readSecret(expand(r.Value))
	case "cmd":
		return runSecret(ctx, r.Value)
	}
	return "", errors.New("its name begins with none of file:, env: and cmd:, which say where it is")
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return "", &PermissionError{path, "can be read by others", fmt.Sprintf("run: chmod 600 %q", path)}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxSecret {
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxSecret)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// runSecret runs one of the owner's command lines in a shell and returns its
// standard output.
func runSecret(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	out := &capped{}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", fmt.Errorf("its command ended with %s", exit.ProcessState)
		}
		return "", errors.New("its command could not be run")
	}
	if out.over {
		return "", fmt.Errorf("its command printed more than %d bytes", maxSecret)
	}
	return strings.TrimRight(out.buf.String(), "\r\n"), nil
}

// capped keeps the first bytes and records whether there were more.
type capped struct {
	buf  bytes.Buffer // not embedded: its ReadFrom would bypass the limit
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if room := maxSecret - c.buf.Len(); len(p) > room {
		c.over = true
		c.buf.Write(p[:room])
		return len(p), nil
	}
	return c.buf.Write(p)
}
