package jsonrpc

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

var call300 = []byte(`{"method":"tools/call","params":{"name":"write_file","arguments":{"path":"/home/me/src/shop/internal/cart/total.go","content":"package cart\n\n// Total is the sum.\nfunc Total(xs []int) (n int) {\n\tfor _, x := range xs {\n\t\tn += x\n\t}\n\treturn\n}\n"},"_meta":{"progressToken":17,"claudecode/toolUseId":"toolu_01A"}},"jsonrpc":"2.0","id":17}`)

func benchAdmit(b *testing.B, frame []byte, want Reason) {
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := Admit(frame, Limits{})
		if want == 0 && err != nil || want != 0 && (err == nil || err.(*Refusal).Reason != want) {
			b.Fatal(err)
		}
	}
}

func big(open string, item func(i int) string, end string) []byte {
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":1,"result":` + open)
	for i := 0; b.Len() < DefaultMaxFrame-64; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(item(i))
	}
	b.WriteString(end + `}`)
	return b.Bytes()
}

func BenchmarkAdmit(b *testing.B) {
	b.Run("call", func(b *testing.B) { benchAdmit(b, call300, 0) })
	b.Run("ping", func(b *testing.B) { benchAdmit(b, []byte(`{"jsonrpc":"2.0","id":3,"method":"ping"}`), 0) })
	b.Run("16MiB text", func(b *testing.B) {
		benchAdmit(b, []byte(`{"jsonrpc":"2.0","id":1,"result":"`+strings.Repeat(`line of text\n`, 1_190_000)+`"}`), 0)
	})
	b.Run("16MiB members", func(b *testing.B) {
		benchAdmit(b, big("{", func(i int) string { return fmt.Sprintf(`"%d":0`, i) }, "}"), 0)
	})
	b.Run("16MiB escaped members", func(b *testing.B) {
		benchAdmit(b, big("{", func(i int) string { return fmt.Sprintf(`"\u0061%d":0`, i) }, "}"), 0)
	})
	b.Run("16MiB duplicate at the end", func(b *testing.B) {
		f := big("{", func(i int) string { return fmt.Sprintf(`"%d":0`, i) }, `,"0":0}`)
		benchAdmit(b, f, DuplicateMember)
	})
	b.Run("16MiB small objects", func(b *testing.B) {
		benchAdmit(b, big("[", func(int) string { return `{"a":1,"b":{}}` }, "]"), 0)
	})
	b.Run("16MiB too deep", func(b *testing.B) { benchAdmit(b, bytes.Repeat([]byte(`{"":`), 4_000_000), TooDeep) })
	b.Run("16MiB numbers", func(b *testing.B) {
		f := bytes.Replace(big(`{"arguments":[`, func(int) string { return `0.30000000000000004` }, "]}"), []byte(`"result"`), []byte(`"method":"x","params"`), 1)
		benchAdmit(b, f, 0)
	})
}

func BenchmarkReader(b *testing.B) {
	in := bytes.Repeat(append(bytes.Clone(call300), '\n'), 1000)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(bytes.NewReader(in), Limits{})
		for range 1000 {
			if _, err := r.Next(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkDeleteElements(b *testing.B) {
	var list bytes.Buffer
	list.WriteString(`{"tools":[`)
	for i := range 60 {
		if i > 0 {
			list.WriteByte(',')
		}
		fmt.Fprintf(&list, `{"name":"tool%d","description":%q,"inputSchema":{"type":"object"}}`, i, strings.Repeat("does things ", 30))
	}
	list.WriteString(`]}`)
	raw := list.Bytes()
	s, _ := Root(raw)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		arr, _ := Member(raw, s, "tools")
		DeleteElements(raw, arr, func(i int, el Span) bool {
			name, _ := Member(raw, el, "name")
			v, _ := String(raw, name)
			return v == "tool7"
		})
	}
}
