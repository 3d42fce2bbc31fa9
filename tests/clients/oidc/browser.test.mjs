// OpenID Connect in a real browser: an app's page, passerby and an issuer, each of them a different site.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { PROVIDER } from "../kit/oidc-app.mjs";
import {
  BY_FORM,
  callbackOf,
  challengeOf,
  COOKIE,
  newAccount,
  newSecret,
  SESSIONS,
  startLogins,
} from "../kit/oidc-login.mjs";
import { assertProblem, call, SUITE_DEADLINE } from "../kit/server.mjs";

const SESSION = "/v1/session";
const IDENTITIES = "/v1/user/identities";
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** What each JWT begins with: `{"` in base64url. */
const JWT = "eyJ";

const ACCOUNT_INPUT = "input[name=account]";
const CONFIRM = "button[value=log-in]";
const CANCEL = "button[value=cancel]";

describe("a login in the browser", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let logins;
  let app;
  let issuer;
  let server;

  before(async () => {
    browser = await startBrowser();
    logins = await startLogins();
    ({ app, issuer, server } = logins);
  });
  after(() => Promise.all([browser?.close(), logins?.close()]));

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

    test("gives the same account the same user on a second device, and a different account a different user", async (t) => {
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

    test("turns an anonymous user into a lasting account", async (t) => {
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

    test("does not take the account of a different user unless the page asks for it", async (t) => {
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

    test("tells the page when a login is broken off at the issuer", async (t) => {
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
});
