package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// The samples are assembled here so that no file of the project contains anything
// that looks like a live token.
var (
	a36  = strings.Repeat("aB3dE6gH9", 4)
	hexa = strings.Repeat("0123456789abcdef", 4)
	body = strings.Repeat(strings.Repeat("MIIEvQIBADANBgkq", 4)+"\n", 3) + "q83vEg==\n"
	pem  = "-----BEGIN RSA PRIVATE " + "KEY-----\n" + body + "-----END RSA PRIVATE " + "KEY-----"
	jwt  = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
)

// tokens has a sample of each shape.
var tokens = map[string][]string{
	"aws_key":            {"AKIA" + "IOSFODNN7EXAMPL3", "ASIA" + "IOSFODNN7EXAMPL3"},
	"github_token":       {"ghp_" + a36, "gho_" + a36, "ghu_" + a36, "ghs_" + a36, "ghr_" + a36, "github_pat_" + "11ABCDEFG0" + "_" + a36},
	"gitlab_token":       {"glpat-" + a36[:20], "glrt-" + a36[:22]},
	"slack_token":        {"xoxb-" + "123456789012-abcdefGHIJ", "xapp-" + "1-A0123456789"},
	"slack_webhook":      {"hooks.slack.com/services/" + "T00000000/B00000000/" + a36[:24]},
	"stripe_key":         {"sk_live_" + a36[:24], "rk_live_" + a36[:24], "sk_test_" + a36[:24], "whsec_" + a36[:32]},
	"openai_key":         {"sk-" + a36, "sk-proj-" + a36, "sk-svcacct-" + a36},
	"anthropic_key":      {"sk-ant-" + "api03-" + a36},
	"google_key":         {"AIza" + a36[:35], "GOCSPX-" + a36[:28], "ya29." + a36},
	"npm_token":          {"npm_" + a36},
	"pypi_token":         {"pypi-AgE" + a36 + a36},
	"digitalocean_token": {"dop_v1_" + hexa},
	"huggingface_token":  {"hf_" + a36},
	"shopify_token":      {"shpat_" + hexa[:32]},
	"docker_token":       {"dckr_pat_" + a36},
	"linear_key":         {"lin_api_" + a36 + "abcd"},
	"groq_key":           {"gsk_" + a36 + a36},
	"databricks_token":   {"dapi" + hexa[:32]},
	"vault_token":        {"hvs." + a36},
	"postman_key":        {"PMAK-" + hexa[:24] + "-" + hexa[:34]},
	"onepassword_token":  {"ops_eyJ" + a36 + a36 + a36},
	"age_key":            {"AGE-SECRET-KEY-1" + strings.ToUpper(hexa[:58])},
	"sendgrid_key":       {"SG." + a36[:22] + "." + a36 + "abcdefg"},
	"jwt":                {jwt, "eyJhbGciOiJub25lIn0" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0"},
	"private_key":        {pem, strings.ReplaceAll(pem, "\n", `\n`), strings.ReplaceAll(pem, "RSA", "OPENSSH")},
}

func TestShapes(t *testing.T) {
	r := New(Config{})
	for kind, list := range tokens {
		for _, tok := range list {
			for _, format := range []string{"%s", "key is %s.", "x=%s;", "(%s)", `"%s"`, "a\n%s\nb", `line\n%s`, "https://x.example/%s/y"} {
				in := fmt.Sprintf(format, tok)
				out, f := r.Text([]byte(in))
				if bytes.Contains(out, []byte(tok)) || bytes.Contains(out, []byte(tok[len(tok)-12:])) {
					t.Errorf("%s survives in %q: %q", kind, in, out)
				}
				if len(f) != 1 || f[0].Kind != kind || f[0].Count != 1 {
					t.Errorf("%q: findings %v, want one %s", in, f, kind)
				}
				if want := strings.Replace(in, tok, Marker(kind), 1); string(out) != want && kind != "slack_webhook" {
					t.Errorf("%q became %q, want %q", in, out, want)
				}
			}
		}
	}
	inForms := map[string]bool{"url_password": true, "bearer_token": true, "json_web_key": true} // TestText
	for _, form := range forms(t) {
		_, found := r.Text([]byte(form.text))
		for _, f := range found {
			inForms[f.Kind] = true
		}
	}
	missing := map[string]bool{}
	for _, s := range r.shapes {
		if _, ok := tokens[s.kind]; !ok && !inForms[s.kind] {
			missing[s.kind] = true
		}
	}
	if len(missing) > 0 {
		t.Errorf("no sample of %v", slices.Sorted(maps.Keys(missing)))
	}
}

func TestShapesInOtherSpellings(t *testing.T) {
	r := New(Config{})
	for kind, list := range tokens {
		tok := list[0]
		var u strings.Builder
		for _, c := range []byte(tok) {
			fmt.Fprintf(&u, `\u%04x`, c)
		}
		p := ""
		for _, c := range []byte(tok) {
			p += fmt.Sprintf("%%%02X", c)
		}
		spelled := []string{u.String(), strings.ReplaceAll(u.String(), `\`, `\\`), p, strings.ReplaceAll(p, "%", "%25")}
		for _, in := range spelled {
			out, f := r.Text([]byte("a " + in + " b"))
			if string(out) != "a "+Marker(kind)+" b" || len(f) != 1 {
				t.Errorf("%s as %.60q became %q", kind, in, out)
			}
		}
	}
	for _, anchor := range encodedShapes {
		for kind, list := range tokens {
			for _, tok := range list {
				if !strings.HasPrefix(tok, anchor) {
					continue
				}
				for _, before := range []string{"", "x", "xy", "key: "} {
					for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
						in := enc.EncodeToString([]byte(before + tok + "\n"))
						out, f := r.Text([]byte("data: " + in + "\n"))
						if len(f) != 1 || f[0].Kind != kind || bytes.Contains(out, []byte(in[len(in)-14:])) {
							t.Errorf("%s in base64 after %q: %v %q", kind, before, f, out)
						}
					}
				}
			}
		}
	}
}

func TestText(t *testing.T) {
	r := New(Config{})
	const m = "[REDACTED:assignment]"
	for _, tc := range []struct{ in, want string }{
		{"postgres://app:hunter2@db:5432/x", "postgres://app:[REDACTED:url_password]@db:5432/x"},
		{"https://" + a36 + "@github.com/x", "https://[REDACTED:url_password]@github.com/x"},
		{"http://a:p@ss@h/", "http://a:[REDACTED:url_password]@h/"},
		{"Authorization: Bearer abcdef0123456789xyz", "Authorization: Bearer " + m},
		{"authorization: basic " + base64.StdEncoding.EncodeToString([]byte("me:hunter2")), "authorization: basic " + m},
		{"curl -H 'X: Bearer abcdef0123456789xyz'", "curl -H 'X: Bearer [REDACTED:bearer_token]'"},
		{"X: basic " + base64.StdEncoding.EncodeToString([]byte("me:hunter2")), "X: basic [REDACTED:basic_auth]"},
		{"Authorization: token 0123456789abcdef0123", "Authorization: token " + m},
		{"password=hunter2", "password=" + m},
		{"PASSWORD=hunter", "PASSWORD=" + m},
		{"export DB_PASSWORD=correct-horse\n", "export DB_PASSWORD=" + m + "\n"},
		{"API_KEY='abcd efgh'", "API_KEY='" + m + "'"},
		{`password: "hunter2"`, `password: "` + m + `"`},
		{"  password: s3cret\n", "  password: " + m + "\n"},
		{`const dbPassword = "Tr0ub4dor&3";`, `const dbPassword = "` + m + `";`},
		{`"api_key": "9f86d081884c7d65"`, `"api_key": "` + m + `"`},
		{`{\"password\": \"hunter2\"}`, `{\"password\": \"` + m + `\"}`},
		{"?access_token=0123456789abcdef0123&x=1", "?access_token=" + m + "&x=1"},
		{"mysql --password hunter22 -u root", "mysql --password " + m + " -u root"},
		{"aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY", "aws_secret_access_key = " + m},
		{`{"token":"abc","n":1}`, `{"token":"[REDACTED:member]","n":1}`},
		{`key is {"kty":"OKP","d":"` + a36 + `"}`, `key is {"kty":"OKP","d":"[REDACTED:json_web_key]"}`},
		{"aaa:5432:shop:app:hunter2\nbbb:5432:shop:app:hunter3", "aaa:5432:shop:app:[REDACTED:pgpass]\nbbb:5432:shop:app:[REDACTED:pgpass]"},
		{"machine a login b password hunter2", "machine a login b password " + m},
		{"login_password: \"it\"\nauthorization: \"role_based_v2\"", "login_password: \"it\"\nauthorization: \"role_based_v2\""},
		{"a=1\n" + `{"token":"abc"}`, "a=1\n" + `{"token":"abc"}`},
	} {
		out, _ := r.Text([]byte(tc.in))
		if string(out) != tc.want {
			t.Errorf("Text(%q)\n got %q\nwant %q", tc.in, out, tc.want)
		}
	}
}

// TestOrdinaryTextIsNotMasked: ordinary code and prose must pass unchanged, or nobody can
// work.
func TestOrdinaryTextIsNotMasked(t *testing.T) {
	r := New(Config{Secrets: []string{"abc", ""}})
	for _, in := range []string{
		"token = nextToken()", "token := p.next()", "tok, err := lexer.Token()", `token: "identifier"`, `Token{Kind: "keyword"}`,
		"password = getPassword()", `password = os.environ["DB_PASSWORD"]`, "password: str", "password := r.FormValue(\"password\")",
		"this.password = password2", "const password = config.db.password1", "if (password == other123) {", `"password": "Password"`,
		`<input type="password" name="password">`, "PASSWORD=$DB_PASSWORD", "TOKEN=${{ secrets.TOKEN }}", "TOKEN=$(cat token.txt)",
		"API_KEY=<your key>", "API_KEY=your-api-key", `api_key="YOUR_API_KEY_1234567"`, "secretName: registry-credentials-1",
		"max_tokens: 4096", `"max_tokens": 1024`, `nextPageToken = "CAoQAA1234567890abcdef"`, "progressToken: 17",
		"secret_key_base: <%= ENV['SECRET'] %>", "task-list disk-usage sk-learn-something-rather-long", "the sk-8 and ghp_short",
		"AKIA and AKIAIOSFODNN7EXAMPLELONGER", "eyJ.eyJ.eyJ", "eyJhbGci", "https://example.com:8080/a@b", "git@github.com:a/b.git",
		"https://user@host/", "see http://{user}:{pass}@host", "strings.Contains(s, \"-----BEGIN RSA PRIVATE KEY-----\") // a header",
		"-----BEGIN CERTIFICATE-----\n" + body + "-----END CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----\n" + body,
		"bearer of bad news", "Bearer token", "basic usage of things", "a basic example1", "hash: 3f786850e387550fdab836ed7e6dc881de23001b",
		"tokenizer = AutoTokenizer.from_pretrained(\"bert-base-uncased\")", "passwordField.setText(label2)", "secret::Vault::new1234567890ab",
		"func (t *token) String() string { return t.s }", "keys: a1, b2", "token_count=123456789012345678", "password_hash_rounds=12",
		"100% of 50%, %d items, %s", `C:\users\x\token`, `env = append(env, "PWD="+dir1, "X=1")`, `s := "TOKEN=" + tok1 + "x"`, "PWD=/home/me1", `regexp.MustCompile("\\x00\\u0041")`, "compass=north1234",
	} {
		if out, f := r.Text([]byte(in)); string(out) != in {
			t.Errorf("Text(%q) = %q, %v", in, out, f)
		}
		q := append(append([]byte(`{"text":`), jsonrpc.QuoteString(in)...), '}')
		if out, f, err := r.JSON(q); err != nil || !bytes.Equal(out, q) {
			t.Errorf("JSON(%s) = %s, %v, %v", q, out, f, err)
		}
	}
}

func TestJSON(t *testing.T) {
	r := New(Config{Secrets: []string{"s3cr\"et/valüe"}})
	gh := "ghp_" + a36
	for _, tc := range []struct{ in, want string }{
		{`{"password":"x","n":1}`, `{"password":"[REDACTED:member]","n":1}`},
		{` { "apiKey" : "x" , "a":[ 1 ] } `, ` { "apiKey" : "[REDACTED:member]" , "a":[ 1 ] } `},
		{`{"pass\u0077ord":"x"}`, `{"pass\u0077ord":"[REDACTED:member]"}`},
		{`{"secrets":["a",{"b":"c"},[""],1,null]}`, `{"secrets":["[REDACTED:member]",{"b":"[REDACTED:member]"},[""],1,null]}`},
		{`{"password":12345,"token":null,"secret":true}`, `{"password":12345,"token":null,"secret":true}`},
		{`{"password":{"type":"string","title":"The password"}}`, `{"password":{"type":"string","title":"The password"}}`},
		{`{"password":{"type":"plain","value":"x"}}`, `{"password":{"type":"[REDACTED:member]","value":"[REDACTED:member]"}}`},
		{`{"nextPageToken":"abc","progressToken":"x","tokens":["a"]}`, `{"nextPageToken":"abc","progressToken":"x","tokens":["a"]}`},
		{`["x ` + gh + ` y\n"]`, `["x [REDACTED:github_token] y\n"]`},
		{`["x \u0067hp_` + a36 + ` y"]`, `["x [REDACTED:github_token] y"]`},
		{`{"` + gh + `":1,"a` + "\\u0020" + gh + `":2,"` + gh + `x":3}`, `{"[REDACTED:github_token]#0":1,"a [REDACTED:github_token]#1":2,"[REDACTED:github_token]#2":3}`},
		{`{"text":"{\"password\":\"x\",\"n\": 1}"}`, `{"text":"{\"password\":\"[REDACTED:member]\",\"n\": 1}"}`},
		{`{"text":"[\"{\\\"token\\\":\\\"x\\\"}\"]"}`, `{"text":"[\"{\\\"token\\\":\\\"[REDACTED:member]\\\"}\"]"}`},
		{`["a s3cr\"et\/val\u00fce b"]`, `["a [REDACTED:configured_secret] b"]`},
		{`{"a":9007199254740993,"b":1e999,"password":"[REDACTED:member]"}`, `{"a":9007199254740993,"b":1e999,"password":"[REDACTED:member]"}`},
		{`"` + gh + `"`, `"[REDACTED:github_token]"`},
	} {
		out, _, err := r.JSON([]byte(tc.in))
		if err != nil || string(out) != tc.want {
			t.Errorf("JSON(%s)\n got %s, %v\nwant %s", tc.in, out, err, tc.want)
		}
	}
	out, f, err := r.JSON([]byte(`{"password":"x","b":["` + gh + `","` + gh + `"]}`))
	if want := "[{github_token 2} {member 1}]"; fmt.Sprint(f) != want || err != nil {
		t.Errorf("findings of %s: %v, want %s", out, f, want)
	}
}

func TestFailsClosed(t *testing.T) {
	r := New(Config{MaxScan: 20})
	long := []byte(`{"a":"` + strings.Repeat("x", 20) + `"}`)
	if out, _, err := r.JSON(long); !errors.Is(err, ErrTooLarge) || out != nil {
		t.Errorf("JSON over the limit: %q, %v", out, err)
	}
	if out, f := r.Text(long); string(out) != "[REDACTED:unscanned]" || len(f) != 1 {
		t.Errorf("Text over the limit: %q, %v", out, f)
	}
	for _, in := range []string{`{"password":"x"`, `password`, `{"password":"x","password":"y"}`, `{"password":"x"} {}`} {
		if out, _, err := New(Config{}).JSON([]byte(in)); err == nil || out != nil {
			t.Errorf("JSON(%s) = %q, %v", in, out, err)
		}
	}
	// Two names that both become "[REDACTED:…]#1" would be equal.
	gh := "ghp_" + a36
	in := `{"[REDACTED:github_token]#1":1,"` + gh + `":2}`
	if out, _, err := New(Config{}).JSON([]byte(in)); err == nil || out != nil {
		t.Errorf("JSON(%s) = %q, %v", in, out, err)
	}
}

func TestContainsMarker(t *testing.T) {
	for in, want := range map[string]bool{
		"": false, "[REDACTED:": false, "[REDACTED:<kind>]": false, "redacted: x": false, "[REDACTED]": false,
		"a [REDACTED:jwt] b": true, "[REDACTED:x": true, "[REDACTED:1 [REDACTED:member]": true,
		`"\u005bREDACTED:jwt]"`: true, `"\\u005bREDACTED\\u003ajwt]"`: true, `\x5bREDACTED:jwt]`: true, `\u0041`: false,
	} {
		if got := ContainsMarker([]byte(in)); got != want {
			t.Errorf("ContainsMarker(%q) = %v", in, got)
		}
	}
}

// TestValueContainsMarker finds the marker in each spelling that arguments can
// have, in texts and names at any depth.
func TestValueContainsMarker(t *testing.T) {
	for raw, want := range map[string]bool{
		`{}`: false, `{"a":["[REDACTED:",{"b":"[REDACTED]"}]}`: false, `{"a":"[REDACTED:","b":"jwt]"}`: false, `null`: false,
		`{"a":[1,{"b":"x [REDACTED:jwt] y"}]}`: true, `{"a":{"[REDACTED:jwt]":1}}`: true, `"[REDACTED:jwt]"`: true,
		`{"a":"\u005bREDACTED:jwt]"}`: true, `{"a":"\\u005bREDACTED\\u003ajwt]"}`: true, `{"a":"{\"b\":\"\\u005bREDACTED:jwt]\"}"}`: true,
	} {
		v, err := jsonvalue.Decode([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := ValueContainsMarker(v); got != want {
			t.Errorf("ValueContainsMarker(%s) = %v", raw, got)
		}
		if ContainsMarker([]byte(raw)) && !want {
			t.Errorf("the bytes %s hold a marker", raw)
		}
	}
}

// configured are secrets of many forms, each tried in every spelling.
var configured = []string{
	"hunter2", "pa ss&wo<rd>", `quo"te\slash/`, "ünïcødé-秘密", "s3cr3t+/=%41", "line one of it\nline two of this secret\n", "{\"key\":\"a-long-enough-value-1\"}",
	"aaaaaaaa", "0123456789abcdef0123456789abcdef",
}

func spell(s string) map[string]string {
	j, _ := json.Marshal(s)
	jj, _ := json.Marshal(string(j))
	var u, x, p, html strings.Builder
	for _, c := range s {
		if c < 0x10000 {
			fmt.Fprintf(&u, `\u%04X`, c)
		}
	}
	for _, c := range []byte(s) {
		fmt.Fprintf(&x, `\x%02x`, c)
		fmt.Fprintf(&p, "%%%02x", c)
	}
	html.WriteString(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;").Replace(s))
	out := map[string]string{
		"plain": s, "json": string(j[1 : len(j)-1]), "json twice": string(jj[3 : len(jj)-3]), "unicode escapes": u.String(), "hex escapes": x.String(),
		"percent": p.String(), "query": url.QueryEscape(s), "path": url.PathEscape(s), "slashes": strings.ReplaceAll(string(j[1:len(j)-1]), "/", `\/`), "html": html.String(),
		"hex": fmt.Sprintf("%x", s), "HEX": fmt.Sprintf("%X", s),
	}
	for shift := range 3 {
		pad := strings.Repeat("-", shift)
		out[fmt.Sprintf("base64 %d", shift)] = base64.StdEncoding.EncodeToString([]byte(pad + s + "tail"))
		out[fmt.Sprintf("base64url %d", shift)] = base64.RawURLEncoding.EncodeToString([]byte(pad + s))
	}
	return out
}

// survives reports whether the secret can be recovered from out by undoing the
// spelling.
func survives(name, spelled, s string, out []byte) bool {
	if strings.HasPrefix(name, "base64") {
		for _, run := range strings.FieldsFunc(string(out), func(c rune) bool { return c > 0x7f || !base64Any[byte(c)] }) {
			for cut := range 4 {
				if cut >= len(run) {
					break
				}
				run := strings.NewReplacer("-", "+", "_", "/").Replace(run[cut:])
				for len(run)%4 == 1 {
					run = run[:len(run)-1]
				}
				dec, _ := base64.RawStdEncoding.DecodeString(run)
				if bytes.Contains(dec, []byte(strings.TrimSpace(s))) {
					return true
				}
			}
		}
		return false
	}
	return bytes.Contains(out, []byte(strings.TrimSpace(spelled))) || bytes.Contains(out, []byte(strings.TrimSpace(s)))
}

// TestPromise8_ConfiguredSecretsStay: a configured secret does not get out in any
// of its spellings.
func TestPromise8_ConfiguredSecretsStay(t *testing.T) {
	r := New(Config{Secrets: configured})
	for _, s := range configured {
		for name, spelled := range spell(s) {
			for _, format := range []string{"%s", "at %s here", "x%sx", `{"a": "%s"}`} {
				in := fmt.Sprintf(format, spelled)
				out, f := r.Text([]byte(in))
				if len(f) == 0 || survives(name, spelled, s, out) {
					t.Errorf("Text: %q as %s survives in %q: %q %v", s, name, in, out, f)
				}
				q := append(append([]byte(`{"text":[`), jsonrpc.QuoteString(in)...), "]}"...)
				jout, f, err := r.JSON(q)
				if err != nil || len(f) == 0 || survives(name, spelled, s, jout) {
					t.Errorf("JSON: %q as %s survives in %s: %s %v %v", s, name, q, jout, f, err)
				}
			}
		}
	}
}

func TestKindsAreDescribed(t *testing.T) {
	for kind, want := range map[string]string{
		"github_token": "a GitHub token", "aws_key": "an AWS key", "anthropic_key": "an Anthropic key", "stripe_key": "a Stripe key",
		"jwt": "a JSON web token", "assignment": "a password or a token",
	} {
		if got := Describe(kind); got != want {
			t.Errorf("%s is %q, want %q", kind, got, want)
		}
	}
	for _, s := range New(Config{}).shapes {
		if got := Describe(s.kind); strings.Contains(got, "_") || len(strings.Fields(got)) < 3 {
			t.Errorf("%s is %q", s.kind, got)
		}
	}
}
