package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// hooks measures what a client's hook costs for a read, which nobody is asked
// about: from the start of the shell that runs the hook to its end, as the client
// sees it. Beside it a shell that starts a program which does nothing.
func (b *bench) hooks(context.Context) error {
	fmt.Println("A read of the client's own, through its hook")
	folder, err := os.Getwd()
	if err != nil {
		return err
	}
	warm, err := b.strict.session("work") // starts the daemon
	if err != nil {
		return err
	}
	defer warm.close()
	var asked, reported, nothing times
	n := 0
	run := func(t *times, event, command, want string) error {
		n++
		input := fmt.Sprintf(`{"session_id":"s","cwd":%q,"hook_event_name":%q,"tool_name":"Read","tool_input":{"file_path":%q},"tool_use_id":"toolu_%s"}`,
			folder, event, filepath.Join(folder, "a.txt"), strconv.Itoa(n))
		c := exec.Command("/bin/sh", "-c", command)
		c.Env, c.Stdin = b.strict.env, bytes.NewReader([]byte(input))
		began := time.Now()
		out, err := c.CombinedOutput()
		*t = append(*t, time.Since(began))
		if err != nil || !bytes.Contains(out, []byte(want)) {
			return fmt.Errorf("%s: %w\n%s", command, err, out)
		}
		return nil
	}
	for range 10 * b.scale {
		if err := run(&nothing, "PreToolUse", "/bin/true || exit 2", ""); err != nil {
			return err
		}
		if err := run(&asked, "PreToolUse", b.strict.program("mcpguard")+" hook pre --timeout 3590 || exit 2", `"allow"`); err != nil {
			return err
		}
		if err := run(&reported, "PostToolUse", b.strict.program("mcpguard")+" hook post", ""); err != nil {
			return err
		}
	}
	row("a program that does nothing", nothing)
	row("asked before", asked)
	row("reported after", reported)
	verdict("a read through its hook", float64(asked.median().Microseconds())/1000, " ms", true, 20)
	return nil
}
