// /passerby-live.js against Passerby.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import { WebSocket } from "ws";

import { startBrowser } from "../kit/browser.mjs";
import { newHome } from "../kit/cleanup.mjs";
import { heard, importLive, source, until } from "../kit/live.mjs";
import { call, Server, SUITE_DEADLINE } from "../kit/server.mjs";
import { Site } from "../kit/site.mjs";

const MOST_BYTES = 4300;

describe("/passerby-live.js", { timeout: SUITE_DEADLINE }, () => {
  let live, home, remove;
  before(async () => {
    ({ live, home, remove } = await importLive());
  });
  after(() => remove?.());

  test("has types that hold", async () => {
    const tsc = fileURLToPath(import.meta.resolve("typescript-7/package.json").replace(/package\.json$/, "bin/tsc"));
    const options = ["--noEmit", "--allowJs", "--checkJs", "--strict", "--ignoreConfig"];
    const target = ["--target", "es2022", "--module", "es2022", "--lib", "es2022,dom"];
    const check = promisify(execFile)(process.execPath, [tsc, ...options, ...target, join(home, "live.js")]);
    await check.catch(({ stdout }) => assert.fail(stdout));
  });

  describe("with Passerby", () => {
    let browser;
    let server;
    let site;
    let connections;

    before(async () => {
      site = await new Site().listen();
      const home = await newHome();
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

    test("sees the same as everyone, whatever is done at once", async () => {
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
