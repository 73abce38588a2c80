package config

import (
	"slices"
	"testing"
)

func TestCloseNames(t *testing.T) {
	tools := map[string][]string{
		"crm":   {"getUser", "get_user", "find", "wipe"},
		"files": {"read_file", "find"},
		"work":  {"ReadFile", "find", "a", "b"},
		"other": {"x"},
	}
	want := []string{
		"getUser and get_user of crm differ only in how they are written",
		"crm and files both have find",
		"crm and work both have find",
		"files and work both have find",
		"read_file of files and ReadFile of work differ only in how they are written",
	}
	if got := CloseNames(tools, ""); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := CloseNames(tools, "files"); !slices.Equal(got, []string{want[1], want[3], want[4]}) {
		t.Errorf("of files: %q", got)
	}
	if got := CloseNames(tools, "other"); len(got) != 0 {
		t.Errorf("of other: %q", got)
	}
	many := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	if got := CloseNames(map[string][]string{"p": many, "q": many}, "q"); !slices.Equal(got, []string{"p and q both have a, b, c, d, e, f and 2 more"}) {
		t.Errorf("many: %q", got)
	}
}
