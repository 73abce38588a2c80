package onboard

import (
	"os"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/config"
)

// TestNamesVariablesThatWereNotRecorded: a server of a configuration written by hand
// has no recorded environment, and looking at its tools says so, as the daemon
// does, instead of starting it without.
func TestNamesVariablesThatWereNotRecorded(t *testing.T) {
	s := &config.Server{Name: "crm", Command: os.Args[0], Env: []string{"PATH", "LANG"}}
	r := Request{Name: "crm", Lookup: os.LookupEnv, Folder: t.TempDir()}
	_, err := Compare(t.Context(), r, s, &config.Environment{}, &config.Lock{})
	if err == nil || !strings.Contains(err.Error(), "[PATH LANG] of server crm were not recorded; run `mcpguardd accept crm`") {
		t.Errorf("got %v", err)
	}
}
