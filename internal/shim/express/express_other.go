//go:build !linux

package express

// Elsewhere the usual case goes the ordinary way.

func passable(int) bool       { return false }
func dial(string) (int, bool) { return -1, false }
func patient(int) bool        { return false }
func send(int, []byte) bool   { return false }
func letGo() bool             { return false }
func cwd() string             { return "" }
func bounded(int, int64) bool { return false }
