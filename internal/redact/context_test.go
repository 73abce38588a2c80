package redact

import (
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// TestWordsAreMaskedByWhereTheyStand: a secret that looks like any other word is found by
// what is around it, and nothing else of the text changes.
func TestWordsAreMaskedByWhereTheyStand(t *testing.T) {
	r := New(Config{})
	for _, in := range []string{ // what is secret stands between « and »
		// YAML blocks
		"password: |\n  «word»\n", "password: |\r\n  «word»\r\nuser: joe\r\n", "db:\n  password: >-\n    «correcthorse»\n  user: joe\n", "password: |2\n    «word»\n",
		"- name: x\n  password: |- # from the vault\n    «hunter2secret»\n  other: y\n", "- password: |\n    «word»\n  user: joe\n", "\"password\": |\n  «word»\n",
		"token: |-\n  «first-line\n  second-line»\nuser: joe\n", "pass: |\n\n  «correct horse battery staple»\n\nuser: joe\n",
		// settings
		"passwd = «word»", "user = joe\npasswd = «word»\nhost = localhost\n", "# the database\n[client]\nuser=joe\npassword=«word»\n", "db.password=«word»\n",
		"environment:\n  MYSQL_ROOT_PASSWORD: «word»\n", "_password=«abc»\n", "//npm.example.com/:_password=«abc»\n", "//npm.example.com/:_password=\"«abc»\"\n",
		// command lines
		"login --password «word»", "$ login --password «word» --user joe", "login --token=«word»", "login --token «word»", "login --password='«my word»'", "sudo mysqldump --password «word» shop",
		"login --password=«word» joe", "RUN login \\\n  --password «word» \\\n  --user joe", "x -password «changeit» -list", "kubectl create secret generic x --from-literal=password=«word»",
		"docker run -e db_password=«word» image", "helm install --set db.password=«word» x",
		// objects
		`{"pass":"«word»"}`, `{"user": "joe", "pass": "«word»"}`, `{"db_pass": "«word»"}`, `config: {"user":"joe","pass":"«word»"}`, `{"args": ["login", "--password", "«word»"]}`, `["--api-key", "«word»", "x"]`,
	} {
		before, rest, _ := strings.Cut(in, "«")
		secret, after, _ := strings.Cut(rest, "»")
		text := before + secret + after
		out, _ := r.Text([]byte(text))
		middle, kept := strings.CutPrefix(string(out), before)
		middle, also := strings.CutSuffix(middle, after)
		if !kept || !also || !isMarker([]byte(middle)) {
			t.Errorf("Text(%q) = %q", text, out)
		}
		answer := append(append([]byte(`{"text":`), jsonrpc.QuoteString(text)...), '}')
		clean, found, err := r.JSON(answer)
		if err != nil || len(found) == 0 || strings.Count(string(clean), string(jsonrpc.QuoteString(secret))) > 0 {
			t.Errorf("JSON(%s) = %s, %v, %v", answer, clean, found, err)
		}
	}
}
