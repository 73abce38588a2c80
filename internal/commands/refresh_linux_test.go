package commands

import "testing"

// TestRefreshTakesAnIndexThatWasOnlyTouched: of a file whose time alone changed,
// a run keeps no content, and there is nothing to put in place.
func TestRefreshTakesAnIndexThatWasOnlyTouched(t *testing.T) {
	x := newFixture(t)
	x.real("git init -q -b main; echo one > a; git add a; git commit -qm first")
	rec := &Record{Folder: x.ws, Roots: []string{x.ws}, Git: &GitChange{Tree: x.ws, IndexPath: ".git/index"}}
	for range 5 {
		x.real("echo one > a; touch -d '2 seconds ago' .git/index")
		if err := x.r.refreshIndex(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
}
