// The socket: what docs/socket.md and asyncapi.json promise, asked for by clients that nobody here wrote.

import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";

import Ajv from "ajv";

import { call, PATHS, spoil } from "./server.mjs";
import {
  ASYNCAPI,
  Client,
  DEADLINE,
  Device,
  faults,
  frame,
  isValid,
  merged,
  metric,
  OPCODE,
  plain,
  PROTOCOL,
  refusal,
  seen,
  startPasserby,
  startTalkative,
  until,
  untilSockets,
  within,
} from "./socket.mjs";

/** For the whole file, which takes far less. */
const FILE_DEADLINE = 900_000;
/** How long the server tries to send to who does not read. */
const SEND_WITHIN = 10_000;
/** Who is told of the end of a session is told within this. */
const SOON = 1000;
const MOST_SOCKETS = 1024;
/** http.max_body, and data.max_document. */
const MOST_FRAME = 65_536;
const MOST_DOCUMENT = 16_384;
const LIVES = 15;
const isRequest = (name) => ASYNCAPI.operations[name]?.action === "receive";

const range = (length, of = (index) => index) => Array.from({ length }, (_, index) => of(index));
const all = (length, of) => Promise.all(range(length, of));

/** The same numbers in each run (mulberry32). */
function generator(seed) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (number) => Math.floor(next() * number);
  return {
    below,
    pick: (choices) => choices[below(choices.length)],
    bytes: (length) => Buffer.from(range(length, () => below(256))),
  };
}

/** That a server is well after what was done to it. */
async function assertWell(server) {
  assert.equal(await metric(server, "actor_deaths_total"), 0);
  assert.equal((await fetch(`${server.adminUrl}/healthz`)).status, 200);
}

describe("the socket", { concurrency: true, timeout: FILE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startPasserby(null);
  });
  after(() => server?.close());

  // Most tests one after another; beside them those that wait for the server's clock.
  describe("in use", { concurrency: 1 }, () => {
    describe("its description", () => {
      test("is valid AsyncAPI 3.0.0", () => {
        const require = createRequire(import.meta.url);
        const schema = require("@asyncapi/specs").schemas["3.0.0"];
        // The schema has that of schemas in it, which Ajv brings too; and names formats that Ajv does not know.
        const ajv = new Ajv({ strict: false, meta: false, validateSchema: false, validateFormats: false });
        const validate = ajv.compile(schema);
        assert.equal(validate(ASYNCAPI), true, JSON.stringify(validate.errors, null, 2));
        assert.equal(ASYNCAPI.asyncapi, "3.0.0");
        assert.equal(ASYNCAPI.info.version, "1.0.0");
      });

      test("refers to nothing that it does not have", () => {
        const refer = (value) => {
          if (value === null || typeof value !== "object") return;
          if (typeof value.$ref === "string") {
            const parts = value.$ref.replace(/^#\//, "").split("/");
            assert.ok(
              parts.reduce((at, part) => at?.[part], ASYNCAPI),
              value.$ref,
            );
          }
          Object.values(value).forEach(refer);
        };
        refer(ASYNCAPI);
      });

      test("has examples that are what they are examples of", () => {
        for (const [name, { examples }] of Object.entries(ASYNCAPI.components.messages)) {
          assert.ok(examples.length > 0, name);
          for (const { payload } of examples) assert.ok(isValid(name, payload), `${name}: ${JSON.stringify(payload)}`);
        }
      });

      test("is the one that is served", async () => {
        const { status, contentType, body } = await call(server.url, "GET", "/asyncapi.json");
        assert.equal(status, 200);
        assert.equal(contentType, "application/json");
        assert.deepEqual(body, ASYNCAPI);
      });
    });

    describe("is opened", () => {
      const own = () => ({ origin: server.url });
      const newReader = async () => {
        const response = await fetch(`${server.url}/v1/sessions`, {
          method: "POST",
          headers: own(),
          body: '{"mode":"cookie"}',
        });
        assert.equal(response.status, 201);
        return { cookie: response.headers.get("set-cookie").split(";")[0], ...(await response.json()) };
      };

      test("by a ticket", async () => {
        const device = await Device.anonymous(server);
        const { status, body } = await device.call("POST", "/v1/socket-ticket");
        assert.equal(status, 201);
        assert.match(body.ticket, /^psbs_[\w-]{20,}$/);
        assert.equal(body.expires_in, 30);
        const client = await Client.open(server, { ticket: body.ticket });
        assert.deepEqual(client.hello, {
          type: "hello",
          user_id: device.user,
          session_id: device.session,
          anonymous: true,
          version: 0,
          data: null,
        });
        await client.close();
      });

      test("by a ticket once", async () => {
        const device = await Device.anonymous(server);
        const ticket = await device.ticket();
        const client = await Client.open(server, { ticket });
        assert.deepEqual(await refusal(Client.open(server, { ticket })), [401, "invalid-ticket"]);
        await client.close();
        assert.deepEqual(await refusal(Client.open(server, { ticket })), [401, "invalid-ticket"]);

        const both = await device.ticket();
        const opened = await Promise.allSettled(range(8, () => Client.open(server, { ticket: both })));
        assert.equal(opened.filter(({ status }) => status === "fulfilled").length, 1, "of eight at once");
        for (const { value } of opened) await value?.close();
      });

      test("by nothing that is no ticket", async () => {
        const device = await Device.anonymous(server);
        const ticket = await device.ticket();
        const { body: transfer } = await device.call("POST", "/v1/session/transfer");
        const forged = ticket.slice(0, -1) + (ticket.endsWith("A") ? "B" : "A");
        for (const wrong of [forged, transfer.code, device.token, `psbs_${"A".repeat(32)}`, "psbs_", ""]) {
          assert.deepEqual(await refusal(Client.open(server, { protocols: [PROTOCOL, `ticket.${wrong}`] })), [
            401,
            "invalid-ticket",
          ]);
        }
        // It is not used up by that, nor by what is refused for another reason.
        assert.deepEqual(await refusal(Client.open(server, { ticket, query: "?since=x" })), [400, "bad-query"]);
        assert.deepEqual(await refusal(Client.open(server, { protocols: [`ticket.${ticket}`] })), [
          400,
          "unknown-protocol",
        ]);
        await (await Client.open(server, { ticket })).close();
        // Nor is a ticket a code or a token.
        const other = await device.ticket();
        const asCode = { provider: "transfer", code: other };
        assert.equal((await call(server.url, "POST", "/v1/sessions", undefined, asCode)).status, 401);
        assert.equal((await call(server.url, "GET", "/v1/session", other)).status, 401);
      });

      test("by no ticket of a session that ended", async () => {
        for (const end of [
          (device) => device.call("DELETE", "/v1/session"),
          (device) => device.call("DELETE", "/v1/user"),
        ]) {
          const device = await Device.anonymous(server);
          const ticket = await device.ticket();
          assert.equal((await end(device)).status, 204);
          const [status, code] = await refusal(Client.open(server, { ticket }));
          assert.equal(status, 401);
          assert.ok(["session-ended", "invalid-ticket"].includes(code), code);
          assert.equal((await device.call("POST", "/v1/socket-ticket")).status, 401);
        }
        const device = await Device.anonymous(server);
        const other = await device.another();
        const ticket = await other.ticket();
        assert.equal((await device.call("DELETE", `/v1/user/sessions/${other.session}`)).status, 204);
        assert.equal((await refusal(Client.open(server, { ticket })))[0], 401);
        await (await device.open()).close();
      });

      test("by an access token in a header, as programs send it", async () => {
        const device = await Device.anonymous(server);
        const headers = { authorization: `Bearer ${device.token}` };
        const client = await Client.open(server, { headers });
        assert.equal(client.hello.user_id, device.user);
        assert.equal(client.hello.session_id, device.session);
        await client.close();
        await device.call("DELETE", "/v1/session");
        assert.deepEqual(await refusal(Client.open(server, { headers })), [401, "session-ended"]);
      });

      test("by no token in the query, and by none that is spoiled", async () => {
        const { token } = await Device.anonymous(server);
        for (const query of [
          `?access_token=${token}`,
          `?token=${token}`,
          `?ticket=${token}`,
          `?since=0&access_token=${token}`,
        ]) {
          assert.deepEqual(await refusal(Client.open(server, { query })), [400, "bad-query"]);
        }
        const headers = { authorization: `Bearer ${spoil(token)}` };
        assert.deepEqual(await refusal(Client.open(server, { headers })), [401, "invalid-token"]);
        assert.deepEqual(await refusal(Client.open(server, {})), [401, "no-reader"]);
        assert.equal((await call(server.url, "POST", "/v1/socket-ticket")).status, 401);
      });

      test("by a reader's cookie from a page of the site itself", async () => {
        const { cookie, user_id, session_id } = await newReader();
        for (const page of [own(), { "sec-fetch-site": "same-origin" }]) {
          const client = await Client.open(server, { headers: { cookie, ...page } });
          assert.equal(client.hello.user_id, user_id);
          assert.equal(client.hello.session_id, session_id);
          await client.close();
        }
      });

      test("by no cookie from anywhere else", async () => {
        const { cookie } = await newReader();
        for (const page of [
          {},
          { origin: "https://elsewhere.example" },
          { origin: "null" },
          { "sec-fetch-site": "cross-site", ...own() },
          { "sec-fetch-site": "same-site" },
          { "sec-fetch-site": "none" },
        ]) {
          assert.deepEqual(await refusal(Client.open(server, { headers: { cookie, ...page } })), [403, "cross-site"]);
        }
      });

      test("by no cookie of a reader who is not made yet, or is gone", async () => {
        const visit = await fetch(`${server.url}/verify?create=auto`, {
          headers: { "user-agent": "Mozilla/5.0 Firefox/140.0" },
        });
        const lazy = visit.headers.get("set-cookie").split(";")[0];
        assert.deepEqual(await refusal(Client.open(server, { headers: { cookie: lazy, ...own() } })), [
          401,
          "no-reader",
        ]);
        assert.deepEqual(await refusal(Client.open(server, { headers: own() })), [401, "no-reader"]);

        const { cookie } = await newReader();
        const headers = { cookie, ...own() };
        const client = await Client.open(server, { headers });
        assert.equal((await fetch(`${server.url}/v1/session`, { method: "DELETE", headers })).status, 204);
        await client.isTold({ type: "session.ended", reason: "logged-out" }, SOON);
        assert.equal((await refusal(Client.open(server, { headers })))[0], 401);
      });

      test("on pages of allowed_origins, and there alone where they are listed", async (t) => {
        const listed = await startPasserby(t, { PASSERBY_ALLOWED_ORIGINS: "https://app.example" });
        const device = await Device.anonymous(listed);
        const from = async (origin) => Client.open(listed, { ticket: await device.ticket(), headers: { origin } });
        assert.deepEqual(await refusal(from("https://elsewhere.example")), [403, "cross-site"]);
        await (await from("https://app.example")).close();
        await (await from(listed.url)).close();
        await (await device.open()).close();
      });

      test("as a WebSocket of this protocol alone", async () => {
        const ticket = await (await Device.anonymous(server)).ticket();
        const without = await plain(server, "/v1/socket");
        assert.deepEqual([without.status, without.body.code], [400, "no-websocket"]);
        assert.match(without.headers["content-type"], /^application\/problem\+json/);
        for (const protocols of [[], ["passerby.v2"], ["passerby.v2", `ticket.${ticket}`], [`ticket.${ticket}`]]) {
          assert.deepEqual(await refusal(Client.open(server, { protocols })), [400, "unknown-protocol"]);
        }
        await (await Client.open(server, { protocols: [`ticket.${ticket}`, "passerby.v2", PROTOCOL] })).close();
        const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-protocol": PROTOCOL };
        const key = "dGhlIHNhbXBsZSBub25jZQ==";
        for (const headers of [
          { ...upgrade, "sec-websocket-version": "13" },
          { ...upgrade, "sec-websocket-key": key },
          { ...upgrade, "sec-websocket-version": "8", "sec-websocket-key": key },
          { ...upgrade, "sec-websocket-version": "13", "sec-websocket-key": key, connection: "close" },
        ]) {
          const { status, body } = await plain(server, "/v1/socket", headers);
          assert.deepEqual([status, body.code], [400, "no-websocket"], JSON.stringify(headers));
        }
        assert.equal((await call(server.url, "POST", "/v1/socket")).status, 405);
        assert.equal((await call(server.url, "GET", "/v1/socket-ticket")).status, 405);
      });

      test("and nothing of it is in the log", async (t) => {
        const { url, stop } = await startTalkative(t);
        const device = await Device.anonymous({ url });
        const ticket = await device.ticket();
        const client = await Client.open({ url }, { ticket });
        await client.does("put", { data: { secret: "a-thing-of-theirs" } });
        await refusal(Client.open({ url }, { ticket }));
        await refusal(Client.open({ url }, { query: `?access_token=${device.token}` }));
        const unused = await device.ticket();
        await device.call("DELETE", "/v1/session");
        await client.endsWith(4001);
        const log = await stop();
        assert.ok(log.length > 1000, "it said something");
        for (const secret of [ticket, unused, device.token, device.token.split(".")[2], "a-thing-of-theirs"]) {
          assert.ok(
            !log.includes(secret),
            log.split("\n").find((line) => line.includes(secret)),
          );
        }
      });
    });

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

    describe("tells", () => {
      const versionsOf = ({ frames }, which = () => true) =>
        frames.filter((frame) => frame.version !== undefined && which(frame)).map(({ version }) => version);

      test("of every change but its own", async () => {
        const device = await Device.anonymous(server);
        const [one, other] = [await device.open(), await device.open()];
        const far = await (await device.another()).open();
        const padding = "p".repeat(100);
        await one.does("put", { data: { padding, n: 1 } });
        for (const socket of [other, far])
          await socket.isTold({ type: "data.changed", version: 1, data: { padding, n: 1 } });
        await device.call("PATCH", "/v1/data", { m: 2 });
        for (const socket of [one, other, far])
          await socket.isTold({ type: "data.changed", version: 2, patch: { m: 2 } });
        await far.does("increment", { path: "/n" });
        for (const socket of [one, other]) await socket.isTold({ type: "data.changed", version: 3, patch: { n: 2 } });
        await device.call("POST", "/v1/data/increment", { path: "/n", by: 5 });
        for (const socket of [one, other, far])
          await socket.isTold({ type: "data.changed", version: 4, patch: { n: 7 } });
        await other.does("delete");
        for (const socket of [one, far]) await socket.isTold({ type: "data.changed", version: 5, data: null });
        // A patch that changes nothing is a version all the same.
        await device.call("PATCH", "/v1/data", {});
        for (const socket of [one, other, far]) assert.equal((await socket.push()).version, 6);
        // Nothing of anybody else's.
        const stranger = await Device.anonymous(server);
        await stranger.call("PUT", "/v1/data", { theirs: true });
        await device.call("PUT", "/v1/data", { last: true });
        for (const socket of [one, other, far])
          await socket.isTold({ type: "data.changed", version: 7, data: { last: true } });
        await Promise.all([one, other, far].map((socket) => socket.close()));
      });

      test("every socket each version exactly once and in order, whoever writes", async () => {
        const [sockets, writers, changes] = [8, 4, 60];
        const device = await Device.anonymous(server);
        const clients = await all(sockets, () => device.open());
        const byHttp = range(writers, async (writer) => {
          for (const n of range(changes)) {
            const { status } = await device.call("PATCH", "/v1/data", {
              [`http${writer}`]: n,
              [`gone${n % 7}`]: n % 2 ? null : n,
            });
            assert.equal(status, 200);
          }
        });
        // Several at a time on each socket.
        const bySocket = clients.map((client, writer) =>
          all(changes, (n) =>
            n % 2
              ? client.does("increment", { path: "/sum" })
              : client.does("patch", { patch: { [`socket${writer}`]: n } }),
          ),
        );
        await Promise.all([...byHttp, ...bySocket]);
        const last = (sockets + writers) * changes;
        const end = await device.data();
        assert.equal(end.sum, (sockets * changes) / 2);
        for (const client of clients) {
          await client.once("the last version", () => versionsOf(client).includes(last));
          const pushed = versionsOf(client, ({ type }) => type === "data.changed");
          assert.deepEqual(
            pushed,
            pushed.toSorted((a, b) => a - b),
            "pushes",
          );
          const replied = versionsOf(client, ({ type }) => type === "reply");
          assert.deepEqual(
            replied,
            replied.toSorted((a, b) => a - b),
            "own replies",
          );
          assert.deepEqual(
            [0, ...pushed, ...replied].toSorted((a, b) => a - b),
            range(last + 1),
            "each of them once",
          );
          await client.close();
        }
      });

      test("of each change between the answers before and after it", async () => {
        const device = await Device.anonymous(server);
        const clients = await all(4, () => device.open());
        await Promise.all(clients.map((client) => all(100, () => client.does("increment", { path: "/n" }))));
        for (const client of clients) {
          await client.once("the last version", () => versionsOf(client).includes(400));
          // Whoever applies own changes when they are answered has the same document as everybody else.
          assert.deepEqual(versionsOf(client), range(401), "hello, pushes and replies as they came");
          await client.close();
        }
      });

      test("of no change again that an answer had", async () => {
        const device = await Device.anonymous(server);
        const client = await device.open();
        let writing = true;
        const writers = range(3, async () => {
          while (writing) await device.call("POST", "/v1/data/increment", { path: "/n" });
        });
        for (const _ of range(200)) await client.does("get");
        writing = false;
        await Promise.all(writers);
        const last = (await device.data()).n;
        const told = () => client.frames.filter(({ type }) => type === "data.changed").map(({ version }) => version);
        await client.once("the last version", () => told().at(-1) === last);
        assert.deepEqual(
          told(),
          range(last, (n) => n + 1),
        );
        const versions = client.frames.map(({ version }) => version);
        const back = versions.findIndex((version, n) => n > 0 && version < versions[n - 1]);
        assert.equal(
          back,
          -1,
          `${JSON.stringify(client.frames[back - 1])} and then ${JSON.stringify(client.frames[back])}`,
        );
        await client.close();
      });

      test("who comes back what was missed", async () => {
        const device = await Device.anonymous(server);
        const padding = "p".repeat(200);
        await device.call("PUT", "/v1/data", { padding, n: 0 });
        const first = await device.open();
        assert.deepEqual([first.hello.version, first.hello.data], [1, { padding, n: 0 }]);
        await first.close();

        const same = await device.open({ since: 1 });
        assert.ok(!("data" in same.hello), "nothing was missed");
        for (const n of [1, 2, 3]) await device.call("PATCH", "/v1/data", { n });
        for (const n of [1, 2, 3]) await same.isTold({ type: "data.changed", version: n + 1, patch: { n } });

        const behind = await device.open({ since: 2 });
        assert.deepEqual([behind.hello.version, "data" in behind.hello], [4, false]);
        for (const n of [2, 3]) await behind.isTold({ type: "data.changed", version: n + 1, patch: { n } });
        const current = await device.open({ since: 4 });
        assert.ok(!("data" in current.hello));

        for (const since of [0, 5, 1_000_000, "18446744073709551615"]) {
          const whole = await device.open({ since });
          assert.deepEqual([whole.hello.version, whole.hello.data], [4, { padding, n: 3 }], `since ${since}`);
          await whole.close();
        }
        // More than is kept.
        for (const n of range(70)) await device.call("PATCH", "/v1/data", { n });
        const old = await device.open({ since: 2 });
        assert.deepEqual([old.hello.version, old.hello.data], [74, { padding, n: 69 }]);
        const last = await device.open({ since: 70 });
        assert.ok(!("data" in last.hello));
        for (const n of [66, 67, 68, 69]) await last.isTold({ type: "data.changed", version: n + 5, patch: { n } });
        // A document that is gone is no reason to send all.
        await device.call("DELETE", "/v1/data");
        const gone = await device.open({ since: 74 });
        await gone.isTold({ type: "data.changed", version: 75, data: null });
        assert.deepEqual((await device.open()).hello.data, null);
        for (const since of ["-1", "1.5", "x", "", "1&more=1", "18446744073709551616"]) {
          const opening = Client.open(server, { ticket: await device.ticket(), query: `?since=${since}` });
          assert.deepEqual(await refusal(opening), [400, "bad-query"], since);
        }
      });

      test("who comes back while others write no version twice and none not at all", async () => {
        const device = await Device.anonymous(server);
        const writer = await device.open();
        let writing = true;
        const written = (async () => {
          let version = 0;
          while (writing) ({ version } = await writer.does("increment", { path: "/n" }));
          return version;
        })();
        let [since, coming] = [0, true];
        let document = {};
        for (const round of range(30)) {
          const client = await device.open({ since });
          const { hello } = client;
          await client.once("a change", (frames) => frames.length > 2);
          let version = "data" in hello ? hello.version : since;
          if ("data" in hello) document = hello.data ?? {};
          for (const told of client.frames.slice(1)) {
            assert.equal(told.version, version + 1, `round ${round}, since ${since}`);
            ({ version } = told);
            document = told.patch ? merged(document, told.patch) : told.data;
            assert.equal(document.n, version, "each version is one more");
          }
          since = version;
          if (coming) client.drop();
          coming = !coming;
        }
        writing = false;
        await written;
      });
    });

    describe("ends with its session", () => {
      const ended = (reason) => ({ type: "session.ended", reason });

      test("and not when an e-mail address is linked", async () => {
        const device = await Device.anonymous(server);
        const client = await device.open();
        const elsewhere = await (await device.another()).open();
        await client.does("put", { data: { kept: true } });
        await elsewhere.push();
        const account = Device.newAccount();
        assert.ok((await call(server.url, "POST", "/v1/registrations", undefined, account)).status < 300);

        await device.link(account);

        await client.isTold({ type: "session.linked", session_id: device.session }, SOON);
        await elsewhere.isTold(ended("linked"), SOON);
        await elsewhere.endsWith(4001, SOON);
        assert.deepEqual(await client.does("get"), { version: 1, data: { kept: true } });
        assert.deepEqual(await client.does("increment", { path: "/n" }), { version: 2, value: 1 });
        await device.call("PATCH", "/v1/data", { m: 1 });
        assert.equal((await client.push()).version, 3);
        assert.equal((await device.call("GET", "/v1/session")).body.session_id, device.session);

        const again = await (await Device.logIn(server, account)).open();
        assert.deepEqual([again.hello.user_id, again.hello.anonymous], [device.user, false]);
        assert.deepEqual(again.hello.data, { kept: true, n: 1, m: 1 });
        // Its new session ends it too.
        assert.equal((await device.call("DELETE", "/v1/session")).status, 204);
        await client.isTold(ended("logged-out"), SOON);
        await client.endsWith(4001, SOON);
        await again.does("get");
        await again.close();
      });

      test("and on both sides of a merge says what became of whom", async () => {
        const account = Device.newAccount();
        const owner = await Device.account(server, account);
        const [ownerSocket, guest] = [await owner.open(), await Device.anonymous(server)];
        const [guestSocket, guestElsewhere] = [await guest.open(), await (await guest.another()).open()];
        await ownerSocket.does("put", { data: { of: "owner", a: 1 } });
        await guestSocket.does("put", { data: { of: "guest", b: 2 } });
        await guestElsewhere.push();
        const anonymous = guest.user;

        const { merged_user_id } = await guest.link(account, { on_conflict: "merge" });

        assert.equal(merged_user_id, anonymous);
        assert.equal(guest.user, owner.user);
        const said = { type: "session.merged", user_id: owner.user, merged_user_id: anonymous };
        for (const socket of [guestSocket, guestElsewhere]) {
          await socket.isTold(said, SOON);
          await socket.endsWith(4001, SOON);
        }
        const data = { of: "owner", a: 1, b: 2 };
        await ownerSocket.isTold(said, SOON);
        await ownerSocket.isTold({ type: "data.changed", version: 2, data }, SOON);
        assert.deepEqual(await ownerSocket.does("get"), { version: 2, data });
        const again = await guest.open();
        assert.deepEqual([again.hello.user_id, again.hello.data], [owner.user, data]);
        await again.does("increment", { path: "/a" });
        assert.equal((await ownerSocket.push()).version, 3);
        await Promise.all([again.close(), ownerSocket.close()]);
      });

      test("and not while one guest after another becomes part of its user", async () => {
        const account = Device.newAccount();
        const owner = await Device.account(server, account);
        const clients = await all(3, () => owner.open());
        let going = true;
        const writing = clients.map(async (client) => {
          while (going) await client.does("increment", { path: "/n" });
        });
        for (const n of range(8)) {
          const guest = await Device.anonymous(server);
          assert.equal((await guest.call("PUT", "/v1/data", { [`guest${n}`]: true })).status, 200);
          await guest.link(account, { on_conflict: "merge" });
        }
        going = false;
        await Promise.all(writing);
        const { version: last, data } = await clients[0].does("get");
        for (const n of range(8)) assert.equal(data[`guest${n}`], true);
        for (const client of clients) {
          await client.once("the last version", (frames) => frames.some(({ version }) => version === last));
          assert.equal(client.frames.filter(({ type }) => type === "session.merged").length, 8);
          const told = client.frames.filter(
            ({ type, value }) => type === "hello" || type === "data.changed" || value !== undefined,
          );
          const versions = told.map(({ version }) => version);
          assert.equal(new Set(versions).size, versions.length, "no version twice");
          let document = null;
          let known = -1;
          for (const { version, patch, data, value } of told.toSorted((a, b) => a.version - b.version)) {
            assert.ok(
              data || version === known + 1,
              `${version} after ${known}: a whole document alone leaves out versions`,
            );
            known = version;
            if (data !== undefined) document = data;
            else document = merged(document, patch ?? { n: value });
          }
          assert.deepEqual(document, data);
          await client.close();
        }
      });

      test("and a switch to another user leaves it", async () => {
        const account = Device.newAccount();
        const owner = await Device.account(server, account);
        const guest = await Device.anonymous(server);
        const [client, { user, token }] = [await guest.open(), guest];
        await guest.link(account, { on_conflict: "switch" });
        assert.equal(guest.user, owner.user);
        assert.equal((await call(server.url, "GET", "/v1/session", token)).body.user_id, user);
        assert.deepEqual(await client.does("get"), { version: 0, data: null });
        await client.close();
      });

      for (const [what, end, reason] of [
        ["a logout", (device) => device.call("DELETE", "/v1/session"), "logged-out"],
        [
          "the end of its own session by name",
          (device) => device.call("DELETE", `/v1/user/sessions/${device.session}`),
          "logged-out",
        ],
        ["the user's deletion", (device) => device.call("DELETE", "/v1/user"), "deleted"],
      ]) {
        test(`by ${what}`, async () => {
          const device = await Device.anonymous(server);
          const clients = await all(3, () => device.open());
          assert.equal((await end(device)).status, 204);
          for (const client of clients) {
            await client.isTold(ended(reason), SOON);
            await client.endsWith(4001, SOON);
          }
          assert.equal((await device.call("GET", "/v1/data")).status, 401);
        });
      }

      test("by what realm-web does to it", async () => {
        const logIn = async () => {
          const { body } = await call(server.url, "POST", PATHS.login, undefined, {});
          return { device: new Device(server, body), refreshToken: body.refresh_token };
        };
        const one = await logIn();
        const client = await one.device.open();
        assert.equal(client.hello.user_id, one.device.user);
        assert.equal((await call(server.url, "DELETE", PATHS.session, one.refreshToken)).status, 204);
        await client.isTold(ended("logged-out"), SOON);
        await client.endsWith(4001, SOON);

        const other = await logIn();
        const second = await other.device.open();
        assert.equal((await call(server.url, "DELETE", PATHS.delete, other.device.token)).status, 204);
        await second.isTold(ended("deleted"), SOON);
        await second.endsWith(4001, SOON);
      });

      test("by its own end, and no other one's", async () => {
        const account = Device.newAccount();
        const one = await Device.account(server, account);
        const [two, three] = [await Device.logIn(server, account), await Device.logIn(server, account)];
        const [first, second, third] = [await one.open(), await two.open(), await three.open()];
        assert.equal((await one.call("DELETE", `/v1/user/sessions/${two.session}`)).status, 204);
        await second.isTold(ended("logged-out"), SOON);
        await second.endsWith(4001, SOON);
        await first.does("get");
        await third.does("get");
        assert.equal((await one.call("DELETE", "/v1/user/sessions")).status, 204);
        const { type } = await third.push(SOON);
        assert.equal(type, "session.ended");
        await third.endsWith(4001, SOON);
        await first.does("get");
        assert.equal((await one.call("DELETE", "/v1/user")).status, 204);
        await first.isTold(ended("deleted"), SOON);
        await first.endsWith(4001, SOON);
      });

      test("and answers what is asked for at that time in order, or not any more", async () => {
        for (const _ of range(10)) {
          const device = await Device.anonymous(server);
          const client = await device.open();
          const asked = range(20, () =>
            client.ask("increment", { path: "/n" }).then(
              ({ type, code }) => code ?? type,
              () => "no answer",
            ),
          );
          await device.call("DELETE", "/v1/session");
          await client.endsWith(4001, SOON);
          const answers = await Promise.all(asked);
          const firstOther = answers.findIndex((answer) => answer !== "reply");
          for (const answer of answers.slice(firstOther < 0 ? answers.length : firstOther)) {
            assert.ok(["session-ended", "no answer"].includes(answer), answer);
          }
        }
      });
    });

    test("does nothing for a session that another device has ended, whatever is on its way", async () => {
      const account = Device.newAccount();
      const owner = await Device.account(server, account);
      let overtaken = 0;
      for (const _ of range(20)) {
        const thief = await Device.logIn(server, account);
        const client = await thief.open();
        await owner.call("PUT", "/v1/data", { n: 0 });
        // More than can be done before the session ends.
        for (const _ of range(300)) client.ask("increment", { path: "/n" }).catch(() => {});
        assert.equal((await owner.call("DELETE", `/v1/user/sessions/${thief.session}`)).status, 204);
        const { n } = await owner.data();
        await client.endsWith(4001, SOON);
        const after = (await owner.data()).n - n;
        assert.ok(after <= 1, `${n} before and ${after} after, of which one was under way`);
        if (n < 300) overtaken += 1;
      }
      assert.ok(overtaken > 0, "otherwise this says nothing");
    });

    describe("holds", () => {
      test("increments of a hundred clients, each of them once", async (t) => {
        // A thousand of each take a debug build on two cores about a minute; these are a fifth of them.
        const [sockets, others, each] = [20, 80, 200];
        const device = await Device.anonymous(server);
        const clients = await all(sockets, () => device.open());
        const began = Date.now();
        await Promise.all([
          ...clients.map(async (client) => {
            for (const _ of range(each)) await client.does("increment", { path: "/n" });
          }),
          ...range(others, async () => {
            for (const _ of range(each))
              assert.equal((await device.call("POST", "/v1/data/increment", { path: "/n" })).status, 200);
          }),
        ]);
        t.diagnostic(`${(sockets + others) * each} increments, ${Date.now() - began} ms`);
        const sum = (sockets + others) * each;
        assert.deepEqual(await device.data(), { n: sum });
        for (const client of clients) {
          const versions = () => client.frames.flatMap(({ version }) => version ?? []);
          await client.once("all of them", () => versions().length > sum);
          assert.deepEqual(
            versions().toSorted((a, b) => a - b),
            range(sum + 1),
          );
        }
        await Promise.all(clients.map((client) => client.close()));
      });

      test("a quiet user's sockets while others come and go", async (t) => {
        const own = await startPasserby(t, { PASSERBY_ACTORS_IDLE: 1, PASSERBY_ACTORS_MAX_LIVE: 4 });
        const quiet = await all(8, () => Device.anonymous(own));
        const clients = await Promise.all(quiet.map((device) => device.open()));
        const visitors = await all(12, () => Device.anonymous(own));
        for (const visitor of visitors)
          assert.equal((await visitor.call("PUT", "/v1/data", { here: true })).status, 200);
        await until("the visitors rest", async () =>
          (await metric(own, "live_users")) <= quiet.length ? true : undefined,
        );
        for (const [n, device] of quiet.entries()) {
          assert.equal((await device.call("PUT", "/v1/data", { n })).status, 200);
          await clients[n].isTold({ type: "data.changed", version: 1, data: { n } }, SOON);
        }
        assert.equal(await metric(own, "sockets"), quiet.length);
        await Promise.all(clients.map((client) => client.close()));
        await until("all rest", async () => ((await metric(own, "live_users")) === 0 ? true : undefined));
      });

      test("so many sockets of a network, and no more", async (t) => {
        const own = await startPasserby(t, { PASSERBY_BUDGET_SOCKETS: "2", PASSERBY_TRUSTED_PROXIES: "127.0.0.1" });
        const device = await Device.anonymous(own);
        const from = (address) => ({ headers: { "x-forwarded-for": address } });
        const open = [await device.open(from("2001:db8::1")), await device.open(from("2001:db8::2"))];
        const ticket = await device.ticket();
        assert.deepEqual(await refusal(device.open({ ticket, ...from("2001:db8::3") })), [429, "too-many-sockets"]);
        await open.pop().close();
        await untilSockets(own, 1);
        open.push(await device.open({ ticket, ...from("2001:db8::3") }), await device.open(from("2001:db8:0:1::1")));
        await untilSockets(own, 3);
        await Promise.all(open.map((client) => client.close()));
      });

      test(`${MOST_SOCKETS} sockets of a user, and no more`, async (t) => {
        const own = await startPasserby(t);
        const device = await Device.anonymous(own);
        const clients = [];
        while (clients.length < MOST_SOCKETS) clients.push(...(await all(64, () => device.open())));
        await untilSockets(own, MOST_SOCKETS);
        assert.deepEqual(await refusal(device.open()), [429, "too-many-sockets"]);
        const stranger = await (await Device.anonymous(own)).open();
        await device.call("PUT", "/v1/data", { of: "all" });
        await clients[0].does("increment", { path: "/n" });
        for (const [index, client] of clients.entries()) {
          await client.isTold({ type: "data.changed", version: 1, data: { of: "all" } });
          if (index > 0) assert.equal((await client.push()).version, 2);
        }
        // The place of one that went is free.
        clients[5].drop();
        await untilSockets(own, MOST_SOCKETS);
        await (await device.open()).close();
        // By a word or without one.
        for (const [index, client] of clients.entries()) {
          if (index % 2) client.drop();
          else client.ws.close();
        }
        await untilSockets(own, 1);
        await stranger.does("get");
        await stranger.close();
        await untilSockets(own, 0);
        await assertWell(own);
      });
    });

    describe("below the WebSocket layer", () => {
      const TEXT = OPCODE.text;
      const request = (type, fields = {}, id = randomUUID()) => ({ id, type, ...fields });
      const PROTOCOL_ERROR = 1002;
      const BINARY = 1003;
      const NO_OBJECT = 1007;
      const TOO_LARGE = 1009;
      const NOT_UTF8 = Buffer.from([0x22, 0xc3, 0x28, 0x22]);

      /** This text in so many frames, with others of the same connection between them. */
      function fragments(text, number, between = () => []) {
        const bytes = Buffer.from(text);
        const length = Math.ceil(bytes.length / number);
        return range(number, (n) => {
          const part = bytes.subarray(n * length, (n + 1) * length);
          const last = n === number - 1;
          return Buffer.concat([
            frame(n === 0 ? TEXT : OPCODE.continuation, part, { fin: last }),
            ...(last ? [] : between()),
          ]);
        });
      }

      /** What ends a connection, by the code with which it does. */
      const ENDS = [
        [BINARY, "a binary frame", ({ bytes, below }) => frame(OPCODE.binary, bytes(below(300)))],
        [BINARY, "an empty binary frame", () => frame(OPCODE.binary)],
        [
          BINARY,
          "a binary message in fragments",
          () => Buffer.concat([frame(OPCODE.binary, "{", { fin: false }), frame(OPCODE.continuation, "}")]),
        ],
        [NO_OBJECT, "text that is not UTF-8", () => frame(TEXT, NOT_UTF8)],
        [NO_OBJECT, "the same in fragments", () => Buffer.concat(fragments(NOT_UTF8, 2))],
        [NO_OBJECT, "half a surrogate", () => frame(TEXT, Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))],
        [NO_OBJECT, "an empty text", () => frame(TEXT)],
        [
          NO_OBJECT,
          "no JSON",
          ({ pick }) => frame(TEXT, pick(["get", "{", "{}{}", '{"id":}', "\0", "{'id': 1}", '{"a":NaN}', "\ufeff{}"])),
        ],
        [NO_OBJECT, "another JSON value", ({ pick }) => frame(TEXT, pick(["[]", "[{}]", "null", "1", "true", '"{}"']))],
        [NO_OBJECT, "JSON that is too deep", () => frame(TEXT, "[".repeat(10_000))],
        [TOO_LARGE, "a frame over the limit", ({ below }) => frame(TEXT, " ".repeat(MOST_FRAME + 1 + below(1000)))],
        [
          TOO_LARGE,
          "fragments over the limit",
          ({ below }) => Buffer.concat(fragments(" ".repeat(MOST_FRAME + 1 + below(1000)), 2 + below(9))),
        ],
        [
          PROTOCOL_ERROR,
          "a frame without a mask",
          () => frame(TEXT, JSON.stringify(request("get")), { masked: false }),
        ],
        [
          PROTOCOL_ERROR,
          "an unknown opcode",
          ({ pick, bytes, below }) => frame(pick([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), bytes(below(20))),
        ],
        [PROTOCOL_ERROR, "a continuation of nothing", () => frame(OPCODE.continuation, "{}")],
        [
          PROTOCOL_ERROR,
          "a message within a message",
          () => Buffer.concat([frame(TEXT, "{", { fin: false }), frame(TEXT, "}")]),
        ],
        [PROTOCOL_ERROR, "a ping in fragments", () => frame(OPCODE.ping, "", { fin: false })],
        [PROTOCOL_ERROR, "a long ping", () => frame(OPCODE.ping, "x".repeat(126))],
        [
          PROTOCOL_ERROR,
          "a long close frame",
          () => frame(OPCODE.close, Buffer.concat([Buffer.from([3, 232]), Buffer.alloc(124, 0x78)])),
        ],
        [PROTOCOL_ERROR, "half a close code", () => frame(OPCODE.close, Buffer.from([3]))],
        [
          PROTOCOL_ERROR,
          "a close code that is none",
          ({ pick }) =>
            frame(
              OPCODE.close,
              Buffer.from(
                pick([
                  [0, 0],
                  [3, 231],
                  [3, 237],
                  [3, 238],
                ]),
              ),
            ),
        ],
      ];

      /** A frame with a random head and random bytes, and the code that answers it; undefined: it may go on. */
      function randomFrame({ below, bytes }) {
        const [opcode, fin, masked, payload] = [below(16), below(4) > 0, below(8) > 0, bytes(below(140))];
        const code = () => {
          if (!masked || ![0, 1, 2, 8, 9, 10].includes(opcode) || opcode === OPCODE.continuation) return PROTOCOL_ERROR;
          if (opcode >= OPCODE.close && (!fin || payload.length > 125)) return PROTOCOL_ERROR;
          if (opcode === OPCODE.ping || opcode === OPCODE.pong || !fin) return undefined;
          if (opcode === OPCODE.binary) return BINARY;
          if (opcode === OPCODE.text) return NO_OBJECT;
          // A close frame: of a random code and random bytes there is hardly one that is right.
          return payload.length === 0 ? null : PROTOCOL_ERROR;
        };
        return [
          code(),
          `opcode ${opcode}, fin ${fin}, masked ${masked}, ${payload.length} bytes`,
          () => frame(opcode, payload, { fin, masked }),
        ];
      }

      /** What does not: each with what is to come back, requests and pings. */
      const GOES_ON = [
        () => {
          const asked = request("get");
          return { bytes: frame(TEXT, JSON.stringify(asked)), answers: [asked] };
        },
        ({ below }) => {
          const asked = request("increment", { path: "/n", by: below(9) });
          return { bytes: frame(TEXT, `\n ${JSON.stringify(asked)} `), answers: [asked] };
        },
        ({ below }) => {
          const asked = request("patch", { patch: { fragments: "ä€😀".repeat(below(40)) } });
          const pongs = [];
          const between = () => {
            if (below(2)) return [];
            pongs.push(`between ${below(1000)}`);
            return [frame(OPCODE.ping, pongs.at(-1))];
          };
          return {
            bytes: Buffer.concat(fragments(JSON.stringify(asked), 1 + below(20), between)),
            answers: [asked],
            pongs,
          };
        },
        ({ below }) => {
          const asked = request("get");
          const padded = JSON.stringify(asked).padEnd(MOST_FRAME);
          return { bytes: below(2) ? frame(TEXT, padded) : Buffer.concat(fragments(padded, 3)), answers: [asked] };
        },
        ({ below }) => {
          const pong = "p".repeat(below(126));
          return { bytes: frame(OPCODE.ping, pong), pongs: [pong] };
        },
        ({ below, bytes }) => ({ bytes: frame(OPCODE.pong, bytes(below(126))) }),
        ({ pick }) => {
          const asked = request("put");
          const half = JSON.stringify("\ud83d");
          const data = pick([half, `{"half":${half}}`, '{"n":1e400}', `${'{"a":'.repeat(1000)}1${"}".repeat(1000)}`]);
          const text = `${JSON.stringify(asked).slice(0, -1)},"data":${data}}`;
          return { bytes: frame(TEXT, text), answers: [asked] };
        },
        ({ pick }) => ({
          bytes: frame(TEXT, pick(["{}", '{"id":1}', '{"type":[]}', '{"":{}}'])),
          answers: [{ id: null }],
        }),
        ({ pick }) => {
          const asked = request(pick(["", "reply", "hello", "GET"]), { data: pick([1, [], {}]) });
          return { bytes: frame(TEXT, JSON.stringify(asked)), answers: [asked] };
        },
      ];

      for (const [code, what, make] of ENDS) {
        test(`${what} is answered with ${code}`, async () => {
          const device = await Device.anonymous(server);
          const [raw, other] = [await device.raw(), await device.open()];
          raw.write(make(generator(1)));
          assert.equal(await raw.closeCode(), code);
          await other.does("get");
          await other.close();
        });
      }

      test("reserved bits are answered with 1002", async () => {
        const device = await Device.anonymous(server);
        for (const reserved of [1, 2, 4, 7]) {
          const raw = await device.raw();
          raw.write(frame(TEXT, JSON.stringify(request("get")), { reserved }));
          assert.equal(await raw.closeCode(), PROTOCOL_ERROR, `${reserved}`);
        }
      });

      test("a frame that says it is over the limit is answered with 1009, however little of it comes", async () => {
        const device = await Device.anonymous(server);
        for (const claimed of [MOST_FRAME + 1, 2 ** 40, 2 ** 62]) {
          const raw = await device.raw();
          raw.write(frame(TEXT, "{", { claimed }));
          assert.equal(await raw.closeCode().catch((error) => error.message), TOO_LARGE, `${claimed} bytes`);
        }
      });

      test("and no more of it is kept than a message may have", async (t) => {
        const own = await startPasserby(t);
        const memory = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${own.pid}/status`, "utf8"))[1]);
        const raw = await (await Device.anonymous(own)).raw();
        const before = memory();
        raw.write(frame(TEXT, "{", { claimed: 2 ** 40 }));
        const megabyte = Buffer.alloc(2 ** 20, 0x20);
        for (const _ of range(64)) {
          if (!raw.tcp.write(megabyte))
            await within(DEADLINE, "it is read", Promise.race([once(raw.tcp, "drain"), raw.closed]));
          if (raw.tcp.destroyed) break;
        }
        const grown = memory() - before;
        raw.drop();
        assert.ok(grown < 16 * 1024, `${grown} kB more memory`);
      });

      test("ten thousand random frames harm nobody", async (t) => {
        const [lanes, frames] = [40, 10_000];
        const bystander = await (await Device.anonymous(server)).open();
        let [sent, connections, slowest, going] = [0, 0, 0, true];
        const watching = (async () => {
          while (going) {
            const began = Date.now();
            await bystander.does("increment", { path: "/n" });
            slowest = Math.max(slowest, Date.now() - began);
          }
        })();
        await all(lanes, async (lane) => {
          const random = generator(lane);
          const { below, pick, bytes } = random;
          const device = await Device.anonymous(server);
          while (sent < frames) {
            connections += 1;
            const raw = await device.raw();
            const turns = range(1 + below(12), () => pick(GOES_ON)(random));
            const [code, what, make] = below(3)
              ? pick([
                  ...ENDS,
                  [null, "a close frame", () => frame(OPCODE.close)],
                  [undefined, "any bytes", () => bytes(1 + below(200))],
                ])
              : randomFrame(random);
            sent += turns.length + 1;
            for (const { bytes } of turns) raw.write(bytes);
            const [answers, pongs] = ["answers", "pongs"].map((name) => turns.flatMap((turn) => turn[name] ?? []));
            raw.write(make(random));
            if (code === undefined) {
              // Whatever it is to the server: it is over when the client goes.
              if (below(2)) raw.tcp.end();
              else raw.drop();
              await within(DEADLINE, "the end of the connection", raw.closed);
              continue;
            }
            assert.equal(await raw.closeCode(), code, `${what} in lane ${lane}`);
            // What breaks the protocol may overtake what came before it; nothing else does, and order is kept.
            const replies = raw.frames.filter(({ type }) => type === "reply" || type === "error").map(({ id }) => id);
            const isBroken = code !== null && code !== BINARY;
            const until = (told) => (isBroken ? told.length : undefined);
            assert.deepEqual(replies, answers.map(({ id }) => id).slice(0, until(replies)), `${what} in lane ${lane}`);
            assert.deepEqual(raw.pongs, pongs.slice(0, until(raw.pongs)), `${what} in lane ${lane}`);
          }
        }).finally(() => {
          going = false;
        });
        await watching;
        t.diagnostic(`${sent} frames on ${connections} connections; a bystander waited ${slowest} ms at most`);
        assert.ok(slowest < SEND_WITHIN, `a bystander waited ${slowest} ms`);
        const { version } = await bystander.does("get");
        assert.equal(bystander.frames.length, 1 + version + 1, "it was told nothing else");
        await bystander.close();
        await assertWell(server);
      });
    });

    describe("survives", () => {
      test("the end of the server: its clients are told to come back", async (t) => {
        const own = await startPasserby(t);
        const devices = await all(5, () => Device.anonymous(own));
        const clients = await Promise.all(range(20, (n) => devices[n % 5].open()));
        const raw = await devices[0].raw();
        const python = await devices[1].python();
        await python.event();
        await python.frame();
        await Promise.all(clients.map((client, n) => client.does("put", { data: { n } })));
        const busy = clients.map((client) => all(50, () => client.ask("increment", { path: "/n" })).catch(() => {}));
        const stopped = own.stop();
        for (const client of clients) await client.endsWith(1012);
        assert.equal(await raw.closeCode(), 1012);
        await until("Python's end", async () => ("closed" in (await python.event()) ? true : undefined));
        await Promise.all([stopped, ...busy]);

        await own.restart();
        for (const [n, device] of devices.entries()) {
          const client = await device.open();
          assert.equal(client.hello.user_id, device.user);
          const acknowledged = Math.max(
            ...range(4, (k) => Math.max(...clients[n + 5 * k].frames.map(({ version }) => version ?? 0))),
          );
          assert.ok(client.hello.version >= acknowledged, "what was answered is there");
          await client.close();
        }
      });

      test(`${LIVES} kills: what was answered is there, and what is asked for again is done once`, async (t) => {
        const own = await startPasserby(t);
        const random = generator(7);
        const devices = await all(2, () => Device.anonymous(own));
        const PARALLEL = 4;

        /** A client that comes back until all that it ever asked for is answered. */
        class Stubborn {
          answered = 0;
          isOpen = false;
          known = 0;
          open = new Set();
          constructor(device) {
            this.device = device;
            this.asked = 0;
          }

          /** Until the server is gone, or nothing is left to ask for again. */
          async live({ goesOn }) {
            this.isOpen = false;
            const client = await this.device.open({ since: this.known });
            this.isOpen = true;
            assert.ok(client.hello.version >= this.known, `${client.hello.version}, ${this.known} was answered`);
            const ask = async (id) => {
              this.open.add(id);
              const { version } = await client.does("increment", { path: "/n" }, id);
              this.open.delete(id);
              this.answered += 1;
              this.known = Math.max(this.known, version);
            };
            const again = [...this.open].map(ask);
            const more = async () => {
              while (goesOn) {
                this.asked += 1;
                await ask(randomUUID());
              }
            };
            const ends = await Promise.allSettled([...again, ...range(PARALLEL, more)]);
            if (goesOn) await within(DEADLINE, "the end", client.closed);
            else for (const { reason } of ends) assert.equal(reason, undefined);
            // Each version is one more, whoever made it: what was missed came, and nothing was counted twice.
            for (const { version, patch, data, value } of client.frames) {
              const n = value ?? patch?.n ?? data?.n;
              if (n !== undefined) assert.equal(n, version);
              if (patch) this.known = Math.max(this.known, version);
            }
            client.drop();
          }
        }
        const clients = devices.flatMap((device) => range(3, () => new Stubborn(device)));
        const total = (what) => clients.reduce((sum, client) => sum + client[what], 0);
        for (const _ of range(LIVES)) {
          const enough = total("answered") + 20 + random.below(150);
          const lives = Promise.all(clients.map((client) => client.live({ goesOn: true })));
          // Who is still at the door when the server goes cannot know what was answered.
          const isTime = () => clients.every(({ isOpen }) => isOpen) && total("answered") >= enough;
          await Promise.race([lives, until("some answers", () => (isTime() ? true : undefined))]);
          await own.kill();
          await lives;
          await own.restart();
        }
        const lost = clients.reduce((sum, { open }) => sum + open.size, 0);
        t.diagnostic(`${total("asked")} increments, of which ${lost} had no answer at the last kill`);
        await Promise.all(clients.map((client) => client.live({ goesOn: false })));
        for (const device of devices) {
          const asked = clients
            .filter((client) => client.device === device)
            .reduce((sum, client) => sum + client.asked, 0);
          assert.deepEqual(await device.data(), { n: asked });
        }
        await assertWell(own);
      });
    });
  });

  describe("by the clock", { concurrency: true }, () => {
    test("is pinged, answers pings, and says when an account's session ends soon", async (t) => {
      const own = await startPasserby(t, { PASSERBY_SESSION_LIFETIME: "1800" });
      const client = await (await Device.account(own)).open();
      const guest = await (await Device.anonymous(own)).open();
      client.ws.ping("are you there");
      const [pong] = await within(DEADLINE, "a pong", once(client.ws, "pong"));
      assert.equal(String(pong), "are you there");
      const { type, at } = await client.push(60_000);
      assert.equal(type, "expiring");
      const left = Date.parse(at) - Date.now();
      assert.ok(left > 1_700_000 && left < 1_800_000, at);
      await until("pings", () => (client.pings > 0 && guest.pings > 0 ? true : undefined));
      await Promise.all([client.does("get"), guest.does("get")]);
      assert.equal(guest.frames.length, 2, "an anonymous one has no such end");
      await Promise.all([client.close(), guest.close()]);
    });

    test("ends when an account's session has expired", async (t) => {
      const own = await startPasserby(t, { PASSERBY_SESSION_LIFETIME: "10" });
      const client = await (await Device.account(own)).open();
      await client.isTold({ type: "session.ended", reason: "expired" }, 60_000);
      await client.endsWith(4001);
    });

    test("is activity, without a word said; and a user without one expires", async (t) => {
      const own = await startPasserby(t, { PASSERBY_EXPIRY_WINDOW: 26, PASSERBY_EXPIRY_TOUCH_GRANULARITY: 1 });
      const [device, idle] = [await Device.anonymous(own), await Device.anonymous(own)];
      const client = await device.open();
      assert.equal(client.hello.user_id, device.user);
      await until("two pings", () => (client.pings > 1 ? true : undefined), 120_000);
      assert.deepEqual(await client.does("get"), { version: 0, data: null });
      assert.equal((await device.call("GET", "/v1/session")).status, 200);
      assert.equal((await idle.call("GET", "/v1/session")).status, 401);
      await client.close();
    });

    test("who sends pings and takes no pong is cut off", async (t) => {
      const own = await startPasserby(t);
      const device = await Device.anonymous(own);
      const [deaf, other] = [await device.raw(), await device.open()];
      deaf.tcp.pause();
      const pings = Buffer.concat(range(500, () => frame(OPCODE.ping, "p".repeat(125))));
      // Until neither side's buffers take any more.
      const fill = () => {
        while (!deaf.tcp.destroyed && deaf.tcp.write(pings));
        deaf.tcp.once("drain", fill);
      };
      fill();
      const oneIsLeft = async () => ((await metric(own, "sockets")) === 1 ? true : undefined);
      await until("one socket is left", oneIsLeft, 120_000).finally(() => deaf.drop());
      await other.does("get");
      await other.close();
      await untilSockets(own, 0);
    });

    test("ends with 4008 when pings are not answered", async () => {
      const device = await Device.anonymous(server);
      const [deaf, other] = [await device.raw({ pongs: false }), await device.raw()];
      assert.equal(await deaf.closeCode(120_000), 4008);
      assert.ok(deaf.pings > 0);
      assert.equal(other.code, undefined, "who answers stays");
      assert.ok(other.pings > 0);
      other.drop();
    });

    test("who does not read is cut off, and slows nobody", async (t) => {
      const [body, document] = [262_144, 131_072];
      const own = await startPasserby(t, {
        PASSERBY_HTTP_MAX_BODY: body,
        PASSERBY_DATA_MAX_DOCUMENT: document,
        // it writes far more than a network may
        PASSERBY_LIMITS: "off",
      });
      const device = await Device.anonymous(own);
      const [stuck, slow, writer, reader] = [
        await device.raw(),
        await device.raw(),
        await device.open(),
        await device.open(),
      ];
      for (const { tcp } of [stuck, slow]) tcp.pause();
      // A bit now and then, so that each frame leaves in time.
      const pause = () => slow.tcp.pause();
      slow.tcp.on("data", pause);
      const reading = setInterval(() => slow.tcp.resume(), 150);
      let [slowest, written] = [0, 0];
      const began = Date.now();
      while ((await metric(own, "sockets")) > 2 || written < 200) {
        assert.ok(Date.now() - began < 300_000, `still there after ${written} changes`);
        for (const _ of range(10)) {
          const from = Date.now();
          const { version } = await writer.does("put", { data: { large: randomBytes(90_000).toString("base64") } });
          await reader.once("the change", (frames) => frames.at(-1).version === version);
          slowest = Math.max(slowest, Date.now() - from);
          written += 1;
        }
      }
      clearInterval(reading);
      const cut = Date.now() - began;
      assert.ok(slowest < SEND_WITHIN, `${slowest} ms: somebody waited for who does not read`);
      slow.tcp.removeListener("data", pause);
      for (const { tcp } of [stuck, slow]) tcp.resume();
      assert.equal(await slow.closeCode(120_000), 4002);
      await within(120_000, "the end of the connection", stuck.closed);
      assert.ok(stuck.code === undefined || stuck.code === 4002, `${stuck.code}`);
      t.diagnostic(
        `${written} changes of 120 kB in ${cut} ms, the slowest ${slowest} ms; cut off with 4002 and ${stuck.code}`,
      );
      for (const { frames } of [stuck, slow]) {
        assert.deepEqual(
          frames.map(({ version }) => version),
          range(frames.length),
          "until then it missed nothing",
        );
        assert.ok(frames.length < written);
      }
      await Promise.all([writer.does("get"), reader.does("get")]);
      await Promise.all([writer.close(), reader.close()]);
      await untilSockets(own, 0);
      await assertWell(own);
    });
  });
});

describe("asyncapi.json", () => {
  test("has everything that any server said to any client here", (t) => {
    assert.deepEqual(faults.slice(0, 10), []);
    for (const [name, number] of seen) t.diagnostic(`${name}: ${number}`);
    const never = Object.keys(ASYNCAPI.components.messages).filter((name) => !isRequest(name) && !seen.has(name));
    assert.deepEqual(never, [], "never seen");
  });
});
