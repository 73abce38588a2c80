// The part of the package sqlite3 that the SQLite server of the tests uses, on
// SQLite compiled to WebAssembly. The original compiles or downloads a binary
// when it is installed, which a test machine should not do. SQL runs for real,
// on a real file; only the binding is another one.
const { Database: Engine } = require("node-sqlite3-wasm");

class Database {
  constructor(filename, callback) {
    this.engine = new Engine(filename);
    if (callback) setImmediate(callback, null);
  }

  // all and run execute the first statement of a text, as the original does.
  all(sql, params, callback) {
    settle(callback, {}, () => this.engine.all(sql, params));
  }

  run(sql, params, callback) {
    const outcome = {};
    settle(callback, outcome, () => {
      const { changes, lastInsertRowId } = this.engine.run(sql, params);
      Object.assign(outcome, { changes, lastID: Number(lastInsertRowId) });
    });
  }

  close(callback) {
    settle(callback, {}, () => this.engine.close());
  }
}

function settle(callback, self, work) {
  let result, failure = null;
  try {
    result = work();
  } catch (error) {
    failure = error;
  }
  if (callback) setImmediate(() => callback.call(self, failure, result));
}

module.exports = { Database, verbose: () => module.exports };
