// /passerby-live.js against a server that fails on purpose, where no pause is waited for: how it opens, changes and comes back.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { heard, importLive, startStub, until } from "../kit/live.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { TOKEN } from "../kit/socket-stub.mjs";

describe("/passerby-live.js", { timeout: SUITE_DEADLINE }, () => {
  let live, remove;
  before(async () => {
    ({ live, remove } = await importLive());
  });
  after(() => remove?.());

  describe("with a server that fails on purpose", () => {
    let all, stub, pauses, connect, reopened;
    beforeEach(async () => {
      all = await startStub(live);
      ({ stub, pauses, connect, reopened } = all);
    });
    afterEach(() => all.close());

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

      test("a token may be a new one each time", async () => {
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

      test("what was seen cannot be changed", async () => {
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

      test("is there when a foreign change overtakes the reply to one's own", async () => {
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

      test("asks again, for the same, where the outcome is not known", async () => {
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
        // done, and no one is told; then not even heard
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
  });
});
