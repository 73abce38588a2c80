package config

import "slices"

// Names of servers that the guard uses itself.
const (
	// NativeServer is what the section `native` becomes: the tools that are the
	// client's own and reach the guard through its hooks.
	NativeServer = "native"
	// PermissionServer answers the client's permission prompts.
	PermissionServer = "permission"
)

// nativePreset is what `native` means where it names no preset.
const nativePreset = "claude-native"

// liftNative makes a server of the section `native`, so that all that holds for
// servers holds for it.
func liftNative(root *node, d *decoder) {
	at := slices.IndexFunc(root.keys, func(k key) bool { return k.name == "native" })
	if root.kind != kindMap || at < 0 {
		return
	}
	k, n := root.keys[at], *root.items[at]
	if n.kind == kindNull {
		n.kind = kindMap
	}
	servers := root.get("servers")
	if n.kind != kindMap || servers != nil && servers.kind != kindMap && servers.kind != kindNull {
		return // reported when it is decoded
	}
	if n.get("builtin") != nil {
		d.report(n.pos, "'native' is no built-in server that could be chosen", "remove 'builtin'")
		return
	}
	if servers.get(NativeServer) != nil {
		d.report(k.pos, "'native' and a server of that name are both written", "rename the server")
		return
	}
	word := func(name, text string) {
		n.keys = append(slices.Clone(n.keys), key{name, k.pos})
		n.items = append(slices.Clone(n.items), &node{kind: kindString, text: text, pos: k.pos})
	}
	word("builtin", NativeServer)
	if n.get("preset") == nil {
		word("preset", nativePreset)
	}
	root.keys, root.items = slices.Delete(root.keys, at, at+1), slices.Delete(root.items, at, at+1)
	if servers == nil {
		servers = &node{kind: kindMap, pos: k.pos}
		root.keys, root.items = append(root.keys, key{"servers", k.pos}), append(root.items, servers)
	}
	servers.kind = kindMap
	servers.keys, servers.items = append(servers.keys, key{NativeServer, k.pos}), append(servers.items, &n)
}

// checkNative refuses what has no meaning where nothing is started.
func checkNative(d *decoder, s *Server, path string) {
	for _, name := range []string{"command", "args", "env", "cwd", "secrets", "prompts", "resources", "sampling", "elicitation", "methods", "start_timeout"} {
		if _, ok := d.locations[path+"."+name]; ok {
			d.errorf(path+"."+name, "remove it", "the client's own tools are not a server that is started, so %q says nothing", name)
		}
	}
}
