// A site behind nginx, Caddy, HAProxy, Traefik and Envoy: the recipes of deploy/, started as they are, let the site
// know its readers.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { after, before, describe, test } from "node:test";

import { createLocalJWKSet, jwtVerify } from "jose";

import { PROTOCOL } from "../kit/asyncapi.mjs";
import { addressOf, PROXIES, startFront, startSiteBehind } from "../kit/proxies.mjs";
import { assertReader, GOOGLEBOT, newReader, OVER, SOCKET, spoofedOf, SPOOFS, visits } from "../kit/readers.mjs";
import { call, SUITE_DEADLINE } from "../kit/server.mjs";
import { startPasserby, storedUsers } from "../kit/upstream.mjs";
import { FIREFOX, Visitor } from "../kit/visitor.mjs";
import { until } from "../kit/wait.mjs";

const SESSION = "/v1/session";
const SCRIPTS = ["/passerby.js", "/passerby-live.js"];

/** Visitors who are let through and never become readers, by what they send. */
const MACHINES = {
  "a crawler": { headers: { "user-agent": GOOGLEBOT } },
  "a client without a name": { headers: {} },
  "a prefetch": { headers: { "user-agent": FIREFOX, "sec-purpose": "prefetch" } },
  "HEAD": { headers: { "user-agent": FIREFOX }, method: "HEAD" },
  "HEAD that says it is GET": { headers: { "user-agent": FIREFOX, "x-forwarded-method": "GET" }, method: "HEAD" },
};

/** What makes a request one for a socket. */
const UPGRADE = {
  "connection": "Upgrade",
  "upgrade": "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-protocol": PROTOCOL,
};

/** What a recipe says to an upgrade that is none to a WebSocket, if not what it says without one. */
const NO_UPGRADE = { haproxy: 400, traefik: 418, envoy: 403 };

/** What Passerby reads of a request, besides what HTTP needs. */
const READ = [
  ...["authorization", "cookie", "host", "purpose", "sec-purpose", "user-agent", "x-moz", "x-purpose"],
  ...["x-forwarded-for", "x-forwarded-host", "x-forwarded-method", "x-forwarded-proto", "x-forwarded-uri"],
  ...["connection", "content-length", "x-passerby-meter"],
];
/** Recipes that choose what the check sends, and what else the proxy itself sends. */
const CHOSEN = { nginx: [], haproxy: ["accept"], envoy: ["x-envoy-internal", "x-envoy-expected-rq-timeout-ms"] };

/** Ways to ask for the check from outside, and what must not come of any. */
const INTRUSIONS = [
  "/verify",
  "/verify?create=never",
  "/verify?meter=articles&item=1",
  "/verify/x?create=never",
  "//verify?create=never",
  "/./verify?create=never",
  "/%76erify?create=never",
  "/v1/../verify?create=never",
  "/v1/%2e%2e/verify?create=never",
  "/v1/..%2fverify?create=never",
  "/v1//..//verify?create=never",
  "/v1%2f..%2fverify?create=never",
  "/verify/../v1/session?create=never",
  "/verify/%2e%2e/v1/session?create=never",
  "/verify/..%2fv1/session?create=never",
  "/verify/..%2f..%2fv1%2fsession?create=never",
  "/_passerby",
  "/_passerby?create=never",
  "/_passerby/x?create=never",
  "/v1/../_passerby",
  "/passerby.js/../verify?create=never",
  "/passerby.js/%2e%2e/verify?create=never",
  "/passerby.js%2f..%2fverify?create=never",
  "/verify/..%2fpasserby.js",
  "/passerby-live.js/../verify?create=never",
  "/passerby-live.js%2f..%2fverify?create=never",
  "/verify/..%2fpasserby-live.js",
  "/v1/socket/../../verify?create=never",
  "/v1/socket%2f..%2f..%2fverify?create=never",
  "/v1/socket/%2e%2e/%2e%2e/verify?create=never",
  "/verify/..%2fv1/socket",
];

/** What a recipe asks. */
const checkOf = (name) => `GET /verify?create=auto&over=${OVER[name]}&item_from=path`;

const RECIPE = {
  nginx: "nginx/passerby.conf",
  caddy: "caddy/Caddyfile",
  haproxy: "haproxy/haproxy.cfg",
  traefik: "traefik/passerby.yml",
  envoy: "envoy/envoy.yaml",
};

for (const name of PROXIES) {
  describe(`a site behind ${name}`, { timeout: SUITE_DEADLINE }, () => {
    let all, server, wire, site, front;
    before(async () => {
      all = await startSiteBehind(name);
      ({ server, wire, site, front } = all);
    });
    after(() => all?.close());

    test("knows a new reader from the first page, and nothing is stored until the second", async () => {
      const stored = await storedUsers(server);
      const visitor = new Visitor(front);

      const first = await visitor.visit("/article");
      assertReader(first);
      assert.equal(first.setCookie.length, 1);
      // Traefik writes it again, in a different order.
      const [pair, ...attributes] = first.setCookie[0].split("; ");
      assert.match(pair, front.secure ? /^__Host-passerby=[\w-]+$/ : /^passerby=[\w-]+$/);
      const secure = front.secure ? ["Secure"] : [];
      assert.deepEqual(attributes.toSorted(), ["HttpOnly", "Max-Age=7776000", "Path=/", "SameSite=Lax", ...secure]);
      assert.equal(await storedUsers(server), stored);

      const second = await visitor.visit("/article");
      assertReader(second, first.user);
      assert.match(second.setCookie[0], /; Max-Age=7776000(;|$)/);
      assert.equal(await storedUsers(server), stored + 1);

      const third = await visitor.visit("/article");
      assertReader(third, first.user);
      assert.deepEqual(third.setCookie, [], "the cookie is set again once a day");
      assert.equal(await storedUsers(server), stored + 1);
    });

    test("gives every reader an own id, the same on every page", async () => {
      const readers = await Promise.all(Array.from({ length: 5 }, () => newReader(front)));
      assert.equal(new Set(readers.map(({ user }) => user)).size, 5);
      for (const { visitor, user } of readers) {
        const pages = await Promise.all(["/", "/a?b=c", "/d/e%20f"].map((path) => visitor.visit(path)));
        for (const page of pages) assertReader(page, user);
        assert.deepEqual(pages.map(({ page }) => page.url), ["/", "/a?b=c", "/d/e%20f"]);
      }
    });

    test("says to Passerby what was asked, and to the site all of it", async () => {
      const visitor = new Visitor(front);
      wire.clear();
      const body = JSON.stringify({ comment: "x".repeat(100_000) });
      const headers = { "content-type": "application/json", "x-forwarded-for": "192.0.2.1", "x-forwarded-uri": "/" };
      const { page } = await visitor.visit("/comments?page=2&create=never", { method: "POST", headers, body });

      assert.deepEqual([page.method, page.url, page.body], ["POST", "/comments?page=2&create=never", body]);
      // Envoy asks with the visitor's method.
      assert.deepEqual(wire.lines, [name === "envoy" ? checkOf(name).replace("GET", "POST") : checkOf(name)]);
      const sent = (header) => wire.requests[0].headers.filter(([sentName]) => sentName === header).map(([, it]) => it);
      assert.deepEqual(sent("x-forwarded-method"), ["POST"]);
      assert.deepEqual(sent("x-forwarded-uri"), ["/comments?page=2&create=never"]);
      assert.deepEqual(sent("x-forwarded-host"), [`127.0.0.1:${front.port}`]);
      assert.deepEqual(sent("x-forwarded-proto"), [front.secure ? "https" : "http"]);
      const hops = sent("x-forwarded-for").join().split(/, */).join();
      assert.match(hops, /^(192\.0\.2\.1,)?127\.0\.0\.1$/, "what the visitor says is not the last");
      assert.deepEqual(sent("transfer-encoding"), []);
      assert.ok(sent("content-length").every((length) => length === "0"));
    });

    test("does not wait for a body before it asks Passerby", async () => {
      wire.clear();
      const body = new PassThrough();
      body.write("first");
      const answer = new Visitor(front).visit("/comments", { method: "POST", body });
      const { headers } = await until("Passerby is asked", () => wire.requests[0]);
      assert.ok(!headers.some(([header]) => header === "transfer-encoding"));
      body.end(", second");
      assert.equal((await answer).page.body, "first, second");
    });

    test("answers as the site does, errors and cookies too, and with the reader's cookie", async () => {
      for (const status of [200, 401, 403, 404, 500, 503]) {
        const { page, ...answer } = await new Visitor(front).visit(`/page?theme=dark&status=${status}`);
        assert.equal(answer.status, status);
        assert.ok(page, "it is the site's page");
        const names = answer.setCookie.map((set) => set.split("=")[0]);
        assert.deepEqual(names.toSorted(), [front.secure ? "__Host-passerby" : "passerby", "theme"]);
      }
    });

    test("lets no header impersonate a different reader", async () => {
      const { visitor, user } = await newReader(front);
      const twice = Object.fromEntries(Object.entries(SPOOFS).map(([header, value]) => [header, [value, value]]));
      for (const headers of [SPOOFS, twice]) {
        assertReader(await visitor.visit("/", { headers }), user);
        const crawler = await new Visitor(front, { "user-agent": GOOGLEBOT }).visit("/", { headers });
        assert.deepEqual(crawler.passerby, [["x-passerby-anonymous", "true"]]);
        // Passerby gets none of it either.
        wire.clear();
        for (const path of ["/", SESSION]) await visitor.visit(path, { headers });
        assert.deepEqual(spoofedOf(wire), []);
      }
    });

    test("lets no one strip the id by calling its header one of the connection", async () => {
      const { visitor, user } = await newReader(front);
      const headers = { connection: "keep-alive, X-Passerby-User, x-passerby-anonymous" };
      assertReader(await visitor.visit("/", { headers }), user);
    });

    if (name in CHOSEN) test("sends Passerby what it reads of a request and nothing else, each once", async () => {
      const more = { "accept": "text/html", "accept-language": "de, en;q=0.5", "x-request": "1", "dnt": "1" };
      const twice = { "cookie": ["a=1", "b=2"], "purpose": ["other", "another"], "x-forwarded-for": ["192.0.2.1", "192.0.2.2"] };
      wire.clear();
      assertReader(await new Visitor(front).visit("/", { headers: { ...more, ...twice } }));
      const names = wire.requests[0].headers.map(([header]) => header);
      assert.deepEqual(names.filter((header) => !READ.includes(header) && !CHOSEN[name].includes(header)), []);
      assert.equal(new Set(names).size, names.length, `${names}`);
    });

    test("believes no X-Forwarded header of a visitor", async () => {
      const forwarded = { "x-forwarded-proto": front.secure ? "http" : "https", "x-forwarded-host": "evil.example" };
      const visitor = new Visitor(front);
      const first = await visitor.visit("/", { headers: forwarded });
      assert.ok(first.setCookie[0].startsWith(front.secure ? "__Host-passerby=" : "passerby="));
      const second = await visitor.visit("/", { headers: forwarded });
      assertReader(second, first.user);
      for (const scheme of ["http", "https"]) {
        const evil = { ...forwarded, origin: `${scheme}://evil.example` };
        assert.equal((await visitor.visit(SESSION, { method: "DELETE", headers: evil })).status, 403);
      }
    });

    test("lets a reader log out by cookie, and knows a new one afterwards", async () => {
      const { visitor, user } = await newReader(front);
      const session = await visitor.visit(SESSION);
      assert.equal(JSON.parse(session.text).user_id, user);
      for (const headers of [{}, { "sec-fetch-site": "cross-site" }, { origin: "https://evil.example" }]) {
        assert.equal((await visitor.visit(SESSION, { method: "DELETE", headers })).status, 403);
      }
      assertReader(await visitor.visit(), user);

      const before = visitor.copy();
      const headers = { "sec-fetch-site": "same-origin" };
      const out = await visitor.visit(SESSION, { method: "DELETE", headers });
      assert.equal(out.status, 204);
      assert.ok(out.headers["clear-site-data"]);
      assert.equal(visitor.readerCookie, undefined);

      for (const returning of [visitor, before]) {
        const next = await returning.visit();
        assertReader(next);
        assert.notEqual(next.user, user);
        assertReader(await returning.visit(), next.user);
      }
    });

    test("lets the site's script log in and out by an Origin of its own", async () => {
      const visitor = new Visitor(front);
      const headers = { origin: front.url, "content-type": "application/json" };
      const made = await visitor.visit("/v1/sessions", { method: "POST", headers, body: '{"mode":"cookie"}' });
      assert.equal(made.status, 201, made.text);
      const { user_id: user, access_token } = JSON.parse(made.text);
      assert.equal(access_token, undefined);
      assertReader(await visitor.visit(), user);
      assert.equal((await visitor.visit(SESSION, { method: "DELETE", headers })).status, 204);
      assert.equal(visitor.readerCookie, undefined);
    });

    for (const [who, { headers, method }] of Object.entries(MACHINES)) {
      test(`lets ${who} through and creates no user`, async () => {
        const stored = await storedUsers(server);
        const person = new Visitor(front);
        const { user } = await person.visit();
        const stranger = new Visitor(front, headers);
        const known = person.copy(headers);
        for (const visitor of [stranger, stranger, known, known]) {
          site.requests.length = 0;
          const answer = await visitor.visit("/page", { method });
          assert.equal(answer.status, 200);
          assert.deepEqual(answer.setCookie, []);
          assert.deepEqual(site.requests, [`${method ?? "GET"} /page`]);
          if (method !== "HEAD") assert.equal(answer.user, visitor === known ? user : undefined);
        }
        assert.equal(await storedUsers(server), stored);
      });
    }

    test("refuses a disabled reader and lets it in again", async () => {
      const { visitor, user } = await newReader(front);
      // Where the admin listener is, and what it takes from this machine.
      const [, token] = (await readFile(join(server.home, "data", "admin.token"), "utf8")).split("\n");
      const operate = async (what, body) => {
        const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
        const init = { method: "POST", headers, body: JSON.stringify(body) };
        const { status } = await fetch(`${server.adminUrl}/v1/admin/users/${user}/${what}`, init);
        assert.equal(status, 204);
      };
      await operate("disable", { reason: "copies everything" });
      site.requests.length = 0;
      const refused = await visitor.visit("/page");
      assert.deepEqual([refused.status, site.requests], [403, []]);
      assert.ok(!JSON.stringify(refused).includes("copies"));
      if (name === "nginx") assert.equal(refused.headers["x-passerby-reason"], "user-disabled");
      await operate("enable", {});
      const back = await visitor.visit("/page");
      assertReader(back, user);
      assert.equal(back.headers["x-passerby-reason"], undefined);
    });

    test("lets no one ask for the check from outside, so that an image on a foreign page counts nothing", async () => {
      const { visitor } = await newReader(front);
      const stored = await storedUsers(server);
      const image = { "sec-fetch-site": "cross-site", "sec-fetch-dest": "image", "x-original-uri": "/verify" };
      const own = [checkOf(name), ...SCRIPTS.map((script) => `GET ${script}`)];
      for (const headers of [image, { ...image, ...UPGRADE }]) {
        for (const path of INTRUSIONS) {
          wire.clear();
          const answer = await visitor.visit(path, { headers });
          assert.ok(answer.status !== 204, `${path}: ${answer.status}`);
          assert.equal(answer.headers["x-passerby-user"], undefined, path);
          assert.equal(answer.headers["x-passerby-reason"], undefined, path);
          // A visitor may write the same path with other characters; the query is never a visitor's.
          const others = wire.lines.filter((line) => !line.startsWith("GET /v1/") && !own.includes(decodeURI(line)));
          assert.deepEqual(others, [], `what Passerby was asked because of ${path}`);
        }
      }
      assert.equal(await storedUsers(server), stored);
    });

    for (const script of SCRIPTS) {
      test(`hands out Passerby's ${script} without a check, and nothing else in its place`, async () => {
        const { visitor, user } = await newReader(front);
        const original = await (await fetch(server.url + script)).text();
        site.requests.length = 0;
        wire.clear();
        for (const somebody of [visitor, new Visitor(front), new Visitor(front, { "user-agent": GOOGLEBOT })]) {
          const answer = await somebody.visit(script, { headers: SPOOFS });
          assert.deepEqual([answer.status, answer.text, answer.setCookie], [200, original, []]);
          assert.match(answer.headers["content-type"], /^text\/javascript\b/);
        }
        assert.deepEqual(wire.lines, Array(3).fill(`GET ${script}`));
        assert.deepEqual(spoofedOf(wire), []);

        const others = [script.replace("/p", "/P"), script.replace(".", "x"), script.replace(".", "-x.")];
        const pages = [`${script}/`, `${script}/x`, `${script}x`, `${script}.map`, `/x${script}`, ...others];
        for (const path of pages) assertReader(await visitor.visit(path), user);
        assert.deepEqual(site.requests, pages.map((path) => `GET ${path}`));
      });
    }

    test("opens a socket to no other site's page, and to no one without a cookie", async () => {
      const { visitor } = await newReader(front);
      const evil = `${front.secure ? "https" : "http"}://evil.example`;
      for (const more of [{}, { origin: evil }, { origin: evil, "x-forwarded-host": "evil.example" }]) {
        const answer = await visitor.visit(SOCKET, { headers: { ...UPGRADE, ...more } });
        assert.deepEqual([answer.status, JSON.parse(answer.text).code], [403, "cross-site"]);
      }
      const stranger = await new Visitor(front).visit(SOCKET, { headers: { ...UPGRADE, origin: front.url } });
      assert.deepEqual([stranger.status, JSON.parse(stranger.text).code], [401, "no-reader"]);
    });

    test("spoils no connection to Passerby with an upgrade that comes to nothing", async () => {
      const { visitor, user } = await newReader(front);
      const { connection, upgrade } = UPGRADE;
      for (const headers of [{ connection }, { upgrade }, { connection, upgrade }, { connection, upgrade: "other" }]) {
        for (const path of [SOCKET, SESSION, "/"]) {
          const before = await visitor.visit(path, { headers });
          assert.ok([200, 400].includes(before.status) || NO_UPGRADE[name] === before.status, before.text);
          assert.equal(JSON.parse((await visitor.visit(SESSION)).text).user_id, user);
          assertReader(await visitor.visit(), user);
        }
      }
    });

    test("lets a Bearer token say who it is, before any cookie", async () => {
      const { visitor } = await newReader(front);
      const made = await call(server.url, "POST", "/v1/sessions", undefined, {});
      const headers = { authorization: `Bearer ${made.body.access_token}` };
      for (const somebody of [visitor, new Visitor(front), new Visitor(front, { "user-agent": "app/1.0" })]) {
        const answer = await somebody.visit("/", { headers });
        assertReader(answer, made.body.user_id);
        assert.deepEqual(answer.setCookie, []);
        assert.equal(JSON.parse((await somebody.visit(SESSION, { headers })).text).user_id, made.body.user_id);
      }
      site.requests.length = 0;
      const refused = await visitor.visit("/", { headers: { authorization: "Bearer nonsense" } });
      assert.equal(refused.status, 401);
      assert.deepEqual(site.requests, []);
    });

    test("gets a signed assertion of who it is, if the recipe asks for it", async (t) => {
      const edits = { [RECIPE[name]]: { "create=auto": "create=auto&assertion=1" } };
      const own = await startFront(t, name, { passerby: wire.address, site: site.address, edits });
      const answer = await new Visitor(own).visit("/", { headers: SPOOFS });

      assert.deepEqual(answer.passerby.map(([header]) => header).toSorted(), [
        ...["x-passerby-anonymous", "x-passerby-assertion", "x-passerby-user"],
      ]);
      const [, assertion] = answer.passerby.find(([header]) => header === "x-passerby-assertion");
      const keys = createLocalJWKSet((await call(server.url, "GET", "/.well-known/jwks.json")).body);
      const { payload } = await jwtVerify(assertion, keys, { audience: "passerby", typ: "reader-assertion+jwt" });
      assert.deepEqual([payload.sub, payload.anonymous, payload.typ], [answer.user, true, "assertion"]);
    });

    test("gives a reader who stayed away for too long a new id", async (t) => {
      const forgetful = await startPasserby(t, {
        PASSERBY_EXPIRY_WINDOW: "5",
        PASSERBY_EXPIRY_TOUCH_GRANULARITY: "0",
      });
      const own = await startFront(t, name, { passerby: addressOf(forgetful), site: site.address });
      // Each visit would begin the time anew, so there is a new reader for each look. A few at a time, so that none
      // waits for its second visit for too long.
      const readers = [];
      await visits(80, 4, async () => readers.push(await newReader(own)));
      let nextLook = 0;
      const { visitor, user, next } = await until("a reader expires", async () => {
        if (performance.now() < nextLook) return undefined;
        nextLook = performance.now() + 200;
        const { visitor, user } = readers.pop();
        const next = await visitor.visit();
        assertReader(next);
        return next.user === user ? undefined : { visitor, user, next };
      });
      assert.notEqual(next.user, user);
      assert.match(next.setCookie[0], /; Max-Age=5(;|$)/);
      assertReader(await visitor.visit(), next.user);
    });

    test("passes on no upgrade but to a WebSocket", async () => {
      for (const upgrade of ["other", "OTHER/1.0", "other, websocket"]) {
        const { page } = await new Visitor(front).visit("/", { headers: { connection: "Upgrade", upgrade } });
        const passed = page?.headers.filter(([header]) => header === "upgrade") ?? [];
        assert.deepEqual(passed, [], upgrade);
      }
    });

    test("does not let a shared cache keep the page that brings a cookie", async () => {
      const visitor = new Visitor(front);
      const caching = async () => {
        const { headers, setCookie } = await visitor.visit("/?caching=public,%20max-age=3600");
        return [setCookie.length, headers["cache-control"]];
      };
      // Traefik cannot.
      const kept = name === "traefik" ? "public, max-age=3600" : "private, no-store";
      assert.deepEqual(await caching(), [1, kept]);
      assert.deepEqual(await caching(), [1, kept]);
      assert.deepEqual(await caching(), [0, "public, max-age=3600"]);
    });
  });
}
