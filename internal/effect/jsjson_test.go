package effect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// TestJSONMatchesNode compares with JSON.parse and JSON.stringify of the real Node.js.
func TestJSONMatchesNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("node is not installed")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var docs []string
	for range 500 {
		docs = append(docs, randomJSON(rnd, 4))
	}
	in, err := json.Marshal(docs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "-e", `
		const docs = JSON.parse(require("fs").readFileSync(0, "utf8"));
		process.stdout.write(JSON.stringify(docs.map(d => JSON.stringify(JSON.parse(d), null, 1))));`)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	same := 0
	for i, d := range docs {
		v, err := jsonvalue.Decode([]byte(d))
		if err != nil {
			t.Fatalf("%v: %s", err, d)
		}
		js, err := jsParse(v)
		if err != nil {
			continue // refused, not guessed
		}
		same++
		if got := string(js.stringify()); got != want[i] {
			t.Errorf("%s\ngot  %s\nwant %s", d, got, want[i])
		}
	}
	if same < len(docs)/2 {
		t.Errorf("only %d of %d were compared", same, len(docs))
	}
}

func randomJSON(rnd *rand.Rand, depth int) string {
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	text := func() string {
		return `"` + pick("", "a", "ä€", "\U0001f600", `\ud83d\ude00`, `\u0000\u001f\u007f`, `\b\f\n\r\t\/\\\"`, "\u2028\u2029</b>", `\u00e4`, "\ufeff") + pick("", "b") + `"`
	}
	switch rnd.IntN(8) {
	case 0, 1:
		if depth > 0 {
			var items []string
			for range rnd.IntN(4) {
				items = append(items, randomJSON(rnd, depth-1))
			}
			return "[" + strings.Join(items, pick(",", ", ", "\r\n,")) + "]"
		}
	case 2, 3, 4:
		if depth > 0 {
			seen, members := map[string]bool{}, []string{}
			for range rnd.IntN(6) {
				name := pick("a", "b", "source", "0", "1", "2", "10", "007", "-1", "1.5", "4294967294", "4294967295", "__proto__", "é")
				if !seen[name] {
					members = append(members, fmt.Sprintf("%q: %s", name, randomJSON(rnd, depth-1)))
				}
				seen[name] = true
			}
			return "{" + strings.Join(members, ",") + "}"
		}
	case 5:
		return pick("0", "-0", "-0.0", "1.0", "1e0", "1E+2", "1e-7", "123e-20", "0.1", "1.7976931348623157e308", "5e-324", "1e-400", "9007199254740991", "0.30000000000000004",
			"3.14159265358979323846", "123456789.123456789", "1e20", "2.50", fmt.Sprint(rnd.NormFloat64()), fmt.Sprint(rnd.Int32()))
	case 6:
		return pick("null", "true", "false")
	}
	return text()
}

// FuzzStringify: the output is JSON that parses as the same value and is written
// the same again.
func FuzzStringify(f *testing.F) {
	for _, s := range []string{`{"b":1,"2":[],"1":{"x":-0.0}}`, `["\u2028\ud83d\ude00", 1e-7, null]`, `{"cells":[{"source":["a"]}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := jsonvalue.Decode(raw)
		if err != nil {
			return
		}
		js, err := jsParse(v)
		if err != nil {
			return
		}
		once := js.stringify()
		again, err := jsonvalue.Decode(once)
		if err != nil {
			t.Fatalf("%v: %s", err, once)
		}
		twice, err := jsParse(again)
		if err != nil || !bytes.Equal(twice.stringify(), once) {
			t.Fatalf("%v: %s became %s", err, once, twice.stringify())
		}
	})
}
