// A site behind nginx, Caddy, HAProxy, Traefik and Envoy: the recipes of deploy/, started as they are, let the site
// know its readers.

import assert from "node:assert/strict";
import { once } from "node:events";
import { posix } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { createLocalJWKSet, jwtVerify } from "jose";

import {
  addressOf,
  FIREFOX,
  HOSTS,
  PROXIES,
  shownReader,
  startBrowser,
  startFront,
  startPasserby,
  startSite,
  startStub,
  startWire,
  storedUsers,
  until,
  Visitor,
} from "./proxies.mjs";
import { call, SUITE_DEADLINE } from "./server.mjs";
import { faults, PROTOCOL } from "./socket.mjs";

const SESSION = "/v1/session";
const SOCKET = "/v1/socket";
const SCRIPTS = ["/passerby.js", "/passerby-live.js"];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
/** A reader of those who stand in Passerby's place. */
const SOMEBODY = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2c";

const GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
/** Who is let through and never becomes a reader, by what they send. */
const MACHINES = {
  "a crawler": { headers: { "user-agent": GOOGLEBOT } },
  "a client without a name": { headers: {} },
  "a prefetch": { headers: { "user-agent": FIREFOX, "sec-purpose": "prefetch" } },
  "HEAD": { headers: { "user-agent": FIREFOX }, method: "HEAD" },
  "HEAD that says it is GET": { headers: { "user-agent": FIREFOX, "x-forwarded-method": "GET" }, method: "HEAD" },
};

/** What a visitor might send to be somebody else. */
const SPOOFS = {
  "X-Passerby-User": "somebody-else",
  "X_Passerby_User": "somebody-else",
  "X-Passerby_User": "somebody-else",
  "x_passerby-user": "somebody-else",
  "X-PASSERBY-ANONYMOUS": "false",
  "X_PASSERBY_ANONYMOUS": "false",
  "X-Passerby-Assertion": "a.b.c",
  "X_Passerby_Assertion": "a.b.c",
  "X.Passerby.User": "somebody-else",
  "X-Passerby-Session-Age": "1000000",
  "X-Passerby-Reason": "none",
  "X-Passerby-Meter": "articles",
  "X-Passerby-Meter-Remaining": "1000000",
  "X-Passerby-Meter-Lifted": "accounts",
  "X-Passerby-Meter-Page": "https://evil.example",
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

/** For the first ping of the server, which comes after 20 s; a deadline and not a pause. */
const PING_DEADLINE = 60_000;

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

/** Statuses of a check, and what becomes of the page. nginx's `auth_request` knows no refusals but 401 and 403. */
const REFUSALS = {
  nginx: { 401: 401, 402: 503, 403: 403, 404: 503, 431: 503, 500: 503, 503: 503 },
  caddy: { 200: 503, 401: 401, 402: 402, 403: 403, 404: 404, 431: 431, 500: 503, 503: 503 },
  haproxy: { 200: 503, 401: 401, 402: 403, 403: 403, 404: 403, 431: 403, 500: 503, 503: 503 },
  traefik: { 401: 401, 402: 402, 403: 403, 404: 404, 431: 431, 500: 503, 503: 503 },
  envoy: { 200: 503, 401: 401, 402: 402, 403: 403, 404: 404, 431: 431, 500: 503, 503: 503 },
};

/** How a recipe has Passerby say that an allowance is used up. */
const OVER = { nginx: 403, caddy: 403, haproxy: 403, traefik: 303, envoy: 303 };
/** What a recipe asks. */
const checkOf = (name) => `GET /verify?create=auto&over=${OVER[name]}&item_from=path`;

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

/** What a site changes that takes long bodies, where the proxy takes none by itself. */
const UPLOADS = {
  nginx: { "nginx/passerby.conf": { "    location / {\n": "    location / {\n        client_max_body_size 8m;\n" } },
};
/** Longer than what nginx takes by itself, 1 MiB. */
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

/** The line, or the block, of a recipe that makes a paywall; and the status of a page behind it. */
const PAYWALL = {
  nginx: [
    403,
    {
      "nginx/passerby.conf": {
        "    #location ~* ": "    location ~* ",
        "    #    set $passerby_meter": "        set $passerby_meter",
        "    #    proxy_pass http://site;\n    #}": "        proxy_pass http://site;\n    }",
      },
    },
  ],
  caddy: [
    402,
    {
      "caddy/Caddyfile": {
        "\t\t#@articles path": "\t\t@articles path",
        "\t\t#request_header @articles": "\t\trequest_header @articles",
      },
    },
  ],
  haproxy: [402, { "haproxy/haproxy.cfg": { "    #http-request set-header": "    http-request set-header" } }],
  traefik: [
    402,
    {
      "traefik/passerby.yml": {
        "    #articles:\n    #  entryPoints:": "    articles:\n      entryPoints:",
        "    #  rule:": "      rule:",
        "    #  priority: 15\n    #  tls: {}\n    #  middlewares:": "      priority: 15\n      tls: {}\n      middlewares:",
        "    #  service: site": "      service: site",
        "    #passerby-articles:\n    #  headers:": "    passerby-articles:\n      headers:",
      },
    },
  ],
  envoy: [
    402,
    {
      "envoy/envoy.yaml": Object.fromEntries(
        [
          '- match: { safe_regex: { regex: "(?i)(/articles/|.*(;|%5c)).*" } }',
          "  route: { cluster: site, timeout: 30s }",
          "  typed_per_filter_config:",
          "    passerby_headers:",
          '      "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute',
          "      mutations:",
          "        request_mutations:",
          "          - append: { header: { key: x-passerby-meter, value: articles } }",
        ].map((line) => [`                        #${line}\n`, `                        ${line}\n`]),
      ),
    },
  ],
};

/** Ways to ask for an article. */
const SPELLINGS = [
  "/%61rticles/4",
  "//articles/5",
  "/x/../articles/6",
  "/x/%2e%2e/articles/7",
  "/./articles/8",
  "/%2e/articles/9",
  "/articles%2f10",
  "/x%2f..%2farticles/11",
  "/x/..%2farticles/12",
  "/x/..//articles/13",
  "/%2farticles/14",
  "/ARTICLES/15",
  "/articles;x=1/16",
  "/;x/articles/17",
  "/x/..;/articles/18",
  "/x/..\\articles/19",
  "/articles\\20",
  "/x/..%5carticles/21",
  "/articles%5C22",
  "/articles/%zz",
];

/** Paths that no browser sends, which a recipe refuses or counts wherever they lead. */
const ODD = { nginx: ["/x#y"], haproxy: ["/x%zz", "/x%"] };

/** A path as a site might read it that decodes and resolves all it can, and minds neither case nor parameters. */
function asRead(path) {
  const decoded = path.split("?")[0].replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  const slashed = decoded.toLowerCase().replaceAll("\\", "/").replace(/;[^/]*/g, "");
  return posix.normalize(slashed).replace(/^[/]+/, "/");
}

const METER = '[meter.articles]\nlimit = 2\nwindow = "month"\n';
/** Accounts by e-mail address and password. */
const NAMES = "[provider.local_userpass.config]\nautoConfirm = true\n";

/** Recipes that do without keep-alive to Passerby. */
const NO_KEEP_ALIVE = {
  nginx: { "nginx/passerby.conf": { "keepalive_requests 100000;": "keepalive_requests 1;" } },
  haproxy: { "haproxy/haproxy.cfg": { "http-reuse always": "option http-server-close" } },
  traefik: { "traefik/passerby.yml": { "maxIdleConnsPerHost: 64": "maxIdleConnsPerHost: -1" } },
  envoy: { "envoy/envoy.yaml": { "idle_timeout: 60s": "max_requests_per_connection: 1" } },
};

const RECIPE = {
  nginx: "nginx/passerby.conf",
  caddy: "caddy/Caddyfile",
  haproxy: "haproxy/haproxy.cfg",
  traefik: "traefik/passerby.yml",
  envoy: "envoy/envoy.yaml",
};

/** A reader who is stored, and the id. */
async function newReader(front) {
  const visitor = new Visitor(front);
  const { user } = await visitor.visit("/first");
  assert.match(user, UUID);
  assertReader(await visitor.visit("/second"), user);
  return { visitor, user };
}

/** The page came from the site, for this reader, who is anonymous; and the site got nothing else of that kind. */
function assertReader(answer, user = answer.user) {
  assert.equal(answer.status, 200, answer.text);
  assert.match(`${answer.user}`, UUID, JSON.stringify(answer));
  assert.deepEqual(answer.passerby.toSorted(), [["x-passerby-anonymous", "true"], ["x-passerby-user", user]]);
}

/** Names of headers that went to Passerby and are for the site. */
const spoofedOf = (wire) =>
  wire.requests
    .flatMap((request) => request.headers.map(([header]) => header))
    .filter((header) => /^x[^a-z0-9]passerby/.test(header));

/** `count` requests of one browser, `atOnce` under way at a time. Answers how many it were a second. */
async function visits(count, atOnce, visit) {
  const began = performance.now();
  let left = count;
  const one = async () => {
    while (left > 0) {
      left -= 1;
      await visit();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return Math.round((count * 1000) / (performance.now() - began));
}

for (const name of PROXIES) {
  describe(`a site behind ${name}`, { timeout: SUITE_DEADLINE }, () => {
    const hasKeepAlive = name in NO_KEEP_ALIVE;
    let server, wire, site, front;
    before(async () => {
      server = await startPasserby(null);
      [wire, site] = await Promise.all([startWire(null, server), startSite(null)]);
      front = await startFront(null, name, { passerby: wire.address, site: site.address });
    });
    after(async () => {
      await front?.close();
      site?.close();
      wire?.close();
      await server?.close();
    });

    test("knows a new reader from the first page, and nothing is stored until the second", async () => {
      const stored = await storedUsers(server);
      const visitor = new Visitor(front);

      const first = await visitor.visit("/article");
      assertReader(first);
      assert.equal(first.setCookie.length, 1);
      // Traefik writes it anew, in another order.
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

    test("gives every reader another id, and each the same on every page", async () => {
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

    test("lets nobody be somebody else by a header", async () => {
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

    test("lets nobody take the id off by calling its header one of the connection", async () => {
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
      test(`lets ${who} through and makes nobody of it`, async () => {
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

    test("lets nobody ask for the check from outside, so that an image on another's page burns nothing", async () => {
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

    test("opens a socket to no other site's page, and to nobody without a cookie", async () => {
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

    test("gives a reader who stayed away for too long another id", async (t) => {
      const forgetful = await startPasserby(t, {
        PASSERBY_EXPIRY_WINDOW: "5",
        PASSERBY_EXPIRY_TOUCH_GRANULARITY: "0",
      });
      const own = await startFront(t, name, { passerby: addressOf(forgetful), site: site.address });
      // Each visit would begin the time anew, so there is another reader for each look. A few at a time, so that none
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
      // HAProxy's client for Lua by itself waits for 3 s each time.
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

    test("is a paywall for the pages that a meter counts, each once, and for no others", async (t) => {
      const own = await startPasserby(t, {}, METER);
      const [over, edits] = PAYWALL[name];
      const paid = await startFront(t, name, { passerby: addressOf(own), site: site.address, edits });
      const { visitor, user } = await newReader(paid);
      const reads = async (path, status) => {
        site.requests.length = 0;
        const answer = await visitor.visit(path, { headers: SPOOFS });
        assert.equal(answer.status, status, path);
        if (status !== 200) assert.deepEqual([answer.page, site.requests], [null, []], path);
        const facts = new Map(answer.passerby.map(([header, value]) => [header.replace("x-passerby-", ""), value]));
        if (status === 200) assert.equal(facts.get("user"), user);
        return { ...answer, facts };
      };
      const read = [];
      // What a visitor writes is no part of what is asked.
      for (const path of ["/articles/1?x&operation=z", "/articles/1?utm_source=a&utm_medium=b", "/articles/2?item=1&operation=z"])
        read.push((await reads(path, 200)).facts);
      const { user: _, ...told } = Object.fromEntries(read[2]);
      assert.match(told["meter-resets"], /^\d{4}-\d\d-01T00:00:00Z$/);
      assert.deepEqual({ ...told, "meter-resets": "" }, {
        "anonymous": "true",
        "meter-limit": "2",
        "meter-remaining": "0",
        "meter-resets": "",
        "meter-used": "2",
      });
      assert.deepEqual(read.map((facts) => facts.get("meter-used")), ["1", "1", "2"]);
      const refused = await reads("/articles/3?operation=z", over);
      if (["nginx", "caddy", "haproxy"].includes(name)) assert.match(refused.text, /read what is free/);
      await reads("/articles/1", 200);
      assert.deepEqual([...(await reads("/", 200)).facts.keys()].toSorted(), ["anonymous", "user"]);
      for (const path of ODD[name] ?? []) {
        site.requests.length = 0;
        assert.deepEqual([(await visitor.visit(path)).page, site.requests], [null, []], path);
      }
      // However it is written.
      for (const path of SPELLINGS) {
        site.requests.length = 0;
        await visitor.visit(path).catch((error) => assert.match(error.code, /^ECONN|^HPE_/));
        const reached = site.requests.filter((line) => asRead(line.split(" ")[1]).startsWith("/articles/"));
        assert.deepEqual(reached, [], path);
      }
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

    test("sends a visitor whose allowance is used up to the page of the meter, and lets an account read on", async (t) => {
      const page = "https://news.example/subscribe?from=wall";
      const own = await startPasserby(t, {}, `${METER}page = "${page}"\naccounts = "free"\n${NAMES}`);
      const [, edits] = PAYWALL[name];
      const paid = await startFront(t, name, { passerby: addressOf(own), site: site.address, edits });
      const { visitor, user } = await newReader(paid);
      for (const path of ["/articles/1", "/articles/2"]) assert.equal((await visitor.visit(path)).user, user);
      for (const method of ["GET", "POST"]) {
        site.requests.length = 0;
        const answer = await visitor.visit("/articles/3", { method, headers: SPOOFS });
        assert.deepEqual([answer.status, answer.headers.location], [303, page]);
        assert.deepEqual([answer.headers["x-passerby-meter-page"], site.requests], [undefined, []]);
      }

      const headers = { origin: paid.url, "content-type": "application/json" };
      const body = JSON.stringify({ provider: "local-userpass", email: "reader@example.com", password: "correct horse" });
      const { provider, ...names } = JSON.parse(body);
      const registered = await visitor.visit("/v1/registrations", { method: "POST", headers, body: JSON.stringify(names) });
      assert.ok(registered.status < 300, registered.text);
      const linked = await visitor.visit("/v1/user/identities", { method: "POST", headers, body });
      assert.ok(linked.status < 300, linked.text);
      const { status, passerby } = await visitor.visit("/articles/3", { headers: SPOOFS });
      assert.equal(status, 200);
      assert.deepEqual(passerby.toSorted(), [
        ["x-passerby-anonymous", "false"],
        ["x-passerby-meter-lifted", "accounts"],
        ["x-passerby-user", user],
      ]);
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

    test("asks again over another connection when one that rested was closed", async (t) => {
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

    if (hasKeepAlive) test("makes a connection for every page without the recipe's keep-alive", async (t) => {
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

// All at once, since each waits for a ping.
describe("a reader's socket", { concurrency: true, timeout: SUITE_DEADLINE }, () => {
  for (const name of PROXIES) {
    test(`is open behind ${name}, for as long as the page is`, async (t) => {
      const [server, site] = await Promise.all([startPasserby(t), startSite(t)]);
      const wire = await startWire(t, server);
      const front = await startFront(t, name, { passerby: wire.address, site: site.address });
      const visitor = new Visitor(front);
      const headers = { origin: front.url, "content-type": "application/json" };
      const made = await visitor.visit("/v1/sessions", { method: "POST", headers, body: '{"mode":"cookie"}' });
      assert.equal(made.status, 201, made.text);
      const { user_id: user } = JSON.parse(made.text);

      wire.clear();
      const socket = await visitor.socket(SPOOFS);
      const pinged = once(socket.ws, "ping", { signal: AbortSignal.timeout(PING_DEADLINE) });
      assert.deepEqual(wire.lines, [`GET ${SOCKET}`]);
      assert.deepEqual(spoofedOf(wire), []);
      const { type, user_id, anonymous, version, data } = await socket.push();
      assert.deepEqual([type, user_id, anonymous, version, data], ["hello", user, true, 0, null]);

      assert.deepEqual(await socket.does("put", { data: { read: 1 } }), { version: 1 });
      const [, patch] = await Promise.all([
        socket.isTold({ type: "data.changed", version: 2, patch: { saved: true } }),
        visitor.visit("/v1/data", { method: "PATCH", headers, body: '{"saved":true}' }),
      ]);
      assert.deepEqual([patch.status, JSON.parse(patch.text)], [200, { version: 2 }]);

      await pinged;
      assert.deepEqual(await socket.does("get"), { version: 2, data: { read: 1, saved: true } });
      assert.deepEqual(site.requests, []);
      const ended = socket.endsWith(1012);
      await server.stop();
      await ended;
    });
  }

  after(() => assert.deepEqual(faults, [], "what asyncapi.json does not have"));
});

describe("a reader's cookie in a real browser, behind nginx with TLS", { timeout: SUITE_DEADLINE }, () => {
  const [news, portal, otherPortal] = HOSTS;

  /** nginx before a Passerby with these settings, a browser, and the addresses of pages there. */
  async function startAll(t, settings) {
    const [server, site, page] = await Promise.all([startPasserby(t, settings), startSite(t), startBrowser(t)]);
    const front = await startFront(t, "nginx", { passerby: addressOf(server), site: site.address });
    const frame = `https://${news}:${front.port}/frame`;
    const framedBy = (host) => `https://${host}:${front.port}/portal?of=${encodeURIComponent(frame)}`;
    return { server, page, frame, framedBy };
  }

  const cookiesOf = async (page, host) =>
    (await page.browser().cookies()).filter(({ domain, name }) => domain === host && name.endsWith("passerby"));

  test("is a __Host- cookie that the browser keeps and sends, and nobody's frame gets", async (t) => {
    const { server, page, frame, framedBy } = await startAll(t);
    const user = await shownReader(page, frame);
    for (let i = 0; i < 3; i += 1) assert.equal(await shownReader(page, frame), user);
    assert.equal(await storedUsers(server), 1);

    const cookies = await cookiesOf(page, news);
    assert.equal(cookies.length, 1);
    const [{ name, secure, httpOnly, sameSite, path, partitionKey }] = cookies;
    assert.deepEqual(
      { name, secure, httpOnly, sameSite, path, partitionKey },
      { name: "__Host-passerby", secure: true, httpOnly: true, sameSite: "Lax", path: "/", partitionKey: undefined },
    );

    const framed = await shownReader(page, framedBy(portal));
    assert.notEqual(framed, user);
    assert.notEqual(await shownReader(page, framedBy(portal)), framed, "and a frame keeps none");
    assert.equal(await shownReader(page, frame), user);
  });

  test("is kept apart for each site that has a frame of ours, with cookie.partitioned (CHIPS)", async (t) => {
    const { page, frame, framedBy } = await startAll(t, { PASSERBY_COOKIE_PARTITIONED: "true" });
    const addresses = [frame, framedBy(portal), framedBy(otherPortal)];
    const users = [];
    for (const address of addresses) users.push(await shownReader(page, address));
    assert.equal(new Set(users).size, 3);
    for (let i = 0; i < 2; i += 1) {
      for (const [n, address] of addresses.entries()) assert.equal(await shownReader(page, address), users[n]);
    }
    const cookies = await cookiesOf(page, news);
    assert.equal(cookies.length, 3);
    for (const { name, secure, httpOnly, sameSite, partitionKey } of cookies) {
      assert.deepEqual([name, secure, httpOnly, sameSite], ["__Host-passerby", true, true, "None"]);
      assert.ok(partitionKey);
    }
  });

  test("is written as both want it", async (t) => {
    const partitioned = await startPasserby(t, { PASSERBY_COOKIE_PARTITIONED: "true" });
    const site = await startSite(t);
    const front = await startFront(t, "nginx", { passerby: addressOf(partitioned), site: site.address });
    const { setCookie } = await new Visitor(front).visit();
    assert.equal(setCookie.length, 1);
    assert.match(
      setCookie[0],
      /^__Host-passerby=[\w-]+; HttpOnly; SameSite=None; Secure; Path=\/; Max-Age=7776000; Partitioned$/,
    );
  });
});
