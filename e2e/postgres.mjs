// PostgreSQL as WebAssembly behind a socket, with one table in it. It prints
// where it listens as one JSON line, and ends with its standard input.
//
//   node postgres.mjs
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

const db = await PGlite.create();
await db.exec("CREATE TABLE contacts (id int PRIMARY KEY, name text NOT NULL, email text); INSERT INTO contacts VALUES (1, 'Ada', 'ada@example.com'), (2, 'Ben', 'ben@example.com')");
const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port: 0, maxConnections: 8 });
server.addEventListener("listening", (event) => {
  process.stdout.write(JSON.stringify(event.detail) + "\n");
});
await server.start();
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
