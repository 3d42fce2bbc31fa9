// /passerby.js in a real browser: on pages of the site itself, and of a different origin of the same site.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import { createChallenge, verifySolution } from "altcha-lib";
import { deriveKey } from "altcha-lib/algorithms/pbkdf2";

import { startBrowser } from "../kit/browser.mjs";
import { newHome } from "../kit/cleanup.mjs";
import { Server, SUITE_DEADLINE } from "../kit/server.mjs";
import { Site } from "../kit/site.mjs";

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const MOST_BYTES = 4096;

const SESSIONS = "POST /v1/sessions";
const SESSION_END = "DELETE /v1/session";
const ARTICLES = "POST /v1/meters/articles";
const CHALLENGE = "GET /v1/challenge";

const METERS = `
  [meter.articles]
  limit = 3
  window = "month"
  [meter.views]
  limit = 1000
  window = "day"
`;

const servers = [];
/** A Passerby with these settings, and meters. */
async function startPasserby(settings = "") {
  const home = await newHome();
  await writeFile(join(home, "passerby.toml"), settings + METERS);
  const server = new Server(home, []);
  servers.push(server);
  return server.start();
}

const sites = [];
async function startSite(options) {
  const site = await new Site(options).listen();
  sites.push(site);
  return site;
}

/** An answer in Passerby's place. */
const json = (status, body, headers = {}) => (request, response) =>
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
const problem = (status, code, headers) => json(status, { status, code, detail: `this is ${code}` }, headers);
const html = (status) => (request, response) =>
  response.writeHead(status, { "content-type": "text/html" }).end("<!doctype html>");
const hangUp = (request, response) => response.destroy();

/** How many users a Passerby has stored. */
async function storedUsers(server) {
  const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text();
  return Number(/^passerby_users (\d+)$/m.exec(metrics)[1]);
}

/** What a page in a new tab says of its work: { value } or { error }. */
async function outcome(device, url) {
  const tab = await device.open(url);
  // First, as in a tab that is not in front reading does not wait for what is drawn later.
  await tab.see("#result");
  return JSON.parse(await tab.read("#result"));
}

async function valueOn(device, url) {
  const { value, error } = await outcome(device, url);
  assert.equal(error, undefined, JSON.stringify(error));
  return value;
}

async function errorOn(device, url) {
  const { value, error } = await outcome(device, url);
  assert.notEqual(error, undefined, `no error but ${JSON.stringify(value)}`);
  return error;
}

const askReader = ({ reader }) => reader();

describe("/passerby.js", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let site;
  let server;

  before(async () => {
    browser = await startBrowser();
    site = await startSite();
    server = await startPasserby(`allowed_origins = ["${site.url}"]`);
    site.passerby = server;
  });
  after(async () => {
    await browser?.close();
    await Promise.all([...servers, ...sites].map((one) => one.close()));
  });

  describe("as it is served", () => {
    const served = () => fetch(`${server.url}/passerby.js`);

    /** The module as a file of its own. */
    async function fileOfIt(t) {
      const home = await mkdtemp(join(tmpdir(), "passerby-script-"));
      t.after(() => rm(home, { recursive: true, force: true }));
      const file = join(home, "passerby.mjs");
      await writeFile(file, await (await served()).text());
      return file;
    }

    test("is small", async () => {
      const size = gzipSync(await (await served()).text(), { level: 9 }).length;
      assert.ok(size < MOST_BYTES, `${size} bytes`);
    });

    test("is a script for pages of every origin, and is asked for again only when it has changed", async () => {
      const { headers, status } = await served();
      assert.equal(status, 200);
      assert.equal(headers.get("content-type"), "text/javascript; charset=utf-8");
      assert.equal(headers.get("cross-origin-resource-policy"), "cross-origin");
      assert.equal(headers.get("cache-control"), "public, max-age=3600");
      assert.match(headers.get("etag"), /^"[^"]+"$/);
      const again = (tag) => fetch(`${server.url}/passerby.js`, { headers: { "if-none-match": tag } });
      const same = await again(headers.get("etag"));
      assert.equal(same.status, 304);
      assert.equal(same.headers.get("etag"), headers.get("etag"));
      assert.equal(await same.text(), "");
      assert.equal((await again('"another"')).status, 200);
    });

    test("has types that hold", async (t) => {
      const file = await fileOfIt(t);
      const tsc = fileURLToPath(import.meta.resolve("typescript-7/package.json").replace(/package\.json$/, "bin/tsc"));
      const options = ["--noEmit", "--allowJs", "--checkJs", "--strict", "--ignoreConfig"];
      const target = ["--target", "es2022", "--module", "es2022", "--lib", "es2022,dom"];
      const check = promisify(execFile)(process.execPath, [tsc, ...options, ...target, file]);
      await check.catch(({ stdout }) => assert.fail(stdout));
    });

    test("keeps nothing in the browser's storage", async () => {
      assert.doesNotMatch(await (await served()).text(), /localStorage|sessionStorage|indexedDB|document\.cookie/);
    });

    test("can be imported where there is no browser", async (t) => {
      const exported = await import(pathToFileURL(await fileOfIt(t)));
      assert.deepEqual(Object.keys(exported), ["PasserbyError", "logout", "meter", "reader"]);
    });
  });

  for (const [where, originOf] of [
    ["on the site itself", () => site.url],
    ["from another origin of the site", () => server.url],
  ]) {
    describe(where, () => {
      /** The address of a page whose module comes from there. */
      const page = (work, ...args) => site.url + site.page(work, { args, script: originOf() });

      test("a reader keeps the id over reloads and in every tab", async (t) => {
        const device = await browser.newDevice(t);
        const reloading = page(async ({ reader }) => {
          const id = await reader();
          if (location.hash !== "") return [location.hash.slice(1), id];
          location.hash = id;
          location.reload();
          return new Promise(() => {});
        });
        const ids = await valueOn(device, reloading);
        ids.push(await valueOn(device, page(askReader)));
        assert.match(ids[0], UUID_V7);
        assert.deepEqual(ids, [ids[0], ids[0], ids[0]]);
      });

      test("nothing of it is where a script could read it", async (t) => {
        const device = await browser.newDevice(t);
        const seen = await valueOn(
          device,
          page(async ({ reader }) => {
            await reader();
            const databases = await indexedDB.databases();
            return [document.cookie, localStorage.length, sessionStorage.length, databases.length];
          }),
        );
        assert.deepEqual(seen, ["", 0, 0, 0]);
        const [cookie, ...others] = await device.cookies();
        assert.deepEqual(others, []);
        assert.equal(cookie.name, "passerby");
        assert.equal(cookie.httpOnly, true);
      });

      test("tabs that begin at once have one reader", async (t) => {
        const device = await browser.newDevice(t);
        const stored = await storedUsers(server);
        const url = page(({ reader, meter }) => Promise.all([reader(), reader(), meter("views").then(reader)]));
        const ids = (await Promise.all(Array.from({ length: 4 }, () => valueOn(device, url)))).flat();
        assert.equal(new Set(ids).size, 1, `${ids}`);
        assert.equal(await storedUsers(server), stored + 1);
      });

      test("a visitor who clears the cookies is a new reader", async (t) => {
        const device = await browser.newDevice(t);
        const url = page(async ({ meter, reader }) => {
          const first = [await reader(), (await meter("articles", "a")).used, (await meter("articles", "b")).used];
          await fetch("/forget");
          return [first, [await reader(), (await meter("articles", "c")).used]];
        });
        const [[oldId, ...counted], [newId, countedAnew]] = await valueOn(device, url);
        assert.notEqual(newId, oldId);
        assert.deepEqual(counted, [1, 2]);
        assert.equal(countedAnew, 1);
      });

      test("a meter counts each item once until it is used up", async (t) => {
        const device = await browser.newDevice(t);
        const url = page(async ({ meter }) => {
          const seen = [];
          for (const item of ["a", "a", "b", undefined, "c", "a"]) seen.push(await meter("articles", item));
          return seen;
        });
        const seen = await valueOn(device, url);
        const [first] = seen;
        assert.deepEqual(Object.keys(first).sort(), ["allowed", "limit", "name", "remaining", "resets", "used"]);
        assert.ok(Date.parse(first.resets) > Date.now(), first.resets);
        assert.deepEqual(
          seen.map(({ name, limit, used, remaining, allowed }) => [name, limit, used, remaining, allowed]),
          [
            ["articles", 3, 1, 2, true],
            ["articles", 3, 1, 2, true],
            ["articles", 3, 2, 1, true],
            ["articles", 3, 3, 0, true],
            ["articles", 3, 3, 0, false],
            ["articles", 3, 3, 0, true],
          ],
        );
      });

      test("tabs that count at once lose no count", async (t) => {
        const device = await browser.newDevice(t);
        const url = page(({ meter }) => Promise.all(Array.from({ length: 10 }, () => meter("views"))));
        const uses = (await Promise.all([1, 2, 3].map(() => valueOn(device, url)))).flat();
        const counts = uses.map(({ used }) => used).sort((a, b) => a - b);
        assert.deepEqual(counts, Array.from({ length: 30 }, (_, i) => i + 1));
      });

      test("after a logout comes a new reader, and a second logout is no error", async (t) => {
        const device = await browser.newDevice(t);
        const url = page(async ({ logout, reader }) => {
          const first = await reader();
          const ended = await logout();
          await logout();
          const second = await reader();
          // not the one who is on the way while it begins
          const onTheWay = reader();
          const leaving = logout();
          const next = reader();
          await leaving;
          return { ids: [first, second, await next], onTheWay: await onTheWay, endsEmpty: ended === undefined };
        });
        const { ids, onTheWay, endsEmpty } = await valueOn(device, url);
        assert.equal(new Set(ids).size, 3, `${ids}`);
        assert.equal(onTheWay, ids[1]);
        assert.equal(endsEmpty, true);
        assert.equal(await valueOn(device, page(askReader)), ids[2]);
      });

      test("an error says what and why", async (t) => {
        const device = await browser.newDevice(t);
        const error = await errorOn(device, page(({ meter }) => meter("no/such")));
        const { message, retryAfter, ...facts } = error;
        assert.deepEqual(facts, { name: "PasserbyError", status: 404, code: "no-such-meter", isPasserby: true });
        assert.equal(message, "there is no meter of this name");
        assert.equal(retryAfter, undefined);
      });
    });
  }

  test("a different origin is asked without a preflight", async (t) => {
    const device = await browser.newDevice(t);
    const other = await startSite();
    other.passerby = server;
    assert.match(await valueOn(device, site.url + site.page(askReader, { script: other.url })), UUID_V7);
    assert.deepEqual(other.requests.map(({ line }) => line), ["GET /passerby.js", SESSIONS]);
  });

  describe("on a page that is not listed", () => {
    /** What such a page gets without the module, with the cookie and by a request that no preflight precedes. */
    const ask = async (_, origin) => {
      const request = { method: "POST", body: '{"mode":"cookie"}', credentials: "include" };
      const seen = [];
      for (const mode of ["cors", "no-cors"]) {
        const response = await fetch(`${origin}/v1/sessions`, { ...request, mode }).catch(() => "refused");
        seen.push(response.type ?? response);
      }
      return seen;
    };

    for (const host of ["127.0.0.1", "localhost"]) {
      test(`nothing is created or shown for http://${host}`, async (t) => {
        const device = await browser.newDevice(t);
        const other = await startSite();
        other.passerby = server;
        const stored = await storedUsers(server);
        const url = `http://${host}:${other.port}`;
        assert.deepEqual(await valueOn(device, url + other.page(ask, { args: [server.url], script: url })), [
          "refused",
          "opaque",
        ]);
        assert.equal(await storedUsers(server), stored);
        assert.deepEqual(await device.cookies(), []);
      });
    }

    test("the reader's cookie is worth nothing", async (t) => {
      const device = await browser.newDevice(t);
      const id = await valueOn(device, site.url + site.page(askReader));
      const other = await startSite();
      other.passerby = server;
      const leave = async (_, origin) => {
        const request = { method: "DELETE", credentials: "include" };
        return (await fetch(`${origin}/v1/session`, request).catch(() => "refused")).type ?? "refused";
      };
      assert.equal(await valueOn(device, other.url + other.page(leave, { args: [server.url] })), "refused");
      assert.deepEqual(await valueOn(device, other.url + other.page(ask, { args: [server.url] })), [
        "refused",
        "opaque",
      ]);
      assert.equal(await valueOn(device, site.url + site.page(askReader)), id);
    });

    test("the module says that it gets no answer, where no origin is listed at all", async (t) => {
      const device = await browser.newDevice(t);
      const open = await startPasserby();
      const { status, code } = await errorOn(device, site.url + site.page(askReader, { script: open.url }));
      assert.deepEqual({ status, code }, { status: 0, code: "unreachable" });
      assert.equal(await storedUsers(open), 0);
    });
  });

  describe("when something fails", () => {
    let failing;
    const page = (work, ...args) => failing.url + failing.page(work, { args });

    before(async () => {
      failing = await startSite();
      failing.passerby = server;
    });

    test("it comes again after a broken connection and 503", async (t) => {
      const device = await browser.newDevice(t);
      failing.requests = [];
      failing.answerNext(SESSIONS, hangUp, problem(503, "busy", { "retry-after": "1" }));
      assert.match(await valueOn(device, page(askReader)), UUID_V7);
      assert.equal(failing.count(SESSIONS), 3);
    });

    test("it gives up the third time", async (t) => {
      const device = await browser.newDevice(t);
      failing.requests = [];
      failing.answerNext(SESSIONS, hangUp, html(502), problem(503, "not-writable"));
      const { message, ...facts } = await errorOn(device, page(askReader));
      assert.deepEqual(facts, { name: "PasserbyError", status: 503, code: "not-writable", isPasserby: true });
      assert.equal(failing.count(SESSIONS), 3);
    });

    test("it does not wait for long", async (t) => {
      const device = await browser.newDevice(t);
      failing.requests = [];
      failing.answerNext(SESSIONS, problem(503, "capacity", { "retry-after": "60" }));
      const { code, retryAfter } = await errorOn(device, page(askReader));
      assert.deepEqual({ code, retryAfter }, { code: "capacity", retryAfter: 60 });
      assert.equal(failing.count(SESSIONS), 1);
    });

    test("what is wrong is not asked again", async (t) => {
      const device = await browser.newDevice(t);
      failing.requests = [];
      failing.answerNext(SESSIONS, problem(429, "over-budget", { "retry-after": "3" }));
      const { status, code, retryAfter } = await errorOn(device, page(askReader));
      assert.deepEqual({ status, code, retryAfter }, { status: 429, code: "over-budget", retryAfter: 3 });
      assert.equal(failing.count(SESSIONS), 1);
    });

    test("an answer that is not Passerby's is an error", async (t) => {
      const device = await browser.newDevice(t);
      failing.answerNext(SESSIONS, html(200));
      const { status, code } = await errorOn(device, page(askReader));
      assert.deepEqual({ status, code }, { status: 200, code: "bad-answer" });
    });

    test("a call after a failed one begins anew", async (t) => {
      const device = await browser.newDevice(t);
      failing.answerNext(SESSIONS, problem(429, "over-budget"));
      const url = page(async ({ reader }) => {
        const codes = await Promise.all([reader(), reader()].map((asked) => asked.catch(({ code }) => code)));
        return [...codes, await reader()];
      });
      const [first, second, id] = await valueOn(device, url);
      assert.deepEqual([first, second], ["over-budget", "over-budget"]);
      assert.match(id, UUID_V7);
    });

    test("a use whose answer was lost counts once, and two uses twice", async (t) => {
      const device = await browser.newDevice(t);
      failing.requests = [];
      const lost = (request, response) => failing.passOn(request, response, (answer) => {
        answer.resume();
        response.destroy();
      });
      failing.answerNext(ARTICLES, problem(401, "no-reader"), lost);
      const url = page(async ({ meter }) => [(await meter("articles")).used, (await meter("articles")).used]);
      assert.deepEqual(await valueOn(device, url), [1, 2]);
      const uses = failing.requests.filter(({ line }) => line === ARTICLES);
      const keys = uses.map(({ headers }) => headers["idempotency-key"]);
      assert.equal(keys.length, 4);
      assert.deepEqual(keys, [keys[0], keys[0], keys[0], keys[3]]);
      assert.notEqual(keys[3], keys[0]);
      assert.equal(failing.count(SESSIONS), 1);
    });

    test("a browser that keeps no cookies is not asked for ever", async (t) => {
      const device = await browser.newDevice(t);
      failing.requests = [];
      failing.answerNext(ARTICLES, problem(401, "no-reader"), problem(401, "session-ended"));
      const { status, code } = await errorOn(device, page(({ meter }) => meter("articles")));
      assert.deepEqual({ status, code }, { status: 401, code: "session-ended" });
      assert.equal(failing.count(ARTICLES), 2);
      assert.equal(failing.count(SESSIONS), 1);
    });

    test("a logout that fails says so", async (t) => {
      const device = await browser.newDevice(t);
      failing.answerNext(SESSION_END, problem(403, "user-disabled"));
      const { status, code } = await errorOn(device, page(({ logout }) => logout()));
      assert.deepEqual({ status, code }, { status: 403, code: "user-disabled" });
    });
  });

  describe("when work is needed", () => {
    const SECRET = "a secret of the tests";
    const OTHER_SECRET = "another secret of the tests";
    const signed = { hmacSignatureSecret: SECRET, hmacKeySignatureSecret: OTHER_SECRET };
    const needed = problem(429, "work-needed");
    let working;

    before(async () => {
      working = await startSite();
      working.passerby = server;
    });

    /** Challenges as Passerby makes them, but easier. */
    async function challenge(request, response) {
      const data = { for: "create" };
      const work = { algorithm: "PBKDF2/SHA-256", cost: 10, counter: 300, data, deriveKey };
      json(200, await createChallenge({ ...work, ...signed }))(request, response);
    }

    /** Answers as Passerby does if the proof is good, and otherwise asks for a new one. */
    const checked = (answer) => async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const { altcha, ...body } = JSON.parse(Buffer.concat(chunks));
      const proof = JSON.parse(Buffer.from(altcha, "base64"));
      const { verified } = await verifySolution({ ...proof, ...signed, deriveKey });
      (verified && proof.solution.counter === 300 ? answer(body) : needed)(request, response);
    };

    /** What `work` gives, how many workers it began and ended, and whether the page itself worked. */
    async function watched(passerby, work) {
      const seen = { begun: 0, ended: 0, onPage: false };
      const { Worker } = globalThis;
      globalThis.Worker = class extends Worker {
        constructor(...args) {
          super(...args);
          seen.begun += 1;
        }
        terminate() {
          seen.ended += 1;
          super.terminate();
        }
      };
      const derive = crypto.subtle.deriveBits.bind(crypto.subtle);
      crypto.subtle.deriveBits = (...args) => {
        seen.onPage = true;
        return derive(...args);
      };
      const calls = { reader: () => passerby.reader(), meter: () => passerby.meter("articles", "a") };
      const value = await calls[work]();
      return { ...seen, value };
    }

    const page = (work, options) => working.url + working.page(watched, { args: [work], ...options });

    test("it is done beside the page", async (t) => {
      const device = await browser.newDevice(t);
      working.answerNext(SESSIONS, needed, checked((body) => json(201, { user_id: JSON.stringify(body) })));
      working.answerNext(CHALLENGE, challenge);
      const { value, ...seen } = await valueOn(device, page("reader"));
      assert.deepEqual(JSON.parse(value), { mode: "cookie" });
      assert.deepEqual(seen, { begun: 1, ended: 1, onPage: false });
    });

    test("a meter's call repeats what it asked", async (t) => {
      const device = await browser.newDevice(t);
      working.requests = [];
      working.answerNext(ARTICLES, needed, checked((body) => json(200, body)));
      working.answerNext(CHALLENGE, challenge);
      const { value } = await valueOn(device, page("meter"));
      assert.deepEqual(value, { item: "a" });
      const [first, second] = working.requests.filter(({ line }) => line === ARTICLES);
      assert.equal(first.headers["idempotency-key"], second.headers["idempotency-key"]);
    });

    test("it is done on a page that may have no workers from blobs", async (t) => {
      const device = await browser.newDevice(t);
      working.answerNext(SESSIONS, needed, checked(() => json(201, { user_id: "somebody" })));
      working.answerNext(CHALLENGE, challenge);
      const { value, onPage } = await valueOn(device, page("reader", { csp: "default-src 'self'" }));
      assert.equal(value, "somebody");
      assert.equal(onPage, true);
    });

    test("it is done on a page that starts workers from trusted addresses alone", async (t) => {
      const device = await browser.newDevice(t);
      working.answerNext(SESSIONS, needed, checked(() => json(201, { user_id: "somebody" })));
      working.answerNext(CHALLENGE, challenge);
      const { value, onPage } = await valueOn(device, page("reader", { csp: "require-trusted-types-for 'script'" }));
      assert.equal(value, "somebody");
      assert.equal(onPage, true);
    });

    test("Passerby takes it, and for all tabs at once asks for one", async (t) => {
      const strict = await startSite({ client: "203.0.113.7" });
      strict.passerby = await startPasserby(`
        trusted_proxies = ["127.0.0.1"]
        budget.create = 1
        budget.create_burst = 1
      `);
      const [free, device] = [await browser.newDevice(t), await browser.newDevice(t)];
      assert.match(await valueOn(free, strict.url + strict.page(askReader)), UUID_V7);
      assert.equal(strict.count(CHALLENGE), 0);

      const url = strict.url + strict.page(watched, { args: ["reader"] });
      const tabs = await Promise.all([1, 2, 3].map(() => valueOn(device, url)));
      assert.match(tabs[0].value, UUID_V7);
      assert.equal(new Set(tabs.map(({ value }) => value)).size, 1);
      assert.deepEqual(tabs.map(({ begun }) => begun).sort(), [0, 0, 1]);
      assert.equal(strict.count(CHALLENGE), 1);
      assert.equal(await storedUsers(strict.passerby), 2);
    });

    test("three proofs are enough", async (t) => {
      const device = await browser.newDevice(t);
      working.requests = [];
      working.answerNext(SESSIONS, needed, needed, needed, needed);
      working.answerNext(CHALLENGE, challenge, challenge, challenge);
      const { status, code } = await errorOn(device, page("reader"));
      assert.deepEqual({ status, code }, { status: 429, code: "work-needed" });
      assert.equal(working.count(SESSIONS), 4);
      assert.equal(working.count(CHALLENGE), 3);
    });

    test("work that it does not know is an error", async (t) => {
      const device = await browser.newDevice(t);
      const parameters = { algorithm: "SCRYPT", cost: 1, keyLength: 32, keyPrefix: "00", nonce: "00", salt: "00" };
      working.answerNext(SESSIONS, needed);
      working.answerNext(CHALLENGE, json(200, { parameters }));
      const { name } = await errorOn(device, page("reader"));
      assert.equal(name, "NotSupportedError");
    });
  });
});
