package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// decision measures from the moment in which a reviewer's program sends the
// decision to the moment in which the upstream has read the call.
func (b *bench) decision(ctx context.Context) error {
	fmt.Println("From the decision to the upstream's call")
	w, err := b.strict.session("echo")
	if err != nil {
		return err
	}
	defer w.close()
	var t times
	for i := range 10 * b.scale {
		if _, err := w.send(callOf("note", "note "+strconv.Itoa(i))); err != nil {
			return err
		}
		waiting, err := b.strict.pending(ctx, 1)
		if err != nil {
			return err
		}
		began := time.Now()
		if _, err := b.strict.api.Decide(ctx, waiting[0].ID, client.DecisionRequest{Decision: client.Allow, Digest: waiting[0].Digest, Reason: "measured"}); err != nil {
			return err
		}
		answer, err := w.answer()
		if err != nil {
			return err
		}
		var r struct {
			Result struct{ Content []struct{ Text string } }
		}
		if err := json.Unmarshal(answer, &r); err != nil || len(r.Result.Content) == 0 {
			return fmt.Errorf("note was answered %s", answer)
		}
		at, err := strconv.ParseInt(r.Result.Content[0].Text, 10, 64)
		if err != nil {
			return fmt.Errorf("note was answered %s", answer)
		}
		t = append(t, time.Duration(at-began.UnixNano()))
	}
	row("decision to upstream", t)
	verdict("decision to upstream", float64(t.median().Microseconds())/1000, " ms", true, 5)
	return nil
}

// pending measures the list of a thousand approvals, and the daemon that holds
// them.
func (b *bench) pending(ctx context.Context) error {
	const many = 1000
	fmt.Printf("%d approvals that wait\n", many)
	w, err := b.strict.session("echo")
	if err != nil {
		return err
	}
	defer w.close()
	sent := make(chan error, 1)
	go func() { // ends with the last request; the answers are never read
		for i := range many {
			if _, err := w.send(callOf("note", "pending "+strconv.Itoa(i))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	go func() { _, _ = io.Copy(io.Discard, w.out) }() // ends with the session
	began := time.Now()
	if _, err := b.strict.pending(ctx, many); err != nil {
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	fmt.Printf("  %-34s %10s\n", "all submitted after", short(time.Since(began)))
	var plain, machine, nothing times
	for range 2 * b.scale {
		for _, m := range []struct {
			t    *times
			args []string
		}{{&plain, []string{"--list"}}, {&machine, []string{"--list", "--json"}}, {&nothing, []string{"--version"}}} {
			d, err := clock(func() error {
				cmd := exec.Command(b.strict.program("approve"), m.args...)
				cmd.Env = b.strict.env
				out, err := cmd.Output()
				if err == nil && m.t != &nothing && bytes.Count(out, []byte("appr_")) < many {
					err = fmt.Errorf("approve %s printed only %d bytes", m.args, len(out))
				}
				return err
			})
			if err != nil {
				return err
			}
			*m.t = append(*m.t, d)
		}
	}
	row("approve --list", plain)
	row("approve --list --json", machine)
	row("approve --version", nothing)
	verdict("approve --list", float64(plain.median().Microseconds())/1000, " ms", true, 50)
	status, err := b.strict.api.Status(ctx)
	if err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // the daemon gives back what the burst took once it is over
	if kib, err := resident(status.PID); err == nil {
		verdict("daemon's resident memory", float64(kib)/1024, " MiB", true, 60)
	} else {
		fmt.Println("  the daemon's resident memory cannot be read here:", err)
	}
	return nil
}

// resident reads a process's resident set in KiB, and says what of it is its own
// memory and what is files that it has mapped.
func resident(pid int) (int, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	total := 0
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.HasPrefix(name, "Rss") || name == "VmRSS" {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			if err != nil {
				return 0, err
			}
			if name == "VmRSS" {
				total = kib
			} else {
				fmt.Printf("  %-34s %10.1f MiB\n", name, float64(kib)/1024)
			}
		}
	}
	return total, nil
}

// highWater reads the most that a process ever had resident, in KiB.
func highWater(pid int) (int, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if name, value, _ := strings.Cut(line, ":"); name == "VmHWM" {
			return strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		}
	}
	return 0, fmt.Errorf("the status of process %d does not name it", pid)
}

// shim measures from the start of `mcpguard stdio` to the first byte that is
// forwarded, with the daemon running: the client has written its first request
// before it starts the shim. Through the built-in server the answer shows it,
// without the start of another process.
func (b *bench) shim(context.Context) error {
	fmt.Println("From the start of a server to its first answer")
	warm, err := b.strict.session("work") // starts the daemon
	if err != nil {
		return err
	}
	defer warm.close()
	var guarded, started, direct times
	for range 5 * b.scale {
		for _, m := range []struct {
			t       *times
			env     []string
			command []string
		}{
			{&direct, os.Environ(), []string{b.strict.program("echo")}},
			{&guarded, b.strict.env, []string{b.strict.program("mcpguard"), "stdio", "work"}},
			{&started, b.strict.env, []string{b.strict.program("mcpguard"), "stdio", "echo"}},
		} {
			d, err := firstAnswer(m.env, m.command...)
			if err != nil {
				return err
			}
			*m.t = append(*m.t, d)
		}
	}
	row("echo, direct", direct)
	row("built-in server, guarded", guarded)
	row("echo, guarded", started)
	verdict("start to first byte forwarded", float64(guarded.median().Microseconds())/1000, " ms", true, 5)
	return nil
}

func firstAnswer(env []string, command ...string) (time.Duration, error) {
	r, in, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer out.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, r, w, os.Stderr
	if _, err := io.WriteString(in, `{"jsonrpc":"2.0","id":1,`+initialize+"}\n"); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	r.Close()
	w.Close()
	_, err = out.Read(make([]byte, 1))
	d := time.Since(began)
	in.Close()
	out.Close()
	_ = cmd.Wait() // it was not let finish
	return d, err
}
