// OpenID Connect step by step, for what a real browser cannot be made to do.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { PROVIDER } from "../kit/oidc-app.mjs";
import {
  answerOf,
  BY_FORM,
  CALLBACK,
  callbackOf,
  challengeOf,
  COOKIE,
  GONE,
  newAccount,
  newSecret,
  OTHER,
  SESSIONS,
  SHARED_CALLBACK,
  startLogins,
} from "../kit/oidc-login.mjs";
import { Visitor } from "../kit/oidc-visitor.mjs";
import { assertProblem, call, SUITE_DEADLINE } from "../kit/server.mjs";

const LOGIN = `/v1/providers/${PROVIDER}/login`;
const CODE = /^psbl_/;

/** Waits until the server's log has a line that `found` says yes to; the suite's deadline ends it. */
async function logged(server, found) {
  for (;;) {
    const line = server.log.split("\n").find(found);
    if (line !== undefined) return line;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("a login in the browser", { timeout: SUITE_DEADLINE }, () => {
  let logins;
  let app;
  let gone;
  let issuer;
  let otherIssuer;
  let server;

  before(async () => {
    logins = await startLogins();
    ({ app, gone, issuer, otherIssuer, server } = logins);
  });
  after(() => logins?.close());

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

    test("a different browser cannot finish it, and the one that began it still can", async () => {
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

    test("a code that was never given out is refused", async () => {
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
