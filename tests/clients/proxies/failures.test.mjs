// A site behind each proxy while Passerby or the site does not answer, answers late, or refuses a visitor; and over how
// many connections it is asked.

import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { addressOf, PROXIES, startFront, startSiteBehind } from "../kit/proxies.mjs";
import { assertReader, GOOGLEBOT, newReader, OVER, SPOOFS, visits } from "../kit/readers.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { startPasserby, startSite, startStub, startWire } from "../kit/upstream.mjs";
import { Visitor } from "../kit/visitor.mjs";

/** A reader of those who stand in Passerby's place. */
const SOMEBODY = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2c";

/** Statuses of a check, and what becomes of the page. nginx's `auth_request` knows no refusals but 401 and 403. */
const REFUSALS = {
  nginx: { 401: 401, 402: 503, 403: 403, 404: 503, 431: 503, 500: 503, 503: 503 },
  caddy: { 200: 503, 401: 401, 402: 402, 403: 403, 404: 404, 431: 431, 500: 503, 503: 503 },
  haproxy: { 200: 503, 401: 401, 402: 403, 403: 403, 404: 403, 431: 403, 500: 503, 503: 503 },
  traefik: { 401: 401, 402: 402, 403: 403, 404: 404, 431: 431, 500: 503, 503: 503 },
  envoy: { 200: 503, 401: 401, 402: 402, 403: 403, 404: 404, 431: 431, 500: 503, 503: 503 },
};

/** What a publisher changes in a recipe so that the site stays open while Passerby is down. */
const OPEN = {
  nginx: { "nginx/passerby.conf": { "        #error_page 502 504": "        error_page 502 504" } },
  caddy: {
    "caddy/Caddyfile": Object.fromEntries(
      [
        "@unanswered {",
        "\tvars passerby asked\n\t\t#\texpression `{http.error.status_code} in [502, 504]`\n\t\t#}",
        "handle @unanswered {",
        "\trequest_header -X-Passerby-Meter\n\t\t#\treverse_proxy 127.0.0.1:3000\n\t\t#}",
      ].map((lines) => [`\t\t#${lines}`, `\t\t${lines.replaceAll("\t\t#", "\t\t")}`]),
    ),
  },
  haproxy: { "haproxy/haproxy.cfg": { "    #acl passerby_passed": "    acl passerby_passed" } },
  traefik: {
    "traefik/passerby.yml": {
      "      middlewares: [passerby-check, passerby-closed, passerby-refused]\n": "",
      "      #middlewares: [passerby-check,": "      middlewares: [passerby-check,",
    },
  },
  envoy: { "envoy/envoy.yaml": { "#failure_mode_allow: true": "failure_mode_allow: true" } },
};

/** For how long a recipe waits for the check, made short. */
const SOON = {
  nginx: { "nginx/passerby.conf": { "proxy_read_timeout 15s;": "proxy_read_timeout 1s;" } },
  caddy: { "caddy/Caddyfile": { "response_header_timeout 15s": "response_header_timeout 1s" } },
  haproxy: { "haproxy/haproxy.cfg": { "timeout server 14s": "timeout server 1s" } },
  traefik: { "traefik/passerby.yml": { "responseHeaderTimeout: 15s": "responseHeaderTimeout: 1s" } },
  envoy: { "envoy/envoy.yaml": { "passerby_check, timeout: 15s": "passerby_check, timeout: 1s" } },
};

/** What a site changes that takes long bodies, where the proxy takes none by default. */
const UPLOADS = {
  nginx: { "nginx/passerby.conf": { "    location / {\n": "    location / {\n        client_max_body_size 8m;\n" } },
};
/** Longer than what nginx takes by default, 1 MiB. */
const LONG_BODY = "0123456789abcdef".repeat(200_000);
/** Ways to send it. */
const BODIES = {
  "of a known length": () => ({ body: LONG_BODY, headers: {} }),
  "in chunks": () => ({ body: Readable.from(LONG_BODY.match(/.{1,60000}/g)), headers: {} }),
  "that waits to be asked for": () => ({
    body: LONG_BODY,
    headers: { "expect": "100-continue", "content-length": `${LONG_BODY.length}` },
  }),
};

/** All changes of recipes together. */
function together(...changes) {
  const files = {};
  for (const [file, edits] of changes.flatMap((change) => Object.entries(change ?? {}))) {
    files[file] = { ...files[file], ...edits };
  }
  return files;
}

/** Recipes that do without keep-alive to Passerby. */
const NO_KEEP_ALIVE = {
  nginx: { "nginx/passerby.conf": { "keepalive_requests 100000;": "keepalive_requests 1;" } },
  haproxy: { "haproxy/haproxy.cfg": { "http-reuse always": "option http-server-close" } },
  traefik: { "traefik/passerby.yml": { "maxIdleConnsPerHost: 64": "maxIdleConnsPerHost: -1" } },
  envoy: { "envoy/envoy.yaml": { "idle_timeout: 60s": "max_requests_per_connection: 1" } },
};

for (const name of PROXIES) {
  describe(`a site behind ${name}`, { timeout: SUITE_DEADLINE }, () => {
    const hasKeepAlive = name in NO_KEEP_ALIVE;
    let all, wire, site, front;
    before(async () => {
      all = await startSiteBehind(name);
      ({ wire, site, front } = all);
    });
    after(() => all?.close());

    test("is closed while Passerby is down, and open as soon as it is back", async (t) => {
      const own = await startPasserby(t);
      const closed = await startFront(t, name, { passerby: addressOf(own), site: site.address });
      const { visitor, user } = await newReader(closed);
      // Every connection that rests in the proxy is dead after this, and no page may be lost to that.
      await visits(64, 32, () => visitor.visit());
      await own.kill();
      await own.start();
      await visits(64, 32, async () => assertReader(await visitor.visit(), user));

      await own.stop();
      site.requests.length = 0;
      const began = performance.now();
      for (const somebody of [visitor, new Visitor(closed), new Visitor(closed, { "user-agent": GOOGLEBOT })]) {
        const answer = await somebody.visit("/", { headers: SPOOFS });
        assert.deepEqual([answer.status, answer.page, answer.setCookie], [503, null, []]);
        assert.equal(answer.headers["retry-after"], "5");
      }
      assert.deepEqual(site.requests, []);
      const took = performance.now() - began;
      // HAProxy's client for Lua waits for 3 s each time by default.
      assert.ok(took < 9_000, `nobody waits for a Passerby that is down; three pages took ${took} ms`);

      await own.start();
      assertReader(await visitor.visit(), user);
    });

    test("stays open while Passerby is down, without ids, if the recipe says so", async (t) => {
      const own = await startPasserby(t);
      const open = await startFront(t, name, { passerby: addressOf(own), site: site.address, edits: OPEN[name] });
      const { visitor, user } = await newReader(open);
      await own.stop();
      for (const method of ["GET", "POST"]) {
        const body = method === "POST" ? "a comment" : undefined;
        const answer = await visitor.visit("/page?a=b", { method, headers: SPOOFS, body });
        assert.equal(answer.status, 200);
        assert.deepEqual([answer.page.method, answer.page.url, answer.page.body], [method, "/page?a=b", body ?? ""]);
        assert.deepEqual([answer.passerby, answer.setCookie], [[], []]);
      }
      await own.start();
      assertReader(await visitor.visit(), user);
    });

    test("stays closed to whom Passerby refuses, also where it stays open while Passerby is down", async (t) => {
      const own = await startPasserby(t, { PASSERBY_BUDGET_BAD_TOKENS_ALL: "1" });
      const open = await startFront(t, name, { passerby: addressOf(own), site: site.address, edits: OPEN[name] });
      const { visitor } = await newReader(open);
      const statuses = new Set();
      await visits(64, 8, async () => {
        const { page, status } = await visitor.visit("/", { headers: { authorization: "Bearer nonsense" } });
        assert.equal(page, null);
        statuses.add(status);
      });
      const tooMany = OVER[name] === 403 ? 403 : 429;
      assert.deepEqual([...statuses].toSorted(), [401, tooMany], "unknown, and then too many");

      // What is too long for the check is no sign that Passerby is down.
      const authorization = "Bearer nonsense";
      for (const [what, headers] of Object.entries({
        "a long cookie": { cookie: `a=${"1".repeat(13_000)}` },
        "a long header": { "x-long": "1".repeat(13_000) },
        "a longer header": { "x-long": "1".repeat(300_000) },
      })) {
        site.requests.length = 0;
        const answer = await visitor.visit("/", { headers: { ...headers, authorization } }).catch((error) => error.code);
        assert.deepEqual([answer.page ?? null, site.requests], [null, []], `${what}: ${answer.status ?? answer}`);
        assert.equal((await visitor.visit("/", { headers: { authorization } })).page, null, `after ${what}`);
      }
      assertReader(await visitor.visit());
    });

    test("opens no page to whom Passerby refuses, whatever its answer", async (t) => {
      let status = 503;
      const refusal = await startStub(t, (_, response) => response.writeHead(status).end());
      for (const edits of [{}, OPEN[name]]) {
        const own = await startFront(t, name, { passerby: refusal.address, site: site.address, edits });
        for (const [answered, expected] of Object.entries(REFUSALS[name])) {
          status = answered;
          site.requests.length = 0;
          const answer = await new Visitor(own).visit("/", { headers: SPOOFS });
          assert.deepEqual([answer.status, answer.page], [expected, null], `after ${status}`);
          assert.match(answer.text, expected === 503 ? /come back in a moment/ : /may not read this page/);
          assert.equal(answer.headers["retry-after"], expected === 503 ? "5" : undefined);
          assert.deepEqual(site.requests, []);
        }
      }
    });

    test("is closed, or open if the recipe says so, when Passerby ends the connection without an answer", async (t) => {
      const silent = await startStub(t, (request) => request.socket.destroy());
      for (const [edits, expected] of [[{}, 503], [OPEN[name], 200]]) {
        const own = await startFront(t, name, { passerby: silent.address, site: site.address, edits });
        const { status, passerby } = await new Visitor(own).visit("/", { headers: SPOOFS });
        assert.deepEqual([status, passerby], [expected, []]);
      }
    });

    test("is closed, or open if the recipe says so, when Passerby takes too long", async (t) => {
      let asked = 0;
      const mute = await startStub(t, () => void (asked += 1));
      for (const [edits, expected] of [[{}, 503], [OPEN[name], 200]]) {
        const own = await startFront(t, name, {
          passerby: mute.address,
          site: site.address,
          edits: together(SOON[name], edits),
        });
        asked = 0;
        site.requests.length = 0;
        const { status, page, passerby } = await new Visitor(own).visit("/", { headers: SPOOFS });
        assert.deepEqual([status, page === null, passerby], [expected, expected === 503, []]);
        assert.deepEqual([asked, site.requests.length], [1, expected === 503 ? 0 : 1], "asked once");
      }
    });

    test("asks about a page whatever its body is, and looks at none of it", async (t) => {
      const own = await startPasserby(t);
      const ownWire = await startWire(t, own);
      const authorization = "Bearer nonsense";
      for (const variant of [{}, OPEN[name]]) {
        const edits = together(UPLOADS[name], variant);
        const front = await startFront(t, name, { passerby: ownWire.address, site: site.address, edits });
        const { visitor, user } = await newReader(front);
        const upload = async (how, headers = {}) => {
          site.requests.length = 0;
          ownWire.clear();
          const sent = BODIES[how]();
          const request = { method: "POST", ...sent, headers: { ...sent.headers, ...headers } };
          // A proxy may end the connection of a body that it does not want.
          return visitor.visit("/upload", request).catch((error) => assert.match(error.code, /^ECONN|^EPIPE$/) ?? {});
        };
        for (const how of Object.keys(BODIES)) {
          const answer = await upload(how);
          assertReader(answer, user);
          assert.ok(answer.page.body === LONG_BODY, how);
          assert.equal(ownWire.requests.length, 1, how);
          const of = ownWire.requests[0].headers.filter(([header]) => /^(content-length|transfer-encoding)$/.test(header));
          assert.ok(of.every(([header, value]) => header === "content-length" && value === "0"), `${how}: ${of}`);

          const refused = await upload(how, { authorization });
          assert.deepEqual([refused.page ?? null, site.requests], [null, []], how);
          assert.equal(refused.status ?? 401, 401, how);
        }
        await own.stop();
        for (const how of Object.keys(BODIES)) {
          const answer = await upload(how, SPOOFS);
          if (variant === OPEN[name]) {
            assert.deepEqual([answer.status, answer.passerby], [200, []], how);
            assert.ok(answer.page.body === LONG_BODY, how);
          } else {
            assert.deepEqual([answer.page ?? null, site.requests], [null, []], how);
            assert.equal(answer.status ?? 503, 503, how);
          }
        }
        await own.start();
      }
    });

    test("is as down as the site is, and the visitor keeps the cookie", async (t) => {
      const gone = await startSite(t);
      gone.close();
      const own = await startFront(t, name, { passerby: wire.address, site: gone.address });
      const { status, setCookie, headers } = await new Visitor(own).visit();
      assert.ok([502, 503].includes(status), `${status}`);
      assert.equal(headers["retry-after"], undefined, "that is said for Passerby");
      assert.equal(setCookie.length, 1);
    });

    test("asks again over a new connection when an idle one was closed", async (t) => {
      const used = new WeakSet();
      const forgetful = await startStub(t, (request, response) => {
        if (used.has(request.socket)) return request.socket.destroy();
        used.add(request.socket);
        response.writeHead(204, { "x-passerby-user": SOMEBODY, "x-passerby-anonymous": "true" }).end();
      });
      const own = await startFront(t, name, { passerby: forgetful.address, site: site.address });
      for (let i = 0; i < 20; i += 1) assertReader(await new Visitor(own).visit(), SOMEBODY);
    });

    test("waits for a Passerby that is slow, and asks it once", async (t) => {
      let asked = 0;
      const slow = await startStub(t, async (request, response) => {
        if (request.url.startsWith("/verify")) asked += 1;
        await sleep(500);
        response.writeHead(204, { "x-passerby-user": SOMEBODY, "x-passerby-anonymous": "true" }).end();
      });
      const own = await startFront(t, name, { passerby: slow.address, site: site.address });
      assertReader(await new Visitor(own).visit(), SOMEBODY);
      assert.equal(asked, 1);
    });

    test("asks Passerby thousands of times over a few connections", async (t) => {
      const { visitor, user } = await newReader(front);
      wire.clear();
      const perSecond = await visits(2_000, 32, async () => assertReader(await visitor.visit(), user));
      assert.equal(wire.requests.length, 2_000);
      // Caddy makes one for each, as it says in its recipe.
      if (hasKeepAlive) assert.ok(wire.connections <= 100, `${wire.connections} connections`);
      else assert.equal(wire.connections, 2_000);
      t.diagnostic(`${name}: 2000 pages, ${wire.connections} more connections to Passerby, ${perSecond} pages/s`);
    });

    if (hasKeepAlive) test("opens a connection for every page without the recipe's keep-alive", async (t) => {
      const edits = NO_KEEP_ALIVE[name];
      const own = await startFront(t, name, { passerby: wire.address, site: site.address, edits });
      const { visitor, user } = await newReader(own);
      wire.clear();
      const perSecond = await visits(1_000, 32, async () => assertReader(await visitor.visit(), user));
      assert.equal(wire.connections, 1_000);
      t.diagnostic(`${name} without keep-alive: 1000 pages, ${wire.connections} connections, ${perSecond} pages/s`);
    });
  });
}
