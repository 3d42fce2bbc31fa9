// /passerby-live.js: against a server that fails on purpose, where no pause is waited for, and against Passerby.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import { WebSocket } from "ws";

import { startBrowser } from "./browser.mjs";
import { Server, SUITE_DEADLINE, call } from "./server.mjs";
import { Site } from "./site.mjs";
import { SocketStub, TOKEN } from "./socket-stub.mjs";

/** A deadline and not a pause. */
const DEADLINE = 60_000;
const LOOK_AGAIN = 2;
const MOST_BYTES = 4300;
const NAMES = ["passerby.js", "live.js"];

const source = (name) => readFile(new URL(`../../src/http/script/${name}`, import.meta.url), "utf8");

/** Waits until it is so. */
async function until(isSo, what = isSo) {
  const deadline = Date.now() + DEADLINE;
  while (!isSo()) {
    assert.ok(Date.now() < deadline, `not within ${DEADLINE} ms: ${what}`);
    await sleep(LOOK_AGAIN);
  }
}

/** The modules as files of their own; `changed` may change their text. */
async function files(changed = (text) => text) {
  const home = await mkdtemp(join(tmpdir(), "passerby-live-"));
  await writeFile(join(home, "package.json"), '{ "type": "module" }');
  for (const name of NAMES) await writeFile(join(home, name), changed(await source(name)));
  return { home, remove: () => rm(home, { recursive: true, force: true }) };
}

/** How long a reply may take, in the module. */
const TIME_LIMIT = 20_000;

/** Timers that wait for nothing but the test. */
class Pauses {
  #waiting = [];
  /** What happens to a request whose time is over. */
  late = [];
  setTimeout = (task, milliseconds) => {
    if (milliseconds === TIME_LIMIT) this.late.push(task);
    else this.#waiting.push({ task, milliseconds });
  };

  get length() {
    return this.#waiting.length;
  }

  /** The next pause in milliseconds, once there is one; it is over then. */
  async next() {
    await until(() => this.length > 0, "a pause");
    assert.equal(this.length, 1);
    const { task, milliseconds } = this.#waiting.shift();
    task();
    return milliseconds;
  }
}

/** What a connection tells of these kinds, in order. */
function heard(connection, ...types) {
  const news = [];
  for (const type of types) connection.on(type, (...facts) => news.push([type, ...facts]));
  return news;
}

describe("/passerby-live.js", { timeout: SUITE_DEADLINE }, () => {
  let modules;
  let live;

  before(async () => {
    modules = await files();
    live = await import(pathToFileURL(join(modules.home, "live.js")));
  });
  after(() => modules?.remove());

  test("has types that hold", async () => {
    const tsc = fileURLToPath(import.meta.resolve("typescript-7/package.json").replace(/package\.json$/, "bin/tsc"));
    const options = ["--noEmit", "--allowJs", "--checkJs", "--strict", "--ignoreConfig"];
    const target = ["--target", "es2022", "--module", "es2022", "--lib", "es2022,dom"];
    const check = promisify(execFile)(process.execPath, [tsc, ...options, ...target, join(modules.home, "live.js")]);
    await check.catch(({ stdout }) => assert.fail(stdout));
  });

  describe("with a server that fails on purpose", () => {
    let stub;
    let pauses;
    let connections;

    beforeEach(async () => {
      stub = await new SocketStub().listen();
      pauses = new Pauses();
      connections = [];
    });
    afterEach(async () => {
      await Promise.all(connections.map((connection) => connection.close()));
      await stub.close();
    });

    const connect = async (options) => {
      const { setTimeout } = pauses;
      const given = { token: TOKEN, base: stub.url, WebSocket, setTimeout, random: () => 1, ...options };
      const connection = await live.connect(given);
      connections.push(connection);
      return connection;
    };
    /** The pause after which a lost connection is there again. */
    const reopened = async (connection) => {
      const pause = await pauses.next();
      await until(() => connection.status === "open", "it is open again");
      return pause;
    };
    const opening = () => stub.requests.filter((line) => line.startsWith("GET /v1/socket"));

    describe("opening", () => {
      test("it has a ticket and no token in the address, and then the document", async () => {
        Object.assign(stub, { data: { a: 1 }, version: 7 });
        const { data, version, user, anonymous, status } = await connect();
        const facts = { data, version, user, anonymous, status };
        assert.deepEqual(facts, { data: { a: 1 }, version: 7, user: "a user", anonymous: true, status: "open" });
        assert.deepEqual(stub.requests, ["POST /v1/socket-ticket", "GET /v1/socket"]);
        assert.deepEqual(stub.offered, [["passerby.v1", "ticket.psbs_1"]]);
      });

      test("a token may be made anew each time", async () => {
        let asked = 0;
        const token = async () => {
          asked += 1;
          return TOKEN;
        };
        const connection = await connect({ token });
        stub.cut();
        await reopened(connection);
        assert.equal(asked, 2);
        assert.equal(connection.data, null);
      });

      for (const status of [401, 403]) {
        test(`it fails for good when it is refused with ${status}`, async () => {
          stub.answers.push([status, { code: "no", detail: "this is no" }]);
          const error = await connect().catch((error) => error);
          const { name, code, message } = error;
          assert.deepEqual([name, error.status, code, message], ["PasserbyError", status, "no", "this is no"]);
          assert.equal(pauses.length, 0);
        });
      }

      test("it waits for a server that is not there yet, as long as that says", async () => {
        stub.answers.push([503, { code: "starting" }, { "retry-after": "2" }], [502, "no JSON of ours"], [429, {}]);
        const connecting = connect();
        assert.equal(await pauses.next(), 2000 + 250);
        assert.equal(await pauses.next(), 500);
        assert.equal(await pauses.next(), 1000);
        assert.equal((await connecting).status, "open");
      });

      test("a token that cannot be had now is asked for again", async () => {
        const answers = [() => Promise.reject(new TypeError("offline")), () => TOKEN];
        const connecting = connect({ token: () => answers.shift()() });
        await pauses.next();
        assert.equal((await connecting).status, "open");
      });

      test("where there is no WebSocket it says so", async () => {
        await assert.rejects(connect({ WebSocket: undefined }), TypeError);
        await assert.rejects(connect({ base: "nowhere" }), TypeError);
      });
    });

    describe("changes", () => {
      test("of one's own are seen when the reply comes, those of others when they are told, each once", async () => {
        const connection = await connect();
        const news = heard(connection, "data");
        assert.deepEqual(await connection.set({ a: 1, b: { c: 2 } }), { version: 1 });
        stub.change({ d: 3 });
        await until(() => connection.version === 2);
        assert.deepEqual(await connection.increment("/a", 4), { version: 3, value: 5 });
        assert.deepEqual(await connection.patch({ d: null, e: 6 }), { version: 4 });
        stub.tell({ type: "data.changed", version: 5, data: { whole: true } });
        await until(() => connection.version === 5);
        assert.deepEqual(await connection.remove(), { version: 5 });
        assert.deepEqual(news, [
          ["data", { a: 1, b: { c: 2 } }, 1],
          ["data", { a: 1, b: { c: 2 }, d: 3 }, 2],
          ["data", { a: 5, b: { c: 2 }, d: 3 }, 3],
          ["data", { a: 5, b: { c: 2 }, e: 6 }, 4],
          ["data", { whole: true }, 5],
        ]);
        stub.tell({ type: "data.changed", version: 6, data: null });
        await until(() => connection.version === 6);
        assert.equal(connection.data, null);
      });

      test("nobody can change what was seen", async () => {
        const connection = await connect();
        const mine = { list: [{ n: 1 }] };
        await connection.set(mine);
        const before = connection.data;
        mine.list[0].n = 2;
        assert.throws(() => (connection.data.list[0].n = 3), TypeError);
        await connection.patch({ more: { n: 4 } });
        assert.throws(() => (connection.data.more.n = 5), TypeError);
        assert.throws(() => (connection.data.other = 6), TypeError);
        assert.deepEqual(before, { list: [{ n: 1 }] });
        assert.deepEqual(connection.data, { list: [{ n: 1 }], more: { n: 4 } });
      });

      test("a listener that is taken off hears nothing more", async () => {
        const connection = await connect();
        const seen = [];
        const stop = connection.on("data", (_, version) => seen.push(version));
        await connection.set({});
        stop();
        await connection.set({});
        assert.deepEqual(seen, [1]);
      });

      test("merge patches are those of RFC 7396", async () => {
        // The cases of its appendix A that leave an object, and keys that objects have by themselves.
        const own = JSON.parse('{"__proto__": {"a": 1}, "toString": {"b": 2}}');
        const cases = [
          [{ a: "b" }, { a: "c" }, { a: "c" }],
          [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
          [{ a: "b" }, { a: null }, {}],
          [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
          [{ a: ["b"] }, { a: "c" }, { a: "c" }],
          [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
          [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
          [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
          [{ e: null }, { a: 1 }, { e: null, a: 1 }],
          [[1, 2], { a: "b", c: null }, { a: "b" }],
          [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
          [{}, own, own],
        ];
        const connection = await connect();
        for (const [data, patch, expected] of cases) {
          const version = connection.version + 2;
          stub.tell({ type: "data.changed", version: version - 1, data });
          stub.tell({ type: "data.changed", version, patch });
          await until(() => connection.version === version);
          assert.equal(JSON.stringify(connection.data), JSON.stringify(expected));
        }
      });

      test("an increment finds its place by the pointer", async () => {
        const connection = await connect();
        await connection.set({ "a/b": { "~1": [{ n: 1 }, 2] }, 0: 7 });
        const value = (n) => {
          stub.instead = ({ id }, socket) => {
            stub.version += 1;
            stub.tell({ type: "reply", id, version: stub.version, value: n }, socket);
          };
        };
        value(3);
        await connection.increment("/a~1b/~01/0/n", 2);
        value(4);
        await connection.increment("/a~1b/~01/1", 2);
        value(8);
        await connection.increment("/0");
        value(1);
        await connection.increment("/__proto__");
        const expected = '{"0":8,"a/b":{"~1":[{"n":3},4]},"__proto__":1}';
        assert.equal(JSON.stringify(connection.data), expected);
        assert.deepEqual(stub.frames.map(({ type, path, by }) => [type, path, by]).slice(1), [
          ["increment", "/a~1b/~01/0/n", 2],
          ["increment", "/a~1b/~01/1", 2],
          ["increment", "/0", 1],
          ["increment", "/__proto__", 1],
        ]);
      });

      test("a refused one is an error, and changes nothing", async () => {
        const connection = await connect();
        stub.instead = ({ id }, socket) => {
          const problem = { status: 507, code: "too-large", detail: "this is too large", retry_after: 3 };
          stub.tell({ type: "error", id, ...problem }, socket);
        };
        const { name, status, code, message, retryAfter } = await connection.set({}).catch((error) => error);
        assert.deepEqual([name, status, code, message], ["PasserbyError", 507, "too-large", "this is too large"]);
        assert.equal(retryAfter, 3);
        assert.deepEqual([connection.data, connection.version], [null, 0]);
      });

      test("what a JSON patch makes of it is asked for", async () => {
        const connection = await connect();
        stub.instead = (frame, socket) => {
          if (frame.type === "patch") stub.change({ a: 1 }, { told: false });
          const answer = { type: "reply", id: frame.id, version: 1 };
          stub.tell(frame.type === "patch" ? answer : stub.perform(frame), socket);
        };
        await connection.patch([{ op: "add", path: "/a", value: 1 }]);
        await until(() => connection.version === 1);
        assert.deepEqual(connection.data, { a: 1 });
      });

      test("a meter's use has the meter for an answer", async () => {
        const connection = await connect();
        assert.deepEqual(await connection.meter("articles", "an item"), { name: "articles", used: 1 });
        const [{ id, ...asked }] = stub.frames;
        assert.deepEqual(asked, { type: "meter", name: "articles", item: "an item" });
      });

      test("each has an id of its own", async () => {
        const connection = await connect();
        await Promise.all(Array.from({ length: 100 }, () => connection.increment("/n")));
        for (const { id } of stub.frames) assert.match(id, /^[0-9a-f]{32}$/);
        assert.equal(new Set(stub.frames.map(({ id }) => id)).size, 100);
        assert.deepEqual(connection.data, { n: 100 });
      });

      test("no more are on the way than the server remembers", async () => {
        const connection = await connect();
        const held = [];
        stub.instead = (frame, socket) => held.push([frame, socket]);
        const asked = Promise.all(Array.from({ length: 100 }, () => connection.increment("/n")));
        let most = 0;
        for (let answered = 0; answered < 100; answered += 1) {
          await until(() => held.length > 0);
          most = Math.max(most, held.length);
          const [frame, socket] = held.shift();
          stub.tell(stub.perform(frame), socket);
        }
        await asked;
        assert.ok(most <= 32, `${most}`);
        assert.deepEqual(connection.data, { n: 100 });
      });
    });

    describe("a gap", () => {
      test("is filled by asking for the whole, once", async () => {
        Object.assign(stub, { data: {}, version: 1 });
        const connection = await connect();
        const news = heard(connection, "data");
        stub.change({ a: 1 }, { told: false });
        const held = [];
        stub.instead = (...one) => held.push(one);
        stub.change({ b: 2 });
        stub.change({ c: 3 });
        await until(() => held.length > 0);
        const [[frame, socket]] = held;
        stub.tell(stub.perform(frame), socket);
        await until(() => connection.version === 4);
        stub.change({ d: 4 });
        await until(() => connection.version === 5);
        assert.deepEqual(stub.frames.map(({ type }) => type), ["get"]);
        assert.deepEqual(news, [
          ["data", { a: 1, b: 2, c: 3 }, 4],
          ["data", { a: 1, b: 2, c: 3, d: 4 }, 5],
        ]);
      });

      test("that opens again before the answer is asked for again", async () => {
        Object.assign(stub, { data: {}, version: 1 });
        const connection = await connect();
        let late;
        stub.instead = (frame, socket) => {
          late = stub.perform(frame);
          stub.change({ c: 3 });
          stub.instead = null;
          stub.tell(late, socket);
        };
        stub.change({ a: 1 }, { told: false });
        stub.change({ b: 2 });
        await until(() => connection.version === 4);
        assert.equal(late.version, 3);
        assert.deepEqual(connection.data, { a: 1, b: 2, c: 3 });
        assert.deepEqual(stub.frames.map(({ type }) => type), ["get", "get"]);
      });

      test("is there when another's change overtakes the reply to one's own", async () => {
        const connection = await connect();
        stub.instead = (frame, socket) => {
          const reply = stub.perform(frame);
          if (frame.type === "put") stub.change({ b: 2 });
          stub.tell(reply, socket);
        };
        await connection.set({ a: 1 });
        await until(() => connection.version === 2);
        assert.deepEqual(connection.data, { a: 1, b: 2 });
      });
    });

    describe("a lost connection", () => {
      test("comes back after pauses that grow and are random, and are short again afterwards", async () => {
        const parts = [1, 0.5, 0.25, 1, 1, 1, 1, 1, 0];
        const connection = await connect({ random: () => parts.shift() });
        const news = heard(connection, "status");
        stub.answers = Array.from({ length: 8 }, () => [503, {}]);
        stub.cut();
        const waited = [];
        for (let n = 0; n < 8; n += 1) waited.push(await pauses.next());
        assert.deepEqual(waited, [250, 250, 250, 2000, 4000, 8000, 15_000, 15_000]);
        assert.deepEqual(news, [["status", "connecting"]]);
        assert.equal(await reopened(connection), 0);
        parts.push(1);
        stub.cut();
        assert.equal(await reopened(connection), 250);
        assert.deepEqual(news.map(([, status]) => status), ["connecting", "open", "connecting", "open"]);
      });

      test("comes back within five seconds when the server restarts", async () => {
        const connection = await connect({ random: () => 0.5 });
        stub.cut(1012);
        assert.equal(await reopened(connection), 2500);
      });

      test("asks again, for the same, what nobody knows the outcome of", async () => {
        const connection = await connect({ random: () => 0 });
        const [asked] = await Promise.all([
          connection.increment("/n"),
          (async () => {
            stub.instead = ({ id }, socket) => {
              stub.instead = null;
              const detail = "nobody knows whether it was done";
              stub.tell({ type: "error", id, status: 503, code: "outcome-unknown", detail }, socket);
              stub.cut(1012);
            };
            await reopened(connection);
          })(),
        ]);
        assert.equal(asked.value, 1);
        const ids = stub.frames.filter(({ type }) => type === "increment").map(({ id }) => id);
        assert.deepEqual([ids.length, new Set(ids).size], [2, 1]);
      });

      test("is resumed where it was", async () => {
        Object.assign(stub, { data: { a: 1 }, version: 3 });
        const connection = await connect();
        const news = heard(connection, "data");
        stub.cut();
        await reopened(connection);
        assert.deepEqual(news, []);
        const { greet } = stub;
        stub.greet = (socket, since) => {
          const { user: user_id, anonymous, version } = stub;
          stub.tell({ type: "hello", user_id, session_id: "a session", anonymous, version }, socket);
          stub.tell({ type: "data.changed", version: since + 1, patch: { b: 2 } }, socket);
          stub.tell({ type: "data.changed", version: since + 2, patch: { c: 3 } }, socket);
        };
        stub.cut();
        stub.change({ b: 2 }, { told: false });
        stub.change({ c: 3 }, { told: false });
        await reopened(connection);
        await until(() => connection.version === 5);
        stub.greet = greet;
        stub.cut();
        stub.change({ d: 4 }, { told: false });
        await reopened(connection);
        assert.deepEqual(opening(), ["", "?since=3", "?since=3", "?since=5"].map((since) => `GET /v1/socket${since}`));
        assert.deepEqual(news, [
          ["data", { a: 1, b: 2 }, 4],
          ["data", { a: 1, b: 2, c: 3 }, 5],
          ["data", { a: 1, b: 2, c: 3, d: 4 }, 6],
        ]);
      });

      test("takes an older document, as of a restored backup", async () => {
        Object.assign(stub, { data: { a: 1 }, version: 9 });
        const connection = await connect();
        stub.cut();
        Object.assign(stub, { data: { a: 0 }, version: 2 });
        await reopened(connection);
        assert.deepEqual([connection.data, connection.version], [{ a: 0 }, 2]);
        await connection.increment("/a");
        assert.deepEqual([connection.data, connection.version], [{ a: 1 }, 3]);
      });

      test("loses no reply, and nothing is done twice", async () => {
        const connection = await connect();
        const news = heard(connection, "data");
        // done, and nobody is told; then not even heard
        stub.instead = (frame) => {
          stub.perform(frame);
          stub.cut();
          stub.instead = () => stub.cut();
        };
        const asked = [connection.increment("/n"), connection.increment("/n"), connection.increment("/n")];
        await until(() => pauses.length === 1);
        const sent = stub.frames.length;
        await pauses.next();
        await until(() => stub.frames.length > sent);
        stub.instead = null;
        await reopened(connection);
        assert.deepEqual(await Promise.all(asked), [1, 2, 3].map((n) => ({ version: n, value: n })));
        assert.deepEqual(stub.data, { n: 3 });
        assert.deepEqual(connection.data, { n: 3 });
        assert.equal(new Set(stub.frames.map(({ id }) => id)).size, 3);
        assert.deepEqual(news.map(([, , version]) => version), [1, 2, 3]);
      });

      test("is given up when a reply takes too long", async () => {
        const connection = await connect();
        stub.instead = (frame) => stub.perform(frame);
        const asked = connection.increment("/n");
        await until(() => stub.frames.length === 1);
        stub.instead = null;
        const [late] = pauses.late;
        late();
        await reopened(connection);
        assert.deepEqual(await asked, { version: 1, value: 1 });
        assert.deepEqual(connection.data, { n: 1 });
        late();
        await connection.increment("/n");
        assert.equal(opening().length, 2);
      });

      test("holds back what is asked meanwhile", async () => {
        const connection = await connect();
        stub.cut();
        await until(() => connection.status === "connecting");
        const asked = Promise.all([connection.set({ a: 1 }), connection.increment("/a"), connection.meter("articles")]);
        assert.deepEqual(stub.frames, []);
        await reopened(connection);
        assert.deepEqual((await asked)[1], { version: 2, value: 2 });
        assert.deepEqual(connection.data, { a: 2 });
        assert.deepEqual(stub.frames.map(({ type }) => type), ["put", "increment", "meter"]);
      });
    });

    describe("the end", () => {
      /** How a connection ended: its events, and what became of a request on the way and of one after it. */
      const ended = async (connection, end) => {
        const news = heard(connection, "ended", "status");
        stub.instead = () => {};
        const waiting = connection.set({}).catch(({ code }) => code);
        await until(() => stub.frames.length > 0);
        await end();
        await until(() => connection.status === "closed");
        await until(() => stub.sockets.size === 0);
        assert.equal(pauses.length, 0);
        const codes = [await waiting, await connection.increment("/n").catch(({ code }) => code)];
        return { codes, news: news.map(([type, fact]) => [type, fact.code ?? fact]) };
      };
      const asEnded = (code, ...before) => {
        const news = [...before, ["status", "closed"], ["ended", code]];
        return { codes: [code, code], news };
      };

      for (const reason of ["logged-out", "expired", "deleted", "disabled", "linked", "ended"]) {
        test(`of a session that is ${reason} is for good`, async () => {
          const connection = await connect();
          const end = () => {
            stub.tell({ type: "session.ended", reason });
            stub.cut(4001);
          };
          assert.deepEqual(await ended(connection, end), asEnded(reason));
        });
      }

      test("may come without a reason", async () => {
        assert.deepEqual(await ended(await connect(), () => stub.cut(4001)), asEnded("session-ended"));
      });

      for (const status of [401, 403]) {
        test(`is also what a refusal with ${status} means later`, async () => {
          const connection = await connect();
          const end = async () => {
            stub.answers.push([status, { code: "no" }]);
            stub.cut();
            await pauses.next();
          };
          assert.deepEqual(await ended(connection, end), asEnded("no", ["status", "connecting"]));
        });
      }

      test("comes with a merge, if there is a token", async () => {
        const connection = await connect();
        const news = heard(connection, "merged");
        const end = () => {
          stub.tell({ type: "session.merged", user_id: "another", merged_user_id: stub.user });
          stub.cut(4001);
        };
        assert.deepEqual(await ended(connection, end), asEnded("merged"));
        assert.deepEqual(news, [["merged", "another", "a user"]]);
      });

      test("comes with a token of somebody else", async () => {
        const connection = await connect();
        const end = async () => {
          stub.user = "another";
          stub.cut();
          await pauses.next();
        };
        assert.deepEqual(await ended(connection, end), asEnded("other-user", ["status", "connecting"]));
        assert.equal(connection.user, "a user");
      });

      test("is nobody's news who closed it", async () => {
        const connection = await connect();
        const end = async () => {
          await connection.close();
          stub.change({ late: true });
        };
        const outcome = await ended(connection, end);
        assert.deepEqual(outcome, { codes: ["closed", "closed"], news: [["status", "closed"]] });
        assert.equal(connection.data, null);
      });

      test("may come while it waits to come back", async () => {
        const connection = await connect();
        stub.cut();
        await until(() => pauses.length === 1);
        await connection.close();
        await pauses.next();
        await until(() => stub.requests.length === 3);
        assert.deepEqual(stub.requests.slice(2), ["POST /v1/socket-ticket"]);
        assert.equal(connection.status, "closed");
      });

      test("may be asked for by who hears of a change", async () => {
        const connection = await connect();
        stub.cut();
        stub.change({ a: 1 }, { told: false });
        connection.on("data", () => connection.close());
        await pauses.next();
        await until(() => connection.status === "closed");
        assert.equal(pauses.length, 0);
      });
    });

    test("what happens to the session is told", async () => {
      const connection = await connect();
      const news = heard(connection, "linked", "merged", "expiring", "ended");
      stub.tell({ type: "session.linked", session_id: "a session" });
      stub.tell({ type: "session.merged", user_id: stub.user, merged_user_id: "another" });
      stub.tell({ type: "expiring", at: "2026-01-31T12:00:00Z" });
      stub.tell({ type: "of a later version" });
      await until(() => news.length === 3);
      assert.deepEqual(news, [["linked"], ["merged", "a user", "another"], ["expiring", "2026-01-31T12:00:00Z"]]);
      assert.equal(connection.anonymous, false);
      assert.equal(connection.status, "open");
    });

    describe("by cookie", () => {
      let here;

      // Where the modules are from is where their Passerby is.
      beforeEach(async () => {
        here = await files((text) => text.replaceAll("import.meta.url", JSON.stringify(stub.url)));
        // Node 20 has none, and pages without TLS have one without locks.
        globalThis.navigator ??= {};
      });
      afterEach(() => here.remove());

      const connect = async () => {
        const { connect } = await import(pathToFileURL(join(here.home, "live.js")));
        const { setTimeout } = pauses;
        const connection = await connect({ WebSocket, setTimeout, random: () => 1 });
        connections.push(connection);
        return connection;
      };

      test("it makes a reader at first, and later asks whether it is the same", async () => {
        const connection = await connect();
        assert.deepEqual(stub.offered, [["passerby.v1"]]);
        stub.cut();
        assert.equal(await reopened(connection), 250);
        assert.deepEqual(stub.requests, [
          "POST /v1/sessions",
          "GET /v1/socket",
          "GET /v1/session",
          "GET /v1/socket?since=0",
        ]);
      });

      test("it goes on as who the reader became part of, once the browser has the cookie", async () => {
        Object.assign(stub, { data: { a: 1 }, version: 5 });
        const connection = await connect();
        const news = heard(connection, "merged", "ended", "data");
        stub.instead = () => {};
        const lost = connection.increment("/a").catch(({ code }) => code);
        await until(() => stub.frames.length > 0);
        stub.tell({ type: "session.merged", user_id: "another", merged_user_id: stub.user });
        stub.cut(4001);
        stub.answers.push([401, { code: "no-reader" }], [200, { user_id: "another", aliases: ["a user"] }]);
        Object.assign(stub, { user: "another", anonymous: false, data: { b: 2 }, version: 5, instead: null });
        assert.equal(await pauses.next(), 250);
        assert.equal(await reopened(connection), 500);
        assert.equal(await lost, "merged");
        assert.deepEqual(news, [["merged", "another", "a user"], ["data", { b: 2 }, 5]]);
        assert.deepEqual([connection.user, connection.anonymous], ["another", false]);
        assert.equal(stub.requests.at(-1), "GET /v1/socket");
        assert.equal(stub.requests.filter((line) => line === "POST /v1/sessions").length, 1);
      });

      test("it notices a merge that nobody told it of", async () => {
        const connection = await connect();
        const news = heard(connection, "merged", "ended");
        stub.cut();
        stub.user = "another";
        stub.answers.push([200, { user_id: "another", aliases: ["a user"] }]);
        await reopened(connection);
        assert.deepEqual(news, [["merged", "another", "a user"]]);
        assert.equal(connection.user, "another");
      });

      test("it ends if the cookie of a merge never comes", async () => {
        const connection = await connect();
        const news = heard(connection, "ended");
        stub.tell({ type: "session.merged", user_id: "another", merged_user_id: stub.user });
        stub.cut(4001);
        stub.answers = Array.from({ length: 6 }, () => [401, { code: "no-reader" }]);
        for (const pause of [250, 500, 1000, 2000, 4000, 8000]) assert.equal(await pauses.next(), pause);
        await until(() => connection.status === "closed");
        assert.deepEqual(news.map(([, { code }]) => code), ["no-reader"]);
      });

      test("it ends if somebody else reads here now", async () => {
        const connection = await connect();
        const news = heard(connection, "ended");
        stub.cut();
        stub.user = "somebody else";
        await pauses.next();
        await until(() => connection.status === "closed");
        assert.deepEqual(news.map(([, { code }]) => code), ["other-user"]);
      });
    });
  });

  describe("with Passerby", () => {
    let browser;
    let server;
    let site;
    let connections;

    before(async () => {
      site = await new Site().listen();
      const home = await mkdtemp(join(tmpdir(), "passerby-client-test-"));
      const settings = `
        allowed_origins = ["${site.url}"]
        [meter.articles]
        limit = 3
        window = "month"
        [provider.local_userpass.config]
        autoConfirm = true
      `;
      await writeFile(join(home, "passerby.toml"), settings);
      server = await new Server(home, []).start();
      browser = await startBrowser();
    });
    after(async () => {
      await browser?.close();
      await server?.close();
      await site?.close();
    });
    beforeEach(() => {
      connections = [];
    });
    afterEach(() => Promise.all(connections.map((connection) => connection.close())));

    const begin = async () => (await call(server.url, "POST", "/v1/sessions")).body;
    const connect = async (token) => {
      // A fraction of each pause, and never none, or it would ask without a rest.
      const connection = await live.connect({ token, base: server.url, WebSocket, random: () => 0.1 });
      connections.push(connection);
      return connection;
    };
    const link = async (token, email, more = {}) => {
      const credential = { email, password: "a long password" };
      await call(server.url, "POST", "/v1/registrations", undefined, credential);
      const identity = { provider: "local-userpass", ...credential, ...more };
      const { status, body } = await call(server.url, "POST", "/v1/user/identities", token, identity);
      assert.equal(status, 200, JSON.stringify(body));
      return body;
    };

    test("it is served, and small", async () => {
      const response = await fetch(`${server.url}/passerby-live.js`);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "text/javascript; charset=utf-8");
      assert.equal(response.headers.get("cross-origin-resource-policy"), "cross-origin");
      const text = await response.text();
      assert.equal(text, await source("live.js"));
      const size = gzipSync(text, { level: 9 }).length;
      assert.ok(size < MOST_BYTES, `${size} bytes`);
    });

    test("sees the same as everybody, whatever is done at once", async () => {
      const { access_token: token, user_id } = await begin();
      const [one, other] = [await connect(token), await connect(token)];
      assert.deepEqual([one.user, one.anonymous, one.version, one.data], [user_id, true, 0, null]);
      const news = [one, other].map((connection) => heard(connection, "data"));
      await one.set({ n: 0, "a/b": { list: [{ n: 1 }] }, gone: true });
      const rounds = Array.from({ length: 40 }, (_, n) => n);
      await Promise.all([
        ...rounds.map((n) => one.increment("/n")),
        ...rounds.map((n) => other.increment("/n")),
        ...rounds.map((n) => one.patch({ items: { [`one ${n}`]: { text: "é\u2028", at: n } } })),
        ...rounds.map((n) => other.patch({ items: { [`other ${n}`]: [n, null] }, gone: null })),
        one.increment("/a~1b/list/0/n", 1.5),
        other.patch([{ op: "add", path: "/patched", value: null }]),
      ]);
      const { body } = await call(server.url, "GET", "/v1/data", token);
      assert.equal(body.n, 80);
      assert.equal(Object.keys(body.items).length, 80);
      for (const connection of [one, other]) {
        await until(() => connection.version === 163);
        assert.deepEqual(connection.data, body);
      }
      for (const told of news) {
        const versions = told.map(([, , version]) => version);
        assert.deepEqual(versions, [...new Set(versions)].sort((a, b) => a - b));
      }
      await other.remove();
      await until(() => one.version === 164);
      assert.equal(one.data, null);
    });

    test("says what is refused, and counts", async () => {
      const { access_token: token } = await begin();
      const connection = await connect(token);
      const codes = [connection.set({ large: "x".repeat(20_000) }), connection.increment(""), connection.meter("none")];
      const refused = await Promise.all(codes.map((asked) => asked.catch(({ name, status }) => [name, status])));
      assert.deepEqual(refused, [413, 409, 404].map((status) => ["PasserbyError", status]));
      const { used, remaining, allowed } = await connection.meter("articles", "an item");
      assert.deepEqual([used, remaining, allowed], [1, 2, true]);
      assert.equal(connection.version, 0);
    });

    test("loses nothing and does nothing twice while the server is killed again and again", async () => {
      const { access_token: token } = await begin();
      const both = [await connect(token), await connect(token)];
      const values = [];
      let asked = 0;
      let goesOn = true;
      const work = async (connection) => {
        while (goesOn) {
          asked += 1;
          values.push((await connection.increment("/n")).value);
        }
      };
      const working = both.flatMap((connection) => [work(connection), work(connection), work(connection)]);
      for (let kills = 0; kills < 3; kills += 1) {
        const enough = values.length + 60;
        await until(() => values.length >= enough, "increments");
        await server.kill();
        await server.start();
      }
      goesOn = false;
      await Promise.all(working);
      assert.deepEqual(values.sort((a, b) => a - b), Array.from({ length: asked }, (_, n) => n + 1));
      const { body } = await call(server.url, "GET", "/v1/data", token);
      assert.deepEqual(body, { n: asked });
      for (const connection of both) {
        await until(() => connection.version === asked);
        assert.deepEqual(connection.data, body);
      }
    });

    test("comes back when the server was stopped in peace, and has what was missed", async () => {
      const { access_token: token } = await begin();
      const connection = await connect(token);
      await connection.set({ n: 1 });
      const news = heard(connection, "data", "status");
      await server.stop();
      await until(() => connection.status === "connecting");
      const asked = connection.increment("/n");
      await server.start();
      const { body } = await call(server.url, "POST", "/v1/data/increment", token, { path: "/m" });
      assert.ok(body.version === 2 || body.version === 3);
      assert.equal((await asked).value, 2);
      await until(() => connection.version === 3);
      assert.deepEqual(connection.data, { n: 2, m: 1 });
      assert.deepEqual(news.filter(([type]) => type === "status").map(([, status]) => status), ["connecting", "open"]);
    });

    test("more than the server takes is refused, and the rest goes on", async () => {
      const { access_token: token } = await begin();
      const connection = await connect(token);
      const [small, large, other] = await Promise.allSettled([
        connection.patch({ small: 1 }),
        connection.patch({ large: "x".repeat(70_000) }),
        connection.patch({ other: 2 }),
      ]);
      assert.deepEqual([large.reason.status, large.reason.code], [413, "body-too-large"]);
      assert.deepEqual([small.status, other.status], ["fulfilled", "fulfilled"]);
      assert.deepEqual(connection.data, { small: 1, other: 2 });
    });

    test("is told what becomes of the session", async () => {
      const [one, two] = [await begin(), await begin()];
      const [first, second] = [await connect(one.access_token), await connect(two.access_token)];
      const news = [first, second].map((connection) => heard(connection, "linked", "merged", "ended"));
      await second.set({ mine: 1 });
      const { access_token: token } = await link(one.access_token, "live@example.com");
      await until(() => !first.anonymous);
      await link(two.access_token, "live@example.com", { on_conflict: "merge" });
      await until(() => second.status === "closed" && first.version === 2);
      assert.deepEqual(first.data, { mine: 1 });
      await call(server.url, "DELETE", "/v1/session", token);
      await until(() => first.status === "closed");
      const merged = ["merged", one.user_id, two.user_id];
      const told = ([type, ...facts]) => [type, ...facts.map((fact) => fact.code ?? fact)];
      assert.deepEqual(news.map((some) => some.map(told)), [
        [["linked"], merged, ["ended", "logged-out"]],
        [merged, ["ended", "merged"]],
      ]);
      await assert.rejects(connect(token), { name: "PasserbyError", status: 401 });
    });

    test("two tabs see what either does, over a server that is killed and comes back", async (t) => {
      const device = await browser.newDevice(t);
      // What the document and the connection are is on the body, where a tab that is not in front is waited for too.
      const work = async (_, origin) => {
        const { connect } = await import(`${origin}/passerby-live.js`);
        const connection = await connect();
        const { body } = document;
        const versions = [];
        let done = 0;
        const show = () => {
          const once = versions.every((version, n) => n === 0 || version > versions[n - 1]);
          Object.assign(body.dataset, { n: connection.data?.n ?? 0, status: connection.status, done, once });
        };
        connection.on("data", (_, version) => versions.push(version));
        for (const type of ["data", "status"]) connection.on(type, show);
        const button = Object.assign(document.createElement("button"), { id: "more", textContent: "more" });
        button.addEventListener("click", async () => {
          await connection.increment("/n");
          done += 1;
          show();
        });
        body.append(button);
        show();
        return connection.user;
      };
      const open = async () => {
        const tab = await device.open(site.url + site.page(work, { args: [server.url], script: server.url }));
        await tab.see("#result");
        return { tab, user: JSON.parse(await tab.read("#result")).value };
      };
      const [one, other] = [await open(), await open()];
      assert.equal(one.user, other.user);
      const both = [one.tab, other.tab];
      const all = (selector) => Promise.all(both.map((tab) => tab.see(selector)));

      await one.tab.click("#more");
      await all("[data-n='1']");
      await other.tab.click("#more");
      await all("[data-n='2']");
      await server.kill();
      await all("[data-status=connecting]");
      for (const tab of [one.tab, other.tab, one.tab]) await tab.click("#more");
      await server.start();
      await all("[data-n='5'][data-status=open][data-once=true]");
      await one.tab.see("[data-done='3']");
      await other.tab.see("[data-done='2']");
    });
  });
});
