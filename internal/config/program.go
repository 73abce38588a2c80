package config

import (
	"errors"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/digest"
)

// Program is the program behind a server when its definitions were accepted. It is
// stored with them because another program can serve the same definitions.
type Program struct {
	// Path is the file that decides what runs: the program, or the script that an
	// interpreter runs. It is empty if there is no single file, as with a package
	// runner.
	Path     string        `json:"path,omitempty"`
	SHA256   digest.Digest `json:"sha256,omitzero"`
	Package  string        `json:"package,omitempty"`
	Version  string        `json:"version,omitempty"`  // of the package, as installed
	Reported string        `json:"reported,omitempty"` // name and version, as the server says
}

// lockServer is a program in the lock file.
type lockServer struct {
	Server string `json:"server"`
	Program
}

// Program returns the program behind a server, if known.
func (l *Lock) Program(server string) (Program, bool) {
	if l == nil {
		return Program{}, false
	}
	p, ok := l.programs[server]
	return p, ok
}

// PutProgram records the current program of a server.
func (l *Lock) PutProgram(server string, p Program) {
	if l.programs == nil {
		l.programs = map[string]Program{}
	}
	l.programs[server] = p
}

func (l *Lock) addProgram(s lockServer) error {
	if _, twice := l.programs[s.Server]; twice {
		return fmt.Errorf("the program of %s stands in it twice", s.Server)
	}
	if s.Server == "" {
		return errors.New("the program of a server without a name stands in it")
	}
	l.PutProgram(s.Server, s.Program)
	return nil
}

// Differences describes how now differs from what was accepted. What is unknown on
// either side is not compared.
func (p Program) Differences(now Program) (out []string) {
	switch {
	case p.Package == "" || now.Package == "":
	case p.Package != now.Package:
		out = append(out, fmt.Sprintf("it is the package %s now; its tools were accepted of %s", now.Package, p.Package))
	case p.Version != now.Version:
		out = append(out, fmt.Sprintf("%s is version %s now; its tools were accepted of %s", now.Package, now.Version, p.Version))
	}
	switch {
	case p.SHA256.IsZero() || now.SHA256.IsZero():
	case p.Path != now.Path:
		out = append(out, fmt.Sprintf("its program file is %s now; it was %s when its tools were accepted", now.Path, p.Path))
	case p.SHA256 != now.SHA256:
		out = append(out, fmt.Sprintf("its program file %s has other content than when its tools were accepted", now.Path))
	}
	if p.Reported != "" && now.Reported != "" && p.Reported != now.Reported {
		out = append(out, fmt.Sprintf("it says that it is %s; its tools were accepted of %s", now.Reported, p.Reported))
	}
	return out
}
