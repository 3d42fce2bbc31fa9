// OpenID Connect in a real browser: an app's page, passerby and an issuer, each of them another site.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "./browser.mjs";
import { App, PROVIDER } from "./oidc/app.mjs";
import { CLIENT, Issuer } from "./oidc/issuer.mjs";
import { Visitor } from "./oidc/visitor.mjs";
import { call, Server, SUITE_DEADLINE } from "./server.mjs";

const callbackOf = (provider) => `/v1/providers/${provider}/callback`;
const CALLBACK = callbackOf(PROVIDER);
/** Where the issuer of `auth.shared_callback` sends browsers. */
const SHARED_CALLBACK = "/v1/providers/callback";
/** The same issuer, which answers by a form here. */
const BY_FORM = "oidc-form";
/** Another issuer. */
const OTHER = "oidc-other";
/** An issuer at whose address nobody listens. */
const GONE = "oidc-gone";
const SESSIONS = "/v1/sessions";
const SESSION = "/v1/session";
const IDENTITIES = "/v1/user/identities";
const LOGIN = `/v1/providers/${PROVIDER}/login`;

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const COOKIE = /^passerby-login-/;
const CODE = /^psbl_/;
/** What each JWT begins with: `{"` in base64url. */
const JWT = "eyJ";

const ACCOUNT_INPUT = "input[name=account]";
const CONFIRM = "button[value=log-in]";
const CANCEL = "button[value=cancel]";

let accounts = 0;
/** Somebody of whom the issuer and the server have not heard. */
const newAccount = () => `somebody-${(accounts += 1)}`;
const newSecret = () => randomBytes(32).toString("base64url");
const challengeOf = (secret) => createHash("sha256").update(secret).digest("base64url");

/** Waits until the server's log has a line that `found` says yes to; the suite's deadline ends it. */
async function logged(server, found) {
  for (;;) {
    const line = server.log.split("\n").find(found);
    if (line !== undefined) return line;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function assertProblem({ status, contentType, body }, expectedStatus, code) {
  assert.equal(status, expectedStatus, JSON.stringify(body));
  assert.equal(contentType, "application/problem+json");
  assert.equal(body.status, expectedStatus);
  assert.equal(body.code, code);
}

/** An answer to a plain browser, in the form of `call`'s. */
async function answerOf(response) {
  return {
    status: response.status,
    contentType: response.headers.get("content-type"),
    body: await response.json().catch(() => null),
  };
}

describe("a login in the browser", { timeout: SUITE_DEADLINE }, () => {
  let app;
  let browser;
  let gone;
  let issuer;
  let otherIssuer;
  let server;

  before(async () => {
    browser = await startBrowser();
    app = await new App().listen();
    const home = await mkdtemp(join(tmpdir(), "passerby-client-test-"));
    server = new Server(home, [], { PASSERBY_SECRET_ISSUER: CLIENT.secret });
    // Its own address belongs into its settings and is known once it has run; it keeps the port.
    await server.start();
    app.passerby = server.url;
    const callbacks = [CALLBACK, callbackOf(BY_FORM)].map((path) => server.url + path);
    issuer = await new Issuer({ form: true, host: "127.0.0.2" }).listen(callbacks);
    otherIssuer = await new Issuer({ form: true, host: "127.0.0.3" }).listen([server.url + callbackOf(OTHER)]);
    const closed = await new Issuer({ host: "127.0.0.4" }).listen([]);
    gone = closed.url;
    await closed.close();
    const provider = ({ url }, more = "") => `
      issuer = "${url}"
      client_id = "${CLIENT.id}"
      client_secret = "issuer"
      redirect_uris = ["${app.redirectUri}"]
      ${more}
    `;
    const settings = `
      public_url = "${server.url}"
      allowed_origins = ["${app.url}"]
      outbound.allow = ["${issuer.url}", "${otherIssuer.url}", "${gone}"]
      [provider.oidc.test]
      ${provider(issuer)}
      [provider.oidc.form]
      ${provider(issuer, 'response_mode = "form_post"')}
      [provider.oidc.other]
      ${provider(otherIssuer)}
      [provider.oidc.gone]
      ${provider({ url: gone })}
    `;
    await writeFile(join(home, "passerby.toml"), settings);
    await server.restart();
  });
  after(() => Promise.all([browser?.close(), server?.close(), issuer?.close(), otherIssuer?.close(), app?.close()]));

  const session = async ({ access_token: token }) => {
    const { status, body } = await call(server.url, "GET", SESSION, token);
    assert.equal(status, 200, JSON.stringify(body));
    return body;
  };
  const tokensOf = async (tab) => JSON.parse(await tab.stored("tokens"));
  const loginCookies = async (device) => (await device.cookies()).filter(({ name }) => COOKIE.test(name));

  /** Fills in the issuer's form, and reads whom the app shows then. */
  async function logIn(tab, account) {
    await tab.type(ACCOUNT_INPUT, account);
    await tab.click(CONFIRM);
    return tab.read("#user");
  }

  describe("with a real one", () => {
    test("ends at the page with a user, and with no token in any address", async (t) => {
      const device = await browser.newDevice(t);
      const tab = await device.open(app.url);
      await tab.click("#log-in");
      const userId = await logIn(tab, newAccount());

      assert.match(userId, UUID_V7);
      const tokens = await tokensOf(tab);
      const view = await session(tokens);
      assert.equal(view.user_id, userId);
      assert.equal(view.anonymous, false);
      const { body } = await call(server.url, "GET", IDENTITIES, tokens.access_token);
      assert.deepEqual(body.identities.map(({ provider }) => provider), [PROVIDER]);

      assert.equal(tab.url, app.redirectUri);
      const asked = (origin) => tab.requested.filter((url) => new URL(url).origin === origin);
      for (const { url } of [app, server, issuer]) assert.ok(asked(url).length >= 2, `${url}: ${tab.requested}`);
      assert.deepEqual(tab.requested.filter((url) => url.includes(JWT)), []);
      for (const token of [tokens.access_token, tokens.refresh_token]) {
        assert.ok(token.startsWith(JWT));
        assert.deepEqual(tab.requested.filter((url) => url.includes(token)), []);
      }
    });

    test("is bound to the browser by a cookie that scripts do not see and that is gone afterwards", async (t) => {
      const device = await browser.newDevice(t);
      const tab = await device.open(app.url);
      await tab.click("#log-in");
      await tab.see(ACCOUNT_INPUT);

      const [cookie, ...more] = await loginCookies(device);
      assert.deepEqual(more, []);
      const { domain, httpOnly, path, sameSite, secure } = cookie;
      const { hostname } = new URL(server.url);
      assert.deepEqual(
        { domain, httpOnly, path, sameSite, secure },
        { domain: hostname, httpOnly: true, path: "/", sameSite: "Lax", secure: false },
      );

      await logIn(tab, newAccount());
      assert.deepEqual(await loginCookies(device), []);
    });

    test("gives the same account the same user on another device, and another account another one", async (t) => {
      const account = newAccount();
      const logInElsewhere = async (name) => {
        const tab = await (await browser.newDevice(t)).open(app.url);
        await tab.click("#log-in");
        return logIn(tab, name);
      };
      const userId = await logInElsewhere(account);
      assert.equal(await logInElsewhere(account), userId);
      assert.notEqual(await logInElsewhere(newAccount()), userId);
    });

    test("needs no form of an issuer that knows the browser", async (t) => {
      const device = await browser.newDevice(t);
      const tab = await device.open(app.url);
      await tab.click("#log-in");
      const userId = await logIn(tab, newAccount());

      const again = await device.open(app.url);
      await again.click("#log-in");
      assert.equal(await again.read("#user"), userId);
      assert.notEqual((await tokensOf(again)).session_id, (await tokensOf(tab)).session_id);
      await session(await tokensOf(tab));
    });

    test("makes a lasting account of an anonymous user", async (t) => {
      const account = newAccount();
      const tab = await (await browser.newDevice(t)).open(app.url);
      await tab.click("#play");
      const userId = await tab.read("#user");
      const anonymous = await tokensOf(tab);
      assert.equal((await session(anonymous)).anonymous, true);

      await tab.click("#log-in");
      assert.equal(await logIn(tab, account), userId);

      const tokens = await tokensOf(tab);
      const view = await session(tokens);
      assert.equal(view.user_id, userId);
      assert.equal(view.anonymous, false);
      assert.equal(view.expires, null);
      assertProblem(await call(server.url, "GET", SESSION, anonymous.access_token), 401, "session-ended");
      assert.deepEqual(tab.requested.filter((url) => url.includes(JWT)), []);

      const elsewhere = await (await browser.newDevice(t)).open(app.url);
      await elsewhere.click("#log-in");
      assert.equal(await logIn(elsewhere, account), userId);
    });

    test("adds a second anonymous user to the account", async (t) => {
      const account = newAccount();
      const users = [];
      const tabs = [];
      for (const device of [await browser.newDevice(t), await browser.newDevice(t)]) {
        const tab = await device.open(app.url);
        await tab.click("#play");
        users.push(await tab.read("#user"));
        tabs.push(tab);
      }
      const [first, second] = users;
      assert.notEqual(first, second);

      await tabs[0].click("#log-in");
      assert.equal(await logIn(tabs[0], account), first);
      await tabs[1].click("#merge");
      await tabs[1].click("#log-in");
      assert.equal(await logIn(tabs[1], account), first);

      const answer = await tokensOf(tabs[1]);
      assert.equal(answer.user_id, first);
      assert.equal(answer.merged_user_id, second);
      assert.equal((await session(answer)).user_id, first);
      await session(await tokensOf(tabs[0]));
    });

    test("does not take the account of another user unless the page asks for it", async (t) => {
      const account = newAccount();
      const owner = await (await browser.newDevice(t)).open(app.url);
      await owner.click("#log-in");
      await logIn(owner, account);

      const tab = await (await browser.newDevice(t)).open(app.url);
      await tab.click("#play");
      const userId = await tab.read("#user");
      await tab.click("#log-in");
      await tab.type(ACCOUNT_INPUT, account);
      await tab.click(CONFIRM);
      assert.equal(await tab.read("#error"), "identity-in-use");
      const view = await session(await tokensOf(tab));
      assert.equal(view.user_id, userId);
      assert.equal(view.anonymous, true);
    });

    test("works in two tabs at once", async (t) => {
      const account = newAccount();
      const device = await browser.newDevice(t);
      const tabs = [await device.open(app.url), await device.open(app.url)];
      for (const tab of tabs) {
        await tab.click("#log-in");
        await tab.see(ACCOUNT_INPUT);
      }
      assert.equal((await loginCookies(device)).length, 2);

      const users = [];
      for (const tab of tabs) users.push(await logIn(tab, account));
      assert.equal(users[0], users[1]);
      assert.deepEqual(await loginCookies(device), []);
      for (const tab of tabs) assert.equal((await session(await tokensOf(tab))).user_id, users[0]);
    });

    test("that somebody breaks off at the issuer tells the page so", async (t) => {
      const device = await browser.newDevice(t);
      const tab = await device.open(app.url);
      await tab.click("#log-in");
      await tab.click(CANCEL);

      assert.equal(await tab.read("#error"), "access_denied");
      assert.ok(tab.requested.includes(`${app.redirectUri}?error=access_denied`), `${tab.requested}`);
      assert.equal(await tab.stored("tokens"), null);
      assert.deepEqual(await loginCookies(device), []);
    });
  });

  test("in a real one an answer by a form arrives, with a cookie that no other site's form brings along", async (t) => {
    const device = await browser.newDevice(t);
    const secret = newSecret();
    const query = new URLSearchParams({ code_challenge: challengeOf(secret), redirect_uri: app.redirectUri });
    const tab = await device.open(`${server.url}/v1/providers/${BY_FORM}/login?${query}`);
    await tab.type(ACCOUNT_INPUT, newAccount());
    const [cookie] = await loginCookies(device);
    assert.equal(cookie.sameSite, "Lax");
    await tab.click(CONFIRM);
    await tab.read("#error"); // the page began no login itself

    const arrivals = tab.requested.filter((url) => url.startsWith(server.url + callbackOf(BY_FORM)));
    assert.equal(arrivals.length, 2, `a form and an address: ${tab.requested}`);
    assert.equal(arrivals[0], server.url + callbackOf(BY_FORM));
    const back = tab.requested.find((url) => url.startsWith(`${app.redirectUri}?`));
    const code = new URL(back).searchParams.get("code");
    const { status, body } = await call(server.url, "POST", SESSIONS, undefined, {
      provider: BY_FORM,
      code,
      code_verifier: secret,
    });
    assert.equal(status, 201, JSON.stringify(body));
    assert.deepEqual(await loginCookies(device), []);
  });

  describe("step by step", () => {
    const begin = (query, provider = PROVIDER) =>
      new Visitor().fetch(`${server.url}/v1/providers/${provider}/login?${new URLSearchParams(query)}`);
    const exchange = (code, secret) =>
      call(server.url, "POST", SESSIONS, undefined, { provider: PROVIDER, code, code_verifier: secret });

    /** The address at which the issuer sends this browser back to passerby; it has not been asked for yet. */
    async function toCallback(visitor, secret) {
      const query = new URLSearchParams({ code_challenge: challengeOf(secret), redirect_uri: app.redirectUri });
      const fields = { choice: "log-in", account: newAccount() };
      const callback = server.url + CALLBACK;
      return visitor.follow(`${server.url}${LOGIN}?${query}`, (url) => url.origin + url.pathname === callback, fields);
    }

    /** The code that passerby gives the page at the end. */
    async function codeOf(response) {
      assert.equal(response.status, 302, await response.text());
      const url = new URL(response.headers.get("location"));
      assert.equal(url.origin + url.pathname, app.redirectUri);
      assert.deepEqual([...url.searchParams.keys()], ["code"]);
      assert.match(url.searchParams.get("code"), CODE);
      return url.searchParams.get("code");
    }

    async function newCode(secret) {
      const visitor = new Visitor();
      return codeOf(await visitor.fetch(await toCallback(visitor, secret)));
    }

    const withState = (url, state) => {
      const other = new URL(url);
      other.searchParams.set("state", state);
      return other;
    };

    test("no step is kept by a cache or told to the next page", async () => {
      const visitor = new Visitor();
      const secret = newSecret();
      const first = await begin({ code_challenge: challengeOf(secret), redirect_uri: app.redirectUri });
      const last = await visitor.fetch(await toCallback(visitor, secret));
      for (const { status, headers } of [first, last]) {
        assert.equal(status, 302);
        assert.equal(headers.get("cache-control"), "no-store");
        assert.equal(headers.get("referrer-policy"), "no-referrer");
      }
    });

    test("another browser cannot finish it, and the one that began it still can", async () => {
      const [visitor, secret] = [new Visitor(), newSecret()];
      const callback = await toCallback(visitor, secret);
      const stranger = new Visitor();
      await toCallback(stranger, newSecret());
      for (const other of [new Visitor(), stranger]) {
        assertProblem(await answerOf(await other.fetch(callback)), 400, "unknown-login");
      }
      const { status, body } = await exchange(await codeOf(await visitor.fetch(callback)), secret);
      assert.equal(status, 201, JSON.stringify(body));
    });

    test("a state that is not this login's is refused", async () => {
      // The cookie is found by how a state begins, so one that differs at its end finds it.
      const spoilt = (state) => state.slice(0, -2) + (state.at(-2) === "A" ? "B" : "A") + state.at(-1);
      for (const other of [spoilt, (state) => `${state}A`, (state) => state.slice(0, 12), () => "unknown", () => ""]) {
        const visitor = new Visitor();
        const callback = await toCallback(visitor, newSecret());
        const wrong = withState(callback, other(callback.searchParams.get("state")));
        assertProblem(await answerOf(await visitor.fetch(wrong)), 400, "unknown-login");
      }
      assertProblem(await answerOf(await new Visitor().fetch(server.url + CALLBACK)), 400, "unknown-login");
    });

    test("a login ends at its own provider's callback and at no other's", async () => {
      for (const other of [callbackOf(OTHER), callbackOf(BY_FORM), callbackOf("oidc-nobody"), SHARED_CALLBACK]) {
        const visitor = new Visitor();
        const callback = await toCallback(visitor, newSecret());
        const elsewhere = new URL(callback.href.replace(CALLBACK, other));
        const asked = otherIssuer.requests.length;
        assertProblem(await answerOf(await visitor.fetch(elsewhere)), 400, "unknown-login");
        // The code of the one is not shown to the other.
        assert.equal(otherIssuer.requests.length, asked);
      }
    });

    test("an answer that does not say whose it is, is refused if its issuer promises to", async () => {
      for (const change of [
        (query) => query.delete("iss"),
        (query) => query.set("iss", otherIssuer.url),
        (query) => query.set("iss", `${issuer.url}/`),
      ]) {
        for (const answer of ["code", "error"]) {
          const visitor = new Visitor();
          const callback = await toCallback(visitor, newSecret());
          if (answer === "error") {
            callback.searchParams.delete("code");
            callback.searchParams.set("error", "access_denied");
          }
          change(callback.searchParams);
          const asked = issuer.requests.length;
          const { headers } = await visitor.fetch(callback);
          assert.equal(headers.get("location"), `${app.redirectUri}?error=login_failed`);
          assert.equal(issuer.requests.length, asked);
        }
      }
      await logged(server, (line) => line.includes("the answer lacks iss, which the issuer promises"));
    });

    test("an issuer's refusal is in the log, and nothing in it steers a terminal", async () => {
      for (const [error, told] of [
        ["access_denied", "access_denied"],
        ["temporarily_unavailable", "temporarily_unavailable"],
        ["unauthorized_client", "login_failed"],
      ]) {
        const visitor = new Visitor();
        const callback = await toCallback(visitor, newSecret());
        callback.searchParams.delete("code");
        callback.searchParams.set("error", error);
        callback.searchParams.set("error_description", `AADSTS7: no\u001b[31m\nconsent of ${error}${"!".repeat(1000)}`);
        const { headers } = await visitor.fetch(callback);
        assert.equal(headers.get("location"), `${app.redirectUri}?error=${told}`);
        const line = await logged(server, (line) => line.includes(`consent of ${error}`));
        assert.ok(line.includes(`AADSTS7: no?[31m?consent of ${error}!`), server.log);
        assert.ok(line.includes(error) && line.length < 600, line);
      }
    });

    test("an issuer that cannot be asked is named in the log and not in the answer", async () => {
      // Its configuration is not where the server may fetch it from, and that is found out at the first login.
      const { status, contentType, body } = await call(server.url, "POST", SESSIONS, undefined, {
        provider: GONE,
        id_token: "eyJhbGciOiJSUzI1NiJ9.e30.AAAA",
      });
      assertProblem({ status, contentType, body }, 503, "provider-unavailable");
      const { host } = new URL(gone);
      assert.ok(!JSON.stringify(body).includes(host.split(":")[0]), JSON.stringify(body));
      const query = { code_challenge: challengeOf(newSecret()), redirect_uri: app.redirectUri };
      const begun = await answerOf(await begin(query, GONE));
      assertProblem(begun, 503, "provider-unavailable");
      assert.equal(begun.body.detail, body.detail);
      const said = new RegExp(`a provider cannot be asked.*${GONE}.*${gone}: cannot be connected to`);
      await logged(server, (line) => said.test(line));
    });

    test("an answer by a form is sent on as an address, with what is needed of it alone", async () => {
      const post = (form, more = {}) =>
        fetch(server.url + CALLBACK, {
          method: "POST",
          redirect: "manual",
          body: new URLSearchParams(form),
          headers: { origin: issuer.url, ...more },
        });
      const form = { state: "a b", code: "c&d", user: '{"name":"x"}', id_token: "e", iss: issuer.url };
      const answer = await post(form, { cookie: "passerby-login-x=y" });
      assert.equal(answer.status, 303);
      const query = new URLSearchParams({ state: "a b", code: "c&d", iss: issuer.url });
      assert.equal(answer.headers.get("location"), `${CALLBACK}?${query}`);
      assert.equal(answer.headers.get("cache-control"), "no-store");
      assert.equal(answer.headers.get("referrer-policy"), "no-referrer");
      assert.deepEqual(answer.headers.getSetCookie(), []);
      for (const bad of [{}, { user: "x" }, { state: "x".repeat(10_000) }]) {
        assertProblem(await answerOf(await post(bad)), 400, "bad-answer");
      }
      const { status, headers } = await fetch(server.url + CALLBACK, { method: "PUT" });
      assert.equal(status, 405);
      assert.match(headers.get("allow"), /GET.*POST/);
    });

    test("a state works once", async () => {
      const [visitor, secret] = [new Visitor(), newSecret()];
      const callback = await toCallback(visitor, secret);
      // A browser that keeps the cookie which it was told to forget.
      const cookie = visitor.cookieFor(callback);
      assert.match(cookie, COOKIE);
      const code = await codeOf(await visitor.fetch(callback));
      assertProblem(await answerOf(await visitor.fetch(callback)), 400, "unknown-login");
      const again = await fetch(callback, { redirect: "manual", headers: { cookie } });
      assertProblem(await answerOf(again), 400, "unknown-login");
      assert.equal((await exchange(code, secret)).status, 201);
    });

    test("a code works once", async () => {
      const secret = newSecret();
      const code = await newCode(secret);
      assert.equal((await exchange(code, secret)).status, 201);
      assertProblem(await exchange(code, secret), 401, "invalid-credential");
    });

    test("of many exchanges of a code at once one succeeds", async () => {
      const secret = newSecret();
      const code = await newCode(secret);
      const answers = await Promise.all(Array.from({ length: 10 }, () => exchange(code, secret)));
      assert.equal(answers.filter(({ status }) => status === 201).length, 1);
      for (const answer of answers.filter(({ status }) => status !== 201)) {
        assertProblem(answer, 401, "invalid-credential");
      }
    });

    test("a code is worth nothing without the page's secret", async () => {
      const secret = newSecret();
      for (const other of [newSecret(), challengeOf(secret), "", secret.slice(0, -1)]) {
        const code = await newCode(secret);
        assertProblem(await exchange(code, other), 401, "invalid-credential");
      }
      const { status, contentType } = await exchange(await newCode(secret), undefined);
      assert.equal(status, 400);
      assert.equal(contentType, "application/problem+json");
    });

    test("a code that nobody was given is refused", async () => {
      const secret = newSecret();
      const code = await newCode(secret);
      for (const wrong of [code.replace(CODE, ""), `${code}A`, code.slice(0, -1), "psbl_", "", "A".repeat(10_000)]) {
        assertProblem(await exchange(wrong, secret), 401, "invalid-credential");
      }
    });

    test("a redirect URI that is not byte for byte the app's is refused", async () => {
      const uri = app.redirectUri;
      const { port } = new URL(uri);
      for (const redirect_uri of [
        `${uri}/`,
        `${uri}?a=b`,
        `${uri}#a`,
        ` ${uri}`,
        uri.slice(0, -1),
        app.url,
        "",
        "/back",
        uri.replace("http:", "https:"),
        uri.replace("localhost", "LOCALHOST"),
        uri.replace("localhost", "127.0.0.1"),
        uri.replace("localhost", "localhost.evil.example"),
        uri.replace("//", "//somebody@"),
        uri.replace(`:${port}`, ""),
        uri.replace("/back", "/%62ack"),
        uri.replace("/back", "/./back"),
        "https://evil.example/back",
        "javascript:alert(1)",
      ]) {
        const answer = await begin({ code_challenge: challengeOf(newSecret()), redirect_uri });
        assert.equal(answer.headers.get("location"), null, redirect_uri);
        assert.deepEqual(answer.headers.getSetCookie(), [], redirect_uri);
        assertProblem(await answerOf(answer), 400, "bad-redirect-uri");
      }
    });

    test("the only redirect URI need not be named", async () => {
      const { status, headers } = await begin({ code_challenge: challengeOf(newSecret()) });
      assert.equal(status, 302);
      assert.equal(new URL(headers.get("location")).origin, issuer.url);
    });

    test("a challenge that is no SHA-256 in base64url is refused", async () => {
      const good = challengeOf(newSecret());
      for (const code_challenge of [
        undefined,
        "",
        good.slice(0, -1),
        good.slice(0, 40),
        `${good}A`,
        `${good}=`,
        `${good.slice(0, 20)}+/${good.slice(22)}`,
        ` ${good}`,
        `${good.slice(0, 20)} ${good.slice(21)}`,
        "x".repeat(10_000),
        createHash("sha256").update("secret").digest("hex"),
        createHash("sha512").update("secret").digest("base64url"),
      ]) {
        const query = { redirect_uri: app.redirectUri, ...(code_challenge === undefined ? {} : { code_challenge }) };
        const answer = await begin(query);
        assert.equal(answer.headers.get("location"), null, code_challenge);
        assertProblem(await answerOf(answer), 400, "bad-code-challenge");
      }
    });

    test("an unknown provider is refused", async () => {
      for (const provider of ["oidc-unknown", "oidc-", "test", "OIDC-TEST", "%6Fidc-test%20"]) {
        const query = { code_challenge: challengeOf(newSecret()), redirect_uri: app.redirectUri };
        assertProblem(await answerOf(await begin(query, provider)), 400, "unknown-provider");
      }
    });

    test("the page's origin may exchange codes, and no other origin", async () => {
      const preflight = async (origin) => {
        const asked = { "access-control-request-method": "POST", "access-control-request-headers": "content-type" };
        const options = { method: "OPTIONS", headers: { origin, ...asked } };
        const { headers } = await fetch(server.url + SESSIONS, options);
        return headers.get("access-control-allow-origin");
      };
      assert.equal(await preflight(app.url), app.url);
      assert.equal(await preflight(issuer.url), null);
    });
  });
});

describe("a login in the browser whose issuer knows the callback of before", { timeout: SUITE_DEADLINE }, () => {
  test("is begun and ends there, for the provider that the settings name and no other", async (t) => {
    const home = await mkdtemp(join(tmpdir(), "passerby-client-test-"));
    const server = new Server(home, [], { PASSERBY_SECRET_ISSUER: CLIENT.secret });
    t.after(() => server.close());
    await server.start();
    const page = "https://app.example/back";
    const issuers = [];
    for (const [host, path] of [["127.0.0.2", SHARED_CALLBACK], ["127.0.0.3", callbackOf(OTHER)]]) {
      const issuer = await new Issuer({ host }).listen([server.url + path]);
      t.after(() => issuer.close());
      issuers.push(issuer);
    }
    const provider = ({ url }) => `
      issuer = "${url}"
      client_id = "${CLIENT.id}"
      client_secret = "issuer"
      redirect_uris = ["${page}"]
    `;
    const settings = `
      public_url = "${server.url}"
      outbound.allow = [${issuers.map(({ url }) => `"${url}"`)}]
      auth.shared_callback = "${PROVIDER}"
      [provider.oidc.test]
      ${provider(issuers[0])}
      [provider.oidc.other]
      ${provider(issuers[1])}
    `;
    await writeFile(join(home, "passerby.toml"), settings);
    await server.restart();
    for (const [name, path, other] of [
      [PROVIDER, SHARED_CALLBACK, CALLBACK],
      [OTHER, callbackOf(OTHER), SHARED_CALLBACK],
    ]) {
      const toCallback = async (visitor, secret) =>
        visitor.follow(
          `${server.url}/v1/providers/${name}/login?code_challenge=${challengeOf(secret)}`,
          (url) => url.origin + url.pathname === server.url + path,
        );
      const [visitor, secret] = [new Visitor(), newSecret()];
      const answer = await visitor.fetch(await toCallback(visitor, secret));
      assert.equal(answer.status, 302);
      const code = new URL(answer.headers.get("location")).searchParams.get("code");
      const { status } = await call(server.url, "POST", SESSIONS, undefined, {
        provider: name,
        code,
        code_verifier: secret,
      });
      assert.equal(status, 201);
      const again = await toCallback(visitor, newSecret());
      const elsewhere = await visitor.fetch(new URL(again.href.replace(path, other)));
      assertProblem(await answerOf(elsewhere), 400, "unknown-login");
    }
    await writeFile(join(home, "passerby.toml"), settings.replace(`= "${PROVIDER}"`, '= "oidc-corp"'));
    await assert.rejects(server.restart(), /auth\.shared_callback.*"oidc-corp".*only oidc-other, oidc-test/s);
  });
});
