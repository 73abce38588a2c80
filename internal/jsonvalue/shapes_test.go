package jsonvalue

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// TestObjectsThatShareNames reads objects that agree with earlier ones in some of
// their names, have them in another order, or twice, and compares with
// encoding/json.
func TestObjectsThatShareNames(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 3000 {
		var b strings.Builder
		twice := false
		b.WriteByte('[')
		for i := range 1 + r.IntN(6) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteByte('{')
			seen := map[string]bool{}
			for k := range r.IntN(5) * r.IntN(8) {
				if k > 0 {
					b.WriteByte(',')
				}
				name := fmt.Sprintf("n%d", k+r.IntN(2)*r.IntN(3))
				if r.IntN(9) == 0 {
					name = []string{`q"`, `b\`, "\x01", "é", ""}[r.IntN(5)]
				}
				twice = twice || seen[name]
				seen[name] = true
				quoted, _ := json.Marshal(name)
				fmt.Fprintf(&b, "%s:%d", quoted, r.IntN(10))
			}
			b.WriteByte('}')
		}
		b.WriteByte(']')
		text := b.String()
		if _, err := Decode([]byte(text)); (err != nil) != twice {
			t.Fatalf("round %d: %s: %v", round, text, err)
		}
		v, duplicates, err := DecodeDocument([]byte(text), false)
		if err != nil || (len(duplicates) > 0) != twice {
			t.Fatalf("round %d: %s: duplicates %q, %v", round, text, duplicates, err)
		}
		var want, got any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(v.Encode(), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("round %d: %s was read as %s, %v", round, text, v, err)
		}
	}
}
