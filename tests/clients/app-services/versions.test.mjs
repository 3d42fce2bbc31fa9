// Older realm-webs, as they are on npm: apps go on shipping the one that they were built with. After a 401 to a request with an
// access token, 1.0.0 to 2.0.0 refresh and ask again for as long as refreshing succeeds, whatever the answer says.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { JWT_PROVIDER, JWT_SECRETS, newJwt, newSubject } from "../kit/external.mjs";
import { startProxy } from "../kit/recording-proxy.mjs";
import { call, PATHS, startServerWithApp, SUITE_DEADLINE } from "../kit/server.mjs";
import { spoil } from "../kit/tokens.mjs";

const VERSIONS = { "0.9.0": "realm-web-0", "1.0.0": "realm-web-1-0", "1.7.1": "realm-web-1", "2.0.0": "realm-web-2-0", "2.0.1": "realm-web" };

const PASSWORD = "correct horse";
const USERPASS = PATHS.login.replace("anon-user/login", "local-userpass");
const provider = (name, more = {}) => ({ [name]: { name, type: name, disabled: false, ...more } });
const PROVIDERS = {
  ...provider("anon-user"),
  ...provider("local-userpass", { config: { autoConfirm: true } }),
  ...provider("api-key"),
  "custom-token": JWT_PROVIDER,
};

let people = 0;
const newName = () => `somebody-${(people += 1)}@people.example`;

/** Links that are refused, with the status of the answer. Each gets the SDK, an owner's API key and a name that is registered. */
const REFUSED = {
  "an identity of somebody else": [409, async ({ Credentials }, { jwt }) => Credentials.jwt(jwt)],
  "a JWT that is spoiled": [400, async ({ Credentials }) => Credentials.jwt(spoil(await newJwt(newSubject()), 2))],
  "a wrong password": [400, async ({ Credentials }, { name }) => Credentials.emailPassword(name, "wrong password")],
  "an unknown name": [400, async ({ Credentials }) => Credentials.emailPassword(newName(), PASSWORD)],
  "somebody else's API key": [400, async (realm, { key }) => apiKey(realm, key)],
  "an API key that is none": [400, async (realm) => apiKey(realm, "spoiled")],
  "a provider that is not there": [400, async ({ Credentials }) => Credentials.function({ any: "thing" })],
};
/** It was renamed on the way. */
const apiKey = ({ Credentials }, key) => (Credentials.apiKey ?? Credentials.userApiKey)(key);

for (const [version, name] of Object.entries(VERSIONS)) {
  describe(`realm-web ${version}`, { timeout: SUITE_DEADLINE }, () => {
    let realm;
    let server;
    let theirs;
    before(async () => {
      realm = (await import(name)).default;
      server = await startServerWithApp(null, PROVIDERS, JWT_SECRETS);
      const registered = newName();
      const account = { email: registered, password: PASSWORD };
      assert.equal((await call(server.url, "POST", `${USERPASS}/register`, undefined, account)).status, 201);
      const body = { username: registered, password: PASSWORD };
      const { body: owner } = await call(server.url, "POST", `${USERPASS}/login`, undefined, body);
      const keys = "/api/client/v2.0/auth/api_keys";
      const { body: made } = await call(server.url, "POST", keys, owner.refresh_token, { name: "k" });
      const jwt = await newJwt(newSubject());
      const tokens = await call(server.url, "POST", PATHS.login.replace("anon-user", "custom-token"), undefined, { token: jwt });
      assert.equal(tokens.status, 200);
      theirs = { key: made.key, jwt, name: registered };
    });
    after(() => server?.close());

    const anonymous = async (url) => {
      // A storage of its own: the users of a different server's app would be taken for this one's.
      const { defaultStorage, ...environment } = realm.getEnvironment?.() ?? {};
      realm.setEnvironment?.({ ...environment, defaultStorage: new defaultStorage.constructor() });
      const app = new realm.App({ id: "passerby", baseUrl: url });
      return [app, await app.logIn(realm.Credentials.anonymous(false))];
    };
    const goesOn = async (user, { id, accessToken }) => {
      assert.equal(user.id, id);
      assert.equal(user.accessToken, accessToken);
      assert.equal((await call(server.url, "GET", PATHS.profile, user.accessToken)).status, 200);
    };

    for (const [what, [status, credential]] of Object.entries(REFUSED)) {
      test(`linking ${what} is one request, and the user goes on`, async (t) => {
        const proxy = await startProxy(t, server);
        const [, user] = await anonymous(proxy.url);
        const { id, accessToken } = user;
        const credentials = await credential(realm, theirs);
        proxy.clear();
        await assert.rejects(user.linkCredentials(credentials), new RegExp(`status ${status}`));
        assert.equal(proxy.lines.length, 1, proxy.lines.join("\n"));
        await goesOn(user, { id, accessToken });
      });
    }

    test("a second password is one request, and the user goes on", async (t) => {
      const proxy = await startProxy(t, server);
      const [, user] = await anonymous(proxy.url);
      const names = [newName(), newName()];
      for (const email of names) {
        const account = { email, password: PASSWORD };
        assert.equal((await call(server.url, "POST", `${USERPASS}/register`, undefined, account)).status, 201);
      }
      await user.linkCredentials(realm.Credentials.emailPassword(names[0], PASSWORD));
      const { id, accessToken } = user;
      proxy.clear();
      const second = user.linkCredentials(realm.Credentials.emailPassword(names[1], PASSWORD));
      await assert.rejects(second, /status 400/);
      assert.equal(proxy.lines.length, 1, proxy.lines.join("\n"));
      await goesOn(user, { id, accessToken });
    });

    test("registering goes with the user's token, and what is refused of it is one request", async (t) => {
      const off = await startServerWithApp(t, provider("anon-user"));
      for (const [origin, status] of [[server, 409], [off, 400]]) {
        const proxy = await startProxy(t, origin, { rememberAuthorization: true });
        const [app, user] = await anonymous(proxy.url);
        proxy.clear();
        const names = app.emailPasswordAuth;
        const registering = names.registerUser.length === 2
          ? names.registerUser(theirs.name, PASSWORD)
          : names.registerUser({ email: theirs.name, password: PASSWORD });
        await assert.rejects(registering, new RegExp(`status ${status}|in use`));
        assert.equal(proxy.lines.length, 1, proxy.lines.join("\n"));
        assert.equal(proxy.requests[0].authorization, `Bearer ${user.accessToken}`);
        assert.equal(proxy.requests[0].status, status);
      }
    });

    test("where there are no API keys, asking for them logs no one out", async (t) => {
      const off = await startServerWithApp(t, provider("anon-user"));
      const [, user] = await anonymous(off.url);
      const { accessToken, refreshToken } = user;
      await assert.rejects(user.apiKeys.fetchAll(), /status 400/);
      assert.deepEqual([user.accessToken, user.refreshToken], [accessToken, refreshToken]);
      assert.equal((await call(off.url, "GET", PATHS.profile, accessToken)).status, 200);
    });
  });
}
