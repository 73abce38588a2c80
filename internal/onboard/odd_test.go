package onboard

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// oddServer makes this test's program a server that behaves as some are seen to
// behave: its first argument, then how.
const oddServer = "odd-server"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == oddServer {
		serveOddly(os.Args[2], os.Args[3:])
		return
	}
	if filepath.Base(os.Args[0]) == "npx" {
		fmt.Fprintln(os.Stderr, "npm http fetch GET attempt 1 failed")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the guard gives it up
		return
	}
	os.Exit(m.Run())
}

// serveOddly answers requests until its input ends.
func serveOddly(mode string, args []string) {
	out := bufio.NewWriter(os.Stdout)
	line := func(s string) { fmt.Fprintln(out, s); out.Flush() }
	if mode == "tells" {
		fmt.Fprintln(os.Stderr, "no access with", os.Getenv("CRM_TOKEN"))
		os.Exit(3)
	}
	tools := `[{"name":"a1","inputSchema":{"type":"object"}}]`
	if mode == "tools" {
		data, err := os.ReadFile(args[0])
		if err != nil {
			panic(err)
		}
		var list json.RawMessage
		if err := json.Unmarshal(data, &list); err != nil {
			panic(err)
		}
		tools = strings.ReplaceAll(string(list), "\n", "")
	}
	if mode == "banner" {
		line("Starting server v1.2.3 ...\n[INFO] listening\n\n┌─ box ┐\n{ready}")
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct {
				Cursor string `json:"cursor"`
			} `json:"params"`
		}
		if json.Unmarshal(in.Bytes(), &m) != nil || m.ID == nil {
			continue
		}
		id := string(m.ID)
		switch mode {
		case "strall":
			id = `"` + id + `"`
		case "banner":
			line("[db] query took 3ms\nINFO " + m.Method)
		}
		result := `{}`
		switch m.Method {
		case "initialize":
			result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"odd","version":"1"}}`
		case "tools/list":
			result = `{"tools":` + tools + `}`
			switch {
			case mode == "pages" && m.Params.Cursor == "":
				result = `{"tools":` + tools + `,"nextCursor":"2"}`
			case mode == "pages":
				result = `{"tools":[{"name":"b1","inputSchema":{"type":"object"}}],"nextCursor":null}`
			case mode == "surrogate":
				result = `{"tools":[{"name":"a1","description":"cut \ud83d","inputSchema":{"type":"object"}}]}`
			case mode == "badutf8":
				result = "{\"tools\":[{\"name\":\"a1\",\"description\":\"caf\xe9\",\"inputSchema\":{\"type\":\"object\"}}]}"
			}
		}
		answer := `{"jsonrpc":"2.0","id":` + id + `,"result":` + result + `}`
		if mode == "crlf" {
			answer += "\r"
		}
		line(answer)
	}
}

// oddRequest asks for a server of this kind to be added.
func oddRequest(t *testing.T, mode ...string) Request {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Request{Name: "odd", Command: exe, Args: append([]string{oddServer}, mode...), Folder: t.TempDir(),
		Lookup: func(string) (string, bool) { return "", false }, User: "tester", Version: "test"}
}

func toolNames(l Listing) (names []string) {
	for _, t := range l.Tools {
		names = append(names, t.Name)
	}
	return names
}

// TestProbesServersWithUnusualReplies: odd output of real servers before their
// list of tools does not prevent adding them.
func TestProbesServersWithUnusualReplies(t *testing.T) {
	for mode, want := range map[string][]string{
		"plain": {"a1"}, "banner": {"a1"}, "strall": {"a1"}, "crlf": {"a1"}, "surrogate": {"a1"}, "badutf8": {"a1"}, "pages": {"a1", "b1"},
	} {
		plan, err := NewPlan(t.Context(), oddRequest(t, mode))
		if err != nil {
			t.Errorf("%s: %v", mode, err)
			continue
		}
		if got := toolNames(plan.Listing); !slices.Equal(got, want) || len(plan.Listing.LeftOut) != 0 {
			t.Errorf("%s: got %q and left out %+v, want %q", mode, got, plan.Listing.LeftOut, want)
		}
	}
}

// TestUnusableToolLeavesOutNoOther: a tool that cannot be accepted does not
// keep others out.
func TestUnusableToolLeavesOutNoOther(t *testing.T) {
	odd := filepath.Join(t.TempDir(), "odd.json")
	err := os.WriteFile(odd, []byte(`[
		{"name":"good","inputSchema":{"type":"object"}},
		{"name":"*","inputSchema":{"type":"object"}},
		{"name":"twice","inputSchema":{}}, {"name":"twice","inputSchema":{}},
		{"name":"typeany","inputSchema":{"type":"object","properties":{"z":{"type":"any"}}}},
		{"Name":"folded","inputSchema":{"type":"object"}}, 7]`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Abs(filepath.Join("testdata", "odd", "names.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file string
		want []string
		left map[string]string
	}{
		{names, []string{"moneyflow_备份", "ns:read", "good"}, map[string]string{"Create CIFS Share": "it has a blank"}},
		{odd, []string{"good"}, map[string]string{
			"*": "every tool", "twice": "lists it 2 times", "typeany": "/properties/z/type", "": "no name that can be read",
		}},
	} {
		plan, err := NewPlan(t.Context(), oddRequest(t, "tools", c.file))
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if got := toolNames(plan.Listing); !slices.Equal(got, c.want) || len(plan.Proposals) != len(c.want) {
			t.Errorf("%s: got %q, want %q", c.file, got, c.want)
		}
		if len(plan.Listing.LeftOut) != len(c.left) {
			t.Errorf("%s: left out %+v", c.file, plan.Listing.LeftOut)
		}
		for _, l := range plan.Listing.LeftOut {
			if why, ok := c.left[l.Name]; !ok || !strings.Contains(l.Reason, why) {
				t.Errorf("%s: %q is left out: %s; want %q", c.file, l.Name, l.Reason, why)
			}
		}
	}
}

// TestAmbiguousReplyIsReportedAtOnce does not wait for the timeout.
func TestAmbiguousReplyIsReportedAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "twice.json")
	if err := os.WriteFile(file, []byte(`[{"name":"a","inputSchema":{"type":"object","type":"object"}}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := NewPlan(t.Context(), oddRequest(t, "tools", file))
	if err == nil || !strings.Contains(err.Error(), "duplicate_member") {
		t.Errorf("got %v", err)
	}
}

// TestNamesPackageThatRunnerWaitsFor: a package that cannot be downloaded is
// named while its runner is silent, and again after the timeout.
func TestNamesPackageThatRunnerWaitsFor(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(exe, filepath.Join(dir, "npx")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var told string
	r := Request{Name: "odd", Command: filepath.Join(dir, "npx"), Args: []string{"-y", "@example/unreachable"}, Folder: dir,
		Lookup: func(string) (string, bool) { return "", false }, silence: 100 * time.Millisecond,
		Waiting: func(s string) { told = s; cancel() }}
	_, err = NewPlan(ctx, r)
	const want = "waiting for npx, which may be fetching the npm package @example/unreachable over the network"
	if !strings.HasPrefix(told, want) {
		t.Errorf("told %q", told)
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

// TestSecretsOfAServerAreNotShown: a server that prints what it was given and
// ends does not bring its secret onto the screen, which an agent may read.
func TestSecretsOfAServerAreNotShown(t *testing.T) {
	const secret = "correct horse battery"
	r := oddRequest(t, "tells")
	r.Secrets = map[string]string{"CRM_TOKEN": "env:CRM_KEY"}
	r.Lookup = func(name string) (string, bool) { return secret, name == "CRM_KEY" }
	_, err := NewPlan(t.Context(), r)
	if err == nil || !strings.Contains(err.Error(), "no access with") || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
}
