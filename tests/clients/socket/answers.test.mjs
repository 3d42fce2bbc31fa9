// What a socket answers to each request.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { assertHeard, isRequest, PROTOCOL } from "../kit/asyncapi.mjs";
import { all, range } from "../kit/many.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { Client, Device, MOST_FRAME, startPasserby } from "../kit/socket.mjs";
import { DEADLINE, until, within } from "../kit/wait.mjs";

const MOST_DOCUMENT = 16_384;

describe("the socket", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startPasserby(null);
  });
  after(() => server?.close());

  describe("answers", () => {
    test("every type of request", async () => {
      const client = await (await Device.anonymous(server)).open();
      assert.deepEqual(await client.does("get"), { version: 0, data: null });
      assert.deepEqual(await client.does("put", { data: { a: 1, list: [1], deep: { b: true } } }), { version: 1 });
      assert.deepEqual(await client.does("patch", { patch: { a: null, deep: { c: "ü\u2028" } } }), { version: 2 });
      const patch = [
        { op: "test", path: "/deep/b", value: true },
        { op: "add", path: "/list/-", value: 2 },
      ];
      assert.deepEqual(await client.does("patch", { patch, if_version: 2 }), { version: 3 });
      assert.deepEqual(await client.does("increment", { path: "/n" }), { version: 4, value: 1 });
      assert.deepEqual(await client.does("increment", { path: "/n", by: -2.5 }), { version: 5, value: -1.5 });
      const data = { list: [1, 2], deep: { b: true, c: "ü\u2028" }, n: -1.5 };
      assert.deepEqual(await client.does("get"), { version: 5, data });
      assert.deepEqual(await client.does("delete", { if_version: 5 }), { version: 6 });
      assert.deepEqual(await client.does("get"), { version: 6, data: null });
      assert.deepEqual(await client.does("put", { data: {}, if_version: 0 }), { version: 7 });
      const { meter } = await client.does("meter", { name: "articles", item: "a" });
      assert.deepEqual(
        [meter.name, meter.used, meter.limit, meter.remaining, meter.allowed],
        ["articles", 1, 3, 2, true],
      );
      assert.equal(
        (await client.does("meter", { name: "articles", item: "a" })).meter.used,
        1,
        "an item counts once",
      );
      assert.equal((await client.does("meter", { name: "articles", amount: 2 })).meter.used, 3);
      assert.equal((await client.does("meter", { name: "articles", item: "b" })).meter.allowed, false);
      await client.close();
    });

    test("what HTTP answers", async () => {
      const device = await Device.anonymous(server);
      const client = await device.open();
      const data = { text: "\u0000\ud83d\ude00", big: 1e300, nested: [[{}]] };
      await client.does("put", { data });
      assert.deepEqual(await device.data(), data);
      await client.does("meter", { name: "articles", item: "x" });
      const { body } = await device.call("GET", "/v1/meters");
      assert.equal(JSON.stringify(body).match(/"used":(\d+)/)[1], "1");
      await client.close();
    });

    /** Requests that are refused, each with status and code. */
    const text = "x".repeat(MOST_DOCUMENT);
    const deep = JSON.parse(`${'{"a":'.repeat(40)}1${"}".repeat(40)}`);
    const REFUSED = [
      [{ type: "get", id: undefined }, 400, "bad-id"],
      [{ type: "get", id: null }, 400, "bad-id"],
      [{ type: "get", id: 12345678901234567 }, 400, "bad-id"],
      [{ type: "get", id: "x".repeat(15) }, 400, "bad-id"],
      [{ type: "get", id: "x".repeat(65) }, 400, "bad-id"],
      [{}, 400, "unknown-type"],
      [{ type: null }, 400, "unknown-type"],
      [{ type: 1 }, 400, "unknown-type"],
      [{ type: "GET" }, 400, "unknown-type"],
      [{ type: "hello" }, 400, "unknown-type"],
      [{ type: "get", data: 1 }, 422, "unknown-field"],
      [{ type: "put", data: {}, ifVersion: 1, dry_run: true }, 422, "unknown-field"],
      [{ type: "patch", data: {} }, 422, "unknown-field"],
      [{ type: "increment", path: "/n", amount: 2 }, 422, "unknown-field"],
      [{ type: "delete", version: 1 }, 422, "unknown-field"],
      [{ type: "meter", name: "articles", if_version: 1 }, 422, "unknown-field"],
      [{ type: "put" }, 400, "not-an-object"],
      [{ type: "put", data: null }, 400, "not-an-object"],
      [{ type: "put", data: [] }, 400, "not-an-object"],
      [{ type: "put", data: {}, if_version: -1 }, 400, "bad-field"],
      [{ type: "put", data: {}, if_version: 1.5 }, 400, "bad-field"],
      [{ type: "put", data: {}, if_version: "1" }, 400, "bad-field"],
      [{ type: "put", data: {}, if_version: 99 }, 412, "version-mismatch"],
      [{ type: "put", data: {}, if_version: 0 }, 412, "version-mismatch"],
      [{ type: "put", data: { text } }, 413, "data-too-large"],
      [{ type: "put", data: deep }, 400, "data-too-deep"],
      [{ type: "patch" }, 400, "bad-patch"],
      [{ type: "patch", patch: "x" }, 400, "bad-patch"],
      [{ type: "patch", patch: null }, 400, "bad-patch"],
      [{ type: "patch", patch: [{ op: "grow", path: "/n" }] }, 400, "bad-patch"],
      [{ type: "patch", patch: [{}] }, 400, "bad-patch"],
      [{ type: "patch", patch: [{ op: "remove", path: "/nothing" }] }, 409, "patch-conflict"],
      [{ type: "patch", patch: [{ op: "test", path: "/n", value: 2 }] }, 409, "patch-conflict"],
      [{ type: "patch", patch: [{ op: "replace", path: "", value: [] }] }, 409, "not-an-object"],
      [{ type: "patch", patch: { text } }, 413, "data-too-large"],
      [{ type: "patch", patch: { a: 1 }, if_version: 99 }, 412, "version-mismatch"],
      [{ type: "increment" }, 400, "bad-field"],
      [{ type: "increment", path: 1 }, 400, "bad-field"],
      [{ type: "increment", path: "/n", by: "1" }, 400, "bad-field"],
      [{ type: "increment", path: "/text" }, 409, "not-a-number"],
      [{ type: "increment", path: "" }, 409, "not-a-number"],
      [{ type: "increment", path: "/no/where" }, 409, "not-a-number"],
      [{ type: "increment", path: "n" }, 400, "bad-field"],
      [{ type: "increment", path: "/large", by: 1e308 }, 409, "number-too-large"],
      [{ type: "increment", path: "/n", if_version: 99 }, 412, "version-mismatch"],
      [{ type: "delete", if_version: 99 }, 412, "version-mismatch"],
      [{ type: "meter" }, 400, "bad-field"],
      [{ type: "meter", name: "nothing" }, 404, "no-such-meter"],
      [{ type: "meter", name: "articles", item: 1 }, 400, "bad-field"],
      [{ type: "meter", name: "articles", amount: 0 }, 400, "bad-field"],
      [{ type: "meter", name: "articles", amount: 1_000_001 }, 400, "bad-field"],
      [{ type: "meter", name: "articles", amount: "1" }, 400, "bad-field"],
    ];

    test("every error, as HTTP does, and nothing is changed by it", async () => {
      const device = await Device.anonymous(server);
      const [client, other] = [await device.open(), await device.open()];
      const data = { n: 1, text: "t", large: 1e308 };
      await client.does("put", { data });
      await other.isTold({ type: "data.changed", version: 1, data });
      // All at once: the answers come in the order of the questions all the same.
      const answers = REFUSED.map(([request]) => {
        const id = "id" in request ? request.id : randomUUID();
        const sent = { ...request, id };
        return [sent, client.send(JSON.stringify(sent), isRequest(request.type) ? request.type : "unknown")];
      });
      for (const [index, [sent, answer]] of answers.entries()) {
        const [, status, code] = REFUSED[index];
        const { detail, ...error } = await within(DEADLINE, JSON.stringify(sent), answer);
        const id = code === "bad-id" ? null : sent.id;
        const version = code === "version-mismatch" ? { version: 1 } : {};
        assert.deepEqual(error, { type: "error", id, status, code, ...version }, JSON.stringify(sent).slice(0, 200));
        assert.ok(detail.length > 0);
      }
      assert.deepEqual(await client.does("get"), { version: 1, data });
      await client.does("patch", { patch: { n: 2 } });
      const { version } = await other.push();
      assert.equal(version, 2, "nothing was told meanwhile");
      await Promise.all([client.close(), other.close()]);
    });

    test("507 where documents have no more room", async (t) => {
      const own = await startPasserby(t, { PASSERBY_DATA_MAX_BYTES: 1000 });
      const client = await (await Device.anonymous(own)).open();
      const [id, data] = [randomUUID(), { large: "x".repeat(2000) }];
      await client.does("put", { data }, id);
      const { status, code } = await client.ask("patch", { patch: { more: "x" } });
      assert.deepEqual([status, code], [507, "data-full"]);
      assert.deepEqual(await client.does("put", { data }, id), { version: 1 }, "what was done is answered again");
      assert.deepEqual(await client.does("put", { data: { small: true } }), { version: 2 });
      await client.close();
    });

    test("429 beyond the changes that may wait, each of which is done or not", async () => {
      const device = await Device.anonymous(server);
      const clients = [];
      while (clients.length < 300) clients.push(...(await all(50, () => device.open())));
      const [done, refused] = [[], []];
      // How many wait at a time is up to the disk: until it is too many.
      await until("a refusal", async () => {
        const answers = await Promise.all(clients.map((client) => client.ask("increment", { path: "/n" })));
        for (const answer of answers) (answer.type === "reply" ? done : refused).push(answer);
        return refused.length > 0 ? true : undefined;
      });
      for (const { status, code, retry_after } of refused) {
        assert.deepEqual([status, code, retry_after], [429, "too-many-changes", 1]);
      }
      assert.deepEqual(await device.data(), { n: done.length });
      await Promise.all(clients.map((client) => client.close()));
    });

    test("with the code and the words of HTTP", async () => {
      const device = await Device.anonymous(server);
      const client = await device.open();
      await client.does("put", { data: { n: "text" } });
      for (const [type, fields, method, path, body] of [
        ["increment", { path: "/n" }, "POST", "/v1/data/increment", { path: "/n" }],
        ["put", { data: { text } }, "PUT", "/v1/data", { text }],
        ["meter", { name: "nothing" }, "POST", "/v1/meters/nothing", {}],
      ]) {
        const { status, code, detail } = await client.ask(type, fields);
        const answer = await device.call(method, path, body);
        assert.deepEqual([status, code, detail], [answer.body.status, answer.body.code, answer.body.detail]);
      }
      await client.close();
    });

    test("a thousand requests in a row in their order", async () => {
      const client = await (await Device.anonymous(server)).open();
      const asked = range(1000, (n) =>
        n % 10 === 9
          ? client.ask("increment", { path: "/n", if_version: 1_000_000 })
          : client.ask(n % 3 ? "increment" : "get", n % 3 ? { path: "/n" } : {}),
      );
      const answers = await Promise.all(asked);
      const values = answers.filter(({ value }) => value !== undefined).map(({ value }) => value);
      assert.deepEqual(
        values,
        range(values.length, (n) => n + 1),
      );
      const versions = answers.filter(({ version }) => version !== undefined).map(({ version }) => version);
      assert.ok(versions.every((version, n) => n === 0 || version >= versions[n - 1]));
      await client.close();
    });

    test("the same request once", async () => {
      const device = await Device.anonymous(server);
      const [one, other] = [await device.open(), await device.open()];
      const id = randomUUID();
      assert.deepEqual(await one.does("increment", { path: "/n" }, id), { version: 1, value: 1 });
      await one.does("increment", { path: "/n" });
      assert.deepEqual(
        await one.does("increment", { path: "/n" }, id),
        { version: 1, value: 1 },
        "on the same socket",
      );
      assert.deepEqual(await other.does("increment", { path: "/n" }, id), { version: 1, value: 1 }, "on another");
      const third = await (await device.another()).open();
      assert.deepEqual(
        await third.does("increment", { path: "/n" }, id),
        { version: 1, value: 1 },
        "of another session",
      );
      const response = await fetch(`${server.url}/v1/data/increment`, {
        method: "POST",
        headers: { authorization: `Bearer ${device.token}`, "idempotency-key": id },
        body: '{"path":"/n"}',
      });
      assert.deepEqual(await response.json(), { version: 1, value: 1 }, "over HTTP");
      const reused = await one.ask("increment", { path: "/m" }, id);
      assert.deepEqual([reused.status, reused.code], [422, "idempotency-key-reused"], "another change");
      // What was refused is not done, and may be asked for again.
      const later = randomUUID();
      assert.equal((await one.ask("put", { data: {}, if_version: 9 }, later)).status, 412);
      assert.deepEqual(await one.does("put", { data: {}, if_version: 2 }, later), { version: 3 });
      // Many at once.
      const same = randomUUID();
      const answers = await all(30, (n) => [one, other, third][n % 3].does("increment", { path: "/n" }, same));
      for (const answer of answers) assert.deepEqual(answer, { version: 4, value: 1 });
      const used = randomUUID();
      await one.does("meter", { name: "articles" }, used);
      assert.equal((await other.does("meter", { name: "articles" }, used)).meter.used, 1);
      await Promise.all([one.close(), other.close(), third.close()]);
    });

    test("Python's websockets", async () => {
      const device = await Device.anonymous(server);
      const python = await device.python();
      assert.deepEqual(await python.event(), { open: PROTOCOL });
      assert.equal((await python.frame()).type, "hello");
      const ask = async (type, fields) => {
        const id = randomUUID();
        python.command({ send: JSON.stringify({ id, type, ...fields }) });
        const frame = await python.frame(type);
        assert.equal(frame.id, id);
        return frame;
      };
      assert.equal((await ask("get")).data, null);
      assert.equal((await ask("put", { data: { n: 1 } })).version, 1);
      assert.equal((await ask("patch", { patch: { a: "ä" } })).version, 2);
      assert.equal((await ask("increment", { path: "/n" })).value, 2);
      assert.equal((await ask("put", { data: {}, if_version: 1 })).status, 412);
      assert.equal((await ask("meter", { name: "articles" })).meter.used, 1);
      assert.deepEqual((await ask("get")).data, { n: 2, a: "ä" });
      // In fragments, one of which is empty and one of which ends within a character.
      const whole = JSON.stringify({ id: randomUUID(), type: "patch", patch: { long: "ß".repeat(3000) } });
      python.command({
        fragments: [whole.slice(0, 100), "", ...range(40, (n) => whole.slice(100 + n * 100, 200 + n * 100))],
      });
      assert.equal((await python.frame("patch")).version, 4);
      python.command({ ping: true });
      assert.deepEqual(await python.event(), { pong: true });
      await device.call("PUT", "/v1/data", { by: "HTTP" });
      assert.deepEqual(await python.frame(), { type: "data.changed", version: 5, data: { by: "HTTP" } });
      assert.equal((await ask("delete")).version, 6);
      await device.call("DELETE", "/v1/session");
      assert.deepEqual(await python.frame(), { type: "session.ended", reason: "logged-out" });
      assert.deepEqual(await python.event(), { closed: 4001 });
      await python.ended;
    });

    test("Python's websockets where it is refused, and where it is wrong", async () => {
      const device = await Device.anonymous(server);
      const used = await device.ticket();
      await (await Client.open(server, { ticket: used })).close();
      for (const [command, code] of [
        [{ bytes: "7b7d" }, 1003],
        [{ send: "[]" }, 1007],
        [{ send: " ".repeat(MOST_FRAME + 1) }, 1009],
      ]) {
        const python = await device.python();
        await python.event();
        await python.frame();
        python.command(command);
        assert.deepEqual(await python.event(), { closed: code });
      }
      const python = await device.python();
      await python.event();
      await python.frame();
      python.command({ close: 1000 });
      assert.ok([1000, 1005].includes((await python.event()).closed));
    });
  });

  test("says what asyncapi.json has", () => assertHeard("answers"));
});
