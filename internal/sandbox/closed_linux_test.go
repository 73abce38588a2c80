package sandbox

import "testing"

// TestManyClosedPathsDoNotEndTheSandbox has the server of closed paths answer so much
// that Go collects its garbage on that thread, which has a table of files of its own.
func TestManyClosedPathsDoNotEndTheSandbox(t *testing.T) {
	b := newBox(t)
	b.file("vault/key", "x")
	b.spec.Closed = append(b.spec.Closed, b.ws+"/vault")
	r := b.sh(`python3 -c '
import os
for i in range(20000):
    try: os.stat("vault/" + str(i) * 20)
    except OSError: pass
print("through")'`)
	if output(r) != "through\n" || r.Exit != 0 {
		t.Errorf("exit %d, %q", r.Exit, output(r))
	}
}
