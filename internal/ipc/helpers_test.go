package ipc

var helpers = map[string]func([]string) error{"connect": connectAndHold}
