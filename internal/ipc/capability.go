package ipc

// Capability is a system feature that the guard's promises depend on and that
// differs between systems.
type Capability struct {
	Name string // stable identifier
	OK   bool   // the best that is known is available
	Note string // a sentence: what it is worth here
}
