package onboard

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// Servers that are added concurrently are all in all three files afterwards.
func TestConcurrentAddsKeepEveryServer(t *testing.T) {
	home := t.TempDir()
	paths := ipc.Paths{Config: home, State: home}
	const n = 12
	folder := t.TempDir()
	lookup := func(name string) (string, bool) { return "value of " + name, name == "TOKENLESS" }
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		plan, err := NewPlan(t.Context(), Request{
			Name: fmt.Sprintf("files%d", i), Builtin: "workspace", Folder: folder, Env: []string{"TOKENLESS"},
			Lookup: lookup, User: "tester", Version: "test", Now: time.Unix(1, 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { errs[i] = plan.Apply(t.Context(), paths) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	cfg, err := config.Load(paths.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	lock, err := config.LoadLock(paths.ToolsLock())
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := config.LoadEnvironment(paths.EnvironmentFile())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name := fmt.Sprintf("files%d", i)
		_, value := recorded.Lookup(name, "TOKENLESS")
		_, pin := lock.Pin(name, "read_file")
		if cfg.Servers[name] == nil || !value || !pin {
			t.Errorf("%s: configured %v, recorded %v, accepted %v", name, cfg.Servers[name] != nil, value, pin)
		}
	}
}
