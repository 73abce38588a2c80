// Package e2e drives the real programs as their users do: real MCP clients (the
// TypeScript SDK, the MCP Inspector's command line, raw frames) through
// `mcpguardd stdio` to real MCP servers, with decisions by `approve`. Beside the
// tests it has the Node scripts that they start; `npm ci` in this folder
// installs the servers and clients at exact versions.
//
// It will not test what a package's own tests can see, and nothing in it is
// built into the programs.
package e2e
