package ipc

// Capability is something that the guard's promises rest on and that systems
// offer in different quality.
type Capability struct {
	Name string // stable identifier
	OK   bool   // the best that is known is available
	Note string // a sentence: what it is worth here
}
