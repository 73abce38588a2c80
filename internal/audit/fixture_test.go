package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// writeFixture makes the log of the current version anew. It is run once for
// each version, before a release; a log that was released is never written
// again:
//
//	go test ./internal/audit -run TestLogsOfEveryVersionVerify -write-fixture
var writeFixture = flag.Bool("write-fixture", false, "write testdata/v<current>.jsonl, its checkpoint and its public key")

func fixture(version int, suffix string) string {
	return filepath.Join("testdata", fmt.Sprintf("v%d.%s", version, suffix))
}

// TestLogsOfEveryVersionVerify reads the log that each version has written: every
// record decodes and encodes to the same bytes, and the log is the one that was
// signed for.
func TestLogsOfEveryVersionVerify(t *testing.T) {
	if *writeFixture {
		makeFixture(t)
	}
	for v := 1; v <= Version; v++ {
		var files [3][]byte
		for i, suffix := range []string{"jsonl", "checkpoint", "key"} {
			data, err := os.ReadFile(fixture(v, suffix))
			if err != nil {
				t.Fatal(err)
			}
			files[i] = data
		}
		l := &list{}
		types := map[Type]bool{}
		for i, line := range bytes.Split(bytes.TrimSuffix(files[0], []byte("\n")), []byte("\n")) {
			e, err := Decode(line)
			if err != nil {
				t.Fatalf("version %d, record %d: %v\n%s", v, i, err, line)
			}
			if again, err := e.Encode(); err != nil || !bytes.Equal(again, line) {
				t.Errorf("version %d, record %d: %s\nwas encoded as\n%s\n%v", v, i, line, again, err)
			}
			if e.Version != v {
				t.Errorf("version %d, record %d says that it is of version %d", v, i, e.Version)
			}
			types[e.Event] = true
			l.append(t, line)
		}
		if len(types) < 18 {
			t.Errorf("version %d: only %d types of event", v, len(types))
		}
		r, err := Verify(context.Background(), l, VerifyOptions{Verifier: strings.TrimSpace(string(files[2])), Checkpoints: [][]byte{files[1]}})
		if err != nil || r.FirstBad >= 0 || r.Problem != "" || r.Checkpoints != 1 || r.Signed != r.Size {
			t.Errorf("version %d: %+v %v", v, r, err)
		}
	}
}

// makeFixture writes a log with each type of event, full and empty.
func makeFixture(t *testing.T) {
	l := &list{}
	var out []byte
	for i, typ := range Types {
		for j, e := range []Event{full(), New(typ, noon)} {
			e.Event, e.EventID = typ, guard.EventID(fmt.Sprintf("evt_%d", 2*i+j))
			e.Timestamp = noon.Add(time.Duration(2*i+j) * time.Second)
			if typ == ToolCallCompleted {
				e.Status = StatusOK
			}
			data, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			l.append(t, data)
			out = append(append(out, data...), '\n')
		}
	}
	k, err := NewKey(rand.Reader, "mcpguard")
	if err != nil {
		t.Fatal(err)
	}
	for suffix, data := range map[string][]byte{"jsonl": out, "checkpoint": l.sign(t, k), "key": []byte(k.Verifier() + "\n")} {
		if err := os.WriteFile(fixture(Version, suffix), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
