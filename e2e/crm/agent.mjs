// A scripted agent: one call of one tool through the guard, by the official SDK.
//
//   node crm/agent.mjs SERVER TOOL '{"argument": …}'     prints the answer
//   node crm/agent.mjs SERVER                            prints the names of the tools
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [name, tool, text] = process.argv.slice(2);
const agent = new Client({ name: "scripted-agent", version: "1.0.0" });
const stderr = tool ? "ignore" : "inherit"; // how many tools are closed is said once
await agent.connect(new StdioClientTransport({ command: "mcpguard", args: ["stdio", name], env: process.env, stderr }));
if (!tool) {
  const { tools } = await agent.listTools();
  for (const t of tools) console.log(t.name);
} else {
  // A call that waits is kept alive by the guard's progress messages.
  const patience = { timeout: 60_000, resetTimeoutOnProgress: true, onprogress: () => {} };
  const { content } = await agent.callTool({ name: tool, arguments: JSON.parse(text) }, undefined, patience);
  for (const c of content) console.log(c.text);
}
await agent.close();
