// A server of the modern era (2026-07-28) made with the second generation of the
// official SDK: a read, a write that appends to a file, a write that first asks
// for more input, a prompt and a resource. It also answers the legacy era.
//
//   node modern-server.mjs FOLDER
import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { McpServer, acceptedContent, inputRequired } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";
import { z } from "zod";

const file = join(process.argv[2], "notes.txt");
const text = (s) => ({ content: [{ type: "text", text: s }] });

serveStdio(() => {
  const server = new McpServer({ name: "modern", version: "1.0.0" });
  server.registerTool(
    "read-notes",
    { description: "Reads the notes.", inputSchema: z.object({}), annotations: { readOnlyHint: true } },
    async () => text(await readFile(file, "utf8").catch(() => "")),
  );
  server.registerTool(
    "add-note",
    { description: "Appends a note.", inputSchema: z.object({ note: z.string() }) },
    async ({ note }) => {
      await appendFile(file, note + "\n");
      return text("noted");
    },
  );
  server.registerTool(
    "add-signed-note",
    { description: "Appends a note with the name that the user gives.", inputSchema: z.object({ note: z.string() }) },
    async ({ note }, ctx) => {
      const answer = acceptedContent(ctx.mcpReq.inputResponses, "name");
      if (!answer) {
        return inputRequired({
          inputRequests: {
            name: inputRequired.elicit({
              message: "Who signs?",
              requestedSchema: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
            }),
          },
        });
      }
      await appendFile(file, `${note} (${answer.name})\n`);
      return text("signed");
    },
  );
  server.registerPrompt("greet", { description: "A greeting." }, () => ({
    messages: [{ role: "user", content: { type: "text", text: "Say hello." } }],
  }));
  server.registerResource("motto", "demo://motto", { mimeType: "text/plain" }, async (uri) => ({
    contents: [{ uri: uri.href, text: "Reads pass, writes wait." }],
  }));
  return server;
});
