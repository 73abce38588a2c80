package redact

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

const code = `package cart

// Total returns the sum of the prices, in cents. See https://example.com/prices for the rules.
func Total(items []Item) (sum int, err error) {
	for i, item := range items {
		if item.Price < 0 {
			return 0, fmt.Errorf("item %d of %d: negative price", i, len(items))
		}
		sum += item.Price * item.Quantity
	}
	return sum, nil
}
`

func result(n int) []byte {
	text := strings.Repeat(code, n/len(code)+1)[:n]
	return append(append([]byte(`{"content":[{"type":"text","text":`), jsonrpc.QuoteString(text)...), `}],"isError":false}`...)
}

func benchRedactor() *Redactor {
	return New(Config{Secrets: []string{"a-configured-secret-1", "another/configured+secret=", hexa}})
}

func BenchmarkJSON(b *testing.B) {
	r := benchRedactor()
	plain := bytes.Repeat([]byte("ordinary words without anything to look at, again and again; "), 17)[:1000]
	for _, c := range []struct {
		name string
		in   []byte
	}{
		{"1KB prose", append(append([]byte(`{"text":"`), plain...), `"}`...)},
		{"1KB code", result(1000)},
		{"1MB code", result(1_000_000)},
		{"1MB rows", append(append([]byte(`[`), bytes.TrimSuffix(bytes.Repeat([]byte(`{"id":1234,"name":"Ada","email":"ada@example.com","ok":true},`), 17_000), []byte(","))...), ']')},
		{"1MB hits", []byte(`{"t":"` + strings.Repeat("ghp_"+a36+" ", 25_000) + `"}`)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.in)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.JSON(c.in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// hostile are megabytes that make a careless scanner quadratic.
var hostile = map[string]string{
	"anchors":        strings.Repeat("ghp_", 250_000),
	"sk":             strings.Repeat("sk-", 330_000),
	"jwt":            strings.Repeat("eyJ", 330_000),
	"jwt dots":       strings.Repeat("eyJ.", 250_000),
	"keywords":       strings.Repeat("password", 125_000),
	"assignments":    strings.Repeat("token=", 160_000),
	"assign quotes":  strings.Repeat(`pwd:"'`+"`", 140_000),
	"assign spaces":  strings.Repeat("password"+strings.Repeat(" ", 40), 20_000),
	"urls":           strings.Repeat("://a:b", 160_000),
	"url long":       "://" + strings.Repeat("a@", 500_000),
	"pem":            strings.Repeat("-----BEGIN PRIVATE "+"KEY-----", 37_000),
	"pem dashes":     strings.Repeat("-----BEGIN PRIVATE "+"KEY-----", 10) + strings.Repeat("-", 1_000_000),
	"pem words":      strings.Repeat("-----BEGIN PRIVATE "+"KEY-----", 10) + strings.Repeat("word ", 200_000),
	"base64 anchors": strings.Repeat("QUtJQ", 200_000),
	"base64 pem":     strings.Repeat("LS0tLS1CRUdJT", 77_000),
	"backslashes":    strings.Repeat(`\`, 1_000_000),
	"unicode":        strings.Repeat(`\u0067`, 166_000),
	"percent":        strings.Repeat("%25", 333_000),
	"nested JSON":    strings.Repeat("[", 1_000_000),
	"nested objects": strings.Repeat(`{"password":`, 80_000),
	"bearer":         strings.Repeat("bearer ", 140_000),
	"markers":        strings.Repeat("[REDACTED:x]", 80_000),
	"key objects":    strings.Repeat(`"kty `, 200_000),
	"kubernetes":     strings.Repeat("kind: Secret\n", 77_000),
	"settings":       strings.Repeat("password: aaaaaaaaaa\n", 48_000),
	"settings words": strings.Repeat("a: b\n  password: aaaaaaaaaa\n", 36_000),
	"ini":            strings.Repeat("password = aaaaaaaaaa\n", 45_000),
	"phrases":        strings.Repeat("password: \"a b", 66_000),
	"netrc":          strings.Repeat("login a password ", 59_000),
	"curl":           strings.Repeat("curl -u ", 125_000),
	"pgpass":         strings.Repeat("a:5432:", 143_000),
	"putty":          strings.Repeat("Private-Lines:\nAAAA\n", 50_000),
	"sas":            strings.Repeat("?sig=", 200_000),
	"mnemonic":       strings.Repeat("mnemonic:", 111_000),
	"mailgun":        strings.Repeat("mailgun ", 125_000),
	"xml":            strings.Repeat("<password>", 100_000),
	"secret starts":  strings.Repeat("a-configured-", 77_000),
}

func BenchmarkHostile(b *testing.B) {
	r := benchRedactor()
	for name, in := range hostile {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				r.Text([]byte(in))
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{0, 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			var s []string
			for i := range n {
				s = append(s, fmt.Sprintf("secret-number-%d-with-some-length", i))
			}
			for b.Loop() {
				New(Config{Secrets: s})
			}
		})
	}
}
