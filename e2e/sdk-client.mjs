// A client made of the official TypeScript SDK, driven from outside: commands
// come in as JSON lines on standard input, what happens goes out as JSON lines
// on standard output.
//
//   node sdk-client.mjs '{"name": "…", "command": "…", "args": […], "env": {…}, "capabilities": {…}, "answers": {METHOD: RESULT}}'
//
//   {"id": 1, "method": "tools/call", "params": {…}, "options": {"timeout": 60000, "resetTimeoutOnProgress": true}}
//   {"cancel": 1}
//   {"notify": "notifications/…", "params": {…}}
//   {"close": true}
//
//   {"ready": {…}} · {"id": 1, "result": {…}} · {"id": 1, "error": {…}} · {"id": 1, "progress": {…}}
//   {"notification": {…}} · {"request": {…}} · {"closed": true}
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import * as types from "@modelcontextprotocol/sdk/types.js";

const config = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const client = new Client(
  { name: config.name ?? "sdk-client", version: "1.0.0" },
  { capabilities: config.capabilities ?? {} },
);
const requests = {
  "sampling/createMessage": types.CreateMessageRequestSchema,
  "elicitation/create": types.ElicitRequestSchema,
  "roots/list": types.ListRootsRequestSchema,
};
for (const [method, answer] of Object.entries(config.answers ?? {})) {
  client.setRequestHandler(requests[method], (request) => {
    say({ request });
    return answer;
  });
}
client.fallbackNotificationHandler = async (notification) => say({ notification });
client.onclose = () => say({ closed: true });
client.onerror = (error) => say({ failure: String(error) });

// Whatever the SDK itself would drop must show in a comparison, so results are
// taken as they come.
const asItIs = types.ResultSchema.loose();

const running = new Map();
async function request({ id, method, params, options }) {
  const abort = new AbortController();
  running.set(id, abort);
  try {
    const result = await client.request({ method, params }, asItIs, {
      ...options,
      signal: abort.signal,
      onprogress: (progress) => say({ id, progress }),
    });
    say({ id, result });
  } catch (error) {
    say({ id, error: { code: error.code ?? 0, message: String(error.message ?? error), data: error.data } });
  } finally {
    running.delete(id);
  }
}

const transport = new StdioClientTransport({
  command: config.command,
  args: config.args ?? [],
  env: config.env,
  cwd: config.cwd,
  stderr: "inherit",
});
try {
  await client.connect(transport);
} catch (error) {
  say({ error: { code: error.code ?? 0, message: String(error.message ?? error) } });
  process.exit(1);
}
say({
  ready: {
    server: client.getServerVersion(),
    capabilities: client.getServerCapabilities(),
    instructions: client.getInstructions(),
  },
});

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.close) break;
  if (command.cancel !== undefined) running.get(command.cancel)?.abort("the user changed their mind");
  else if (command.notify) await client.notification({ method: command.notify, params: command.params });
  else void request(command);
}
await client.close();
process.exit(0);
