// Preloaded into a server (node --import) to make what it says repeatable: its
// clock stands still and its randomness is a fixed sequence. The server's own
// code is the real one. With it the answers of two instances can be compared
// byte for byte.
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";

const start = Date.UTC(2026, 0, 2, 3, 4, 5);
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...args) {
    super(...(args.length ? args : [start]));
  }
  static now() {
    return start;
  }
};

let state = 1;
const next = () => (state = (state * 48271) % 2147483647) / 2147483647;
Math.random = next;

const bytes = (n) => Uint8Array.from({ length: n }, () => Math.floor(next() * 256));
const uuid = () => {
  const hex = Buffer.from(bytes(16)).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
};
crypto.randomUUID = uuid;
crypto.randomBytes = (n) => Buffer.from(bytes(n));
globalThis.crypto.randomUUID = uuid;
globalThis.crypto.getRandomValues = (array) => {
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(bytes(array.byteLength));
  return array;
};
syncBuiltinESMExports();
