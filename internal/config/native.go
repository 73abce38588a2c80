package config

import "slices"

// Names of servers that the guard uses itself.
const (
	// NativeServer is the server made from the section `native`: the client's own
	// tools, which reach the guard through its hooks.
	NativeServer = "native"
	// PermissionServer answers the client's permission prompts.
	PermissionServer = "permission"
)

// nativePreset is used if `native` names no preset.
const nativePreset = "claude-native"

// liftNative turns the section `native` into a server, so that everything that
// applies to servers applies to it.
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
		return // reported when the section is decoded
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

// checkNative refuses settings that have no meaning when nothing is started.
func checkNative(d *decoder, s *Server, path string) {
	for _, name := range []string{"command", "args", "env", "cwd", "secrets", "prompts", "resources", "sampling", "elicitation", "methods", "start_timeout"} {
		if _, ok := d.locations[path+"."+name]; ok {
			d.errorf(path+"."+name, "remove it", "the client's own tools are not a server that is started, so %q says nothing", name)
		}
	}
}
