package redact

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLockFilesAreNotMasked: hashes and versions next to names such as jsonwebtoken are not
// secrets.
func TestLockFilesAreNotMasked(t *testing.T) {
	list := []string{"../../go.sum", "../../e2e/package-lock.json", "../../e2e/claude/package-lock.json", "../../e2e/conformance/package-lock.json"}
	samples, err := os.ReadDir("testdata/lockfiles")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range samples {
		if e.Name() != "README" {
			list = append(list, filepath.Join("testdata/lockfiles", e.Name()))
		}
	}
	if len(list) < 20 {
		t.Errorf("%d lock files, want 20", len(list))
	}
	r := New(Config{})
	for _, name := range list {
		stays(t, r, name)
	}
}

// stays checks that a file is unchanged as text.
func stays(t *testing.T, r *Redactor, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	out, found := r.Text(b)
	if len(found) == 0 && bytes.Equal(out, b) {
		return
	}
	before, after := bytes.Split(b, []byte("\n")), bytes.Split(out, []byte("\n"))
	for i := range min(len(before), len(after)) {
		if !bytes.Equal(before[i], after[i]) {
			t.Errorf("%s:%d: %.160q became %.160q", name, i+1, before[i], after[i])
			return
		}
	}
	t.Errorf("%s: findings %v", name, found)
}

// TestSourceFilesAreNotMasked reads sources of the Go distribution: packages that mention
// passwords, tokens and keys most, style sheets and scripts.
func TestSourceFilesAreNotMasked(t *testing.T) {
	where, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(strings.TrimSpace(string(where)), "src")
	type file struct {
		name  string
		words int
	}
	var code, other []file
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		ext := filepath.Ext(name)
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		if ext != ".go" && ext != ".js" && ext != ".css" && ext != ".html" && ext != ".py" && ext != ".bash" {
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f := file{name: name}
		for _, w := range []string{"assword", "oken", "ecret", "uthorization", "Key", "ookie"} {
			f.words += bytes.Count(b, []byte(w))
		}
		if ext == ".go" {
			code = append(code, f)
		} else {
			other = append(other, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(code, func(a, b file) int { return b.words - a.words })
	list := append(other, code[:min(100, len(code))]...)
	if len(list) < 50 || len(other) < 3 {
		t.Fatalf("%d source files in %s, want 50", len(list), root)
	}
	r := New(Config{})
	for _, f := range list {
		stays(t, r, f.name)
	}
}

// TestCodeAndStyleSheetsAreNotMasked checks text that is named like a secret but
// is not one.
func TestCodeAndStyleSheetsAreNotMasked(t *testing.T) {
	r := New(Config{})
	for _, in := range []string{
		`authorization: "role_based_v2"`, `{"authorization": "role_based_v2"}`, `authorization = 'rbac-with-scopes-2'`, `token_type: "access_token_v2"`,
		".sk-FadingCircle12 .sk-Circle3-dotContainer { width: 100% }", `<div class="sk-CubeGrid9 sk-FoldingCube4-Inner2Part">`, ".password-input-v2:hover { color: #a1b2c3d4 }",
		`<input type="password" class="token-field-large-2 form-control-lg" autocomplete="current-password">`, `className={styles.passwordToggle2}`,
		"token: 'text-primary-500-hover'", `"secretKeyRef": {"name": "shop-db-credentials-2", "key": "password-v2"}`, "private_key: \"_EllipticCurvePrivateKey\"",
		`"jsonwebtoken": "^9.0.2"`, `{"dependencies": {"jsonwebtoken": "^9.0.2", "csrf-token": "1.2.3"}}`, "minipass: ^7.1.2", "--- PASS: TestAddrString/ipv4 (0.00s)", "PASS: TestA1",
		"interface User {\n  name: string\n  password: hashedvalue\n}", "class User:\n    name: str\n    password: plaintext\n", "f(\n    user=user,\n    password=credential\n)",
		"const user = {\n  name,\n  password: hashed\n}", "type: object\nproperties:\n  password:\n    type: string", "  password: required", "password: bcrypt",
		`password: "must not be empty here"`, `errors: {password: "incorrect"}`, "render_pass: \"forward2\"", "bypass: \"feature7x\"", `"getpass": "^0.1.1"`,
		"docker run -u 1000:1000 image", "tar -pxf file1.tar", "curl -u $USER:$PASS https://x", "ssh -p2222 host", "127.0.0.1:5432:5432", "a regexp: $1$2$3", "cost: $6$ each",
		"l.password = f[i+1]", `case "password":`, "kind: Secret\nmetadata:\n  name: x\n", "sig=none&sv=1", "key-value pairs", "AKIAIOSFODNN7EXAMPLE", "see re_export_all and SKU1234",
		"the URL identified by `_endpoint`", "pino-http-send -u http://localhost:8080/logs", `{"types": {"cookie": ["./dist/helper/cookie"]}}`,
		`{"Cookie": "/api/Cookies.html#cookie"}`, `lastToken = "?InterpolationInTemplate"`, "'Test2::Event::Pass' => '1.302103',",
		"the mnemonic: mov add sub", `"kty": "documented elsewhere"`, "Token: `urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6`", `author_auth="plain"`, "sl.active, pat.match",
		"use --password to set the password", "      --password string   the password", "The --token flag is used", "pass --token with the request", "--password  reads it from stdin",
		"mytool --token  the token to send", "login --password=STRING", "--secret takes NAME=file:PATH", `fs.StringVar(&p, "--password", "default", "x")`, "gh --with-token true",
		"forgot_password: |\n  Click here to set a new one\ntitle: x", "secrets: |\n  GIT_AUTH_TOKEN=${{ secrets.GIT }}", "password: |\nnext: x", "| password: |\n|---|\n",
		"passwd: files systemd", "passwd: compat", "passwd = none", "name = x\nif name == y:\n  passwd = word\n", "pw = hunter\npassword = pw", "import os\npasswd = word\n",
		"\tErrNotValidPassword                                      = 1819\n", "ERR_PASSWORD = 0x115", "self._password = password", "_password=None", "f(\n  _password=value,\n)",
		`{"pass": "fail", "fail": "pass"}`, `{"name": "blur", "pass": "forward"}`, `x {"pass": "skipped"}`, `{"args": ["--password", "--user", "me"]}`, `["--token", "the token"]`,
		`<string name="password">Kennwort</string>`, "<password>${env.PW}</password>", "MTA.delivery.report", "ENV PATH_TOKEN_FILE /run/secrets/x",
	} {
		if out, f := r.Text([]byte(in)); string(out) != in {
			t.Errorf("Text(%q) = %q, %v", in, out, f)
		}
	}
}
