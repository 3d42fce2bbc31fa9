// The unmodified realm-web of npm logs in to a real server, given nothing but an app id and our base URL.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Credentials, MongoDBRealmError, newApp, newStorage, store } from "../kit/client.mjs";
import { startProxy } from "../kit/recording-proxy.mjs";
import { call, PATHS, startServer, SUITE_DEADLINE } from "../kit/server.mjs";
import { spoil, tokenClaims } from "../kit/tokens.mjs";

const LOGIN = `POST ${PATHS.login} 200`;
const LOCATION = `GET ${PATHS.location} 200`;
const PROFILE = `GET ${PATHS.profile} 200`;
const PROFILE_REFUSED = `GET ${PATHS.profile} 401`;
const REFRESH = `POST ${PATHS.session} 201`;
const REFRESH_REFUSED = `POST ${PATHS.session} 401`;
const LOG_OUT = `DELETE ${PATHS.session} 204`;
const LOG_OUT_REFUSED = `DELETE ${PATHS.session} 401`;
const DELETE_USER = `DELETE ${PATHS.delete} 204`;

const HEX24 = /^[0-9a-f]{24}$/;
const DEAD_SESSION = {
  error: "invalid session: failed to find refresh token",
  error_code: "InvalidSession",
};

function assertDead(answer) {
  assert.equal(answer.status, 401);
  assert.equal(answer.contentType, "application/json");
  assert.equal(answer.body.error, DEAD_SESSION.error);
  assert.equal(answer.body.error_code, DEAD_SESSION.error_code);
}

/** An access token whose session is gone. realm-web only gives up its user if it is told so in these terms. */
function assertSessionGone(answer) {
  assert.equal(answer.status, 401);
  assert.equal(answer.body.error_code, "InvalidSession");
}

describe("realm-web", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startServer(null);
  });
  after(() => server?.close());

  test("logs in with three requests: location, login, profile", async (t) => {
    const proxy = await startProxy(t, server);
    const app = newApp(proxy.url);

    const user = await app.logIn(Credentials.anonymous());

    assert.deepEqual(proxy.lines, [LOCATION, LOGIN, PROFILE]);
    assert.match(user.id, HEX24); // applications turn it into an ObjectId
    assert.equal(user.state, "active");
    assert.equal(user.isLoggedIn, true);
    assert.equal(app.currentUser, user);
    // Other SDKs compare the content type as a whole, and a charset makes them lose the error code.
    for (const { contentType } of proxy.requests) assert.equal(contentType, "application/json");
  });

  test("names the origin that the client used as the app's location", async (t) => {
    const proxy = await startProxy(t, server);
    const { status, body } = await call(proxy.url, "GET", PATHS.location);
    assert.equal(status, 200);
    assert.equal(body.hostname, proxy.url);
    assert.equal(body.ws_hostname, proxy.url.replace("http:", "ws:"));
    // Read by native SDKs up to version 14 of their core.
    assert.equal(typeof body.deployment_model, "string");
    assert.equal(typeof body.location, "string");
  });

  test("finds the app also if the base URL ends in a slash", async (t) => {
    const proxy = await startProxy(t, server);
    const app = newApp(`${proxy.url}/`); // realm-web does not trim it: GET //api/…
    const user = await app.logIn(Credentials.anonymous());
    assert.equal(user.isLoggedIn, true);
    assert.deepEqual(proxy.lines, [LOCATION.replace("/api", "//api"), LOGIN, PROFILE]);
  });

  test("is told that an app does not exist", async (t) => {
    const proxy = await startProxy(t, server);
    const app = newApp(proxy.url, newStorage(), "someone-elses-app");
    await assert.rejects(app.logIn(Credentials.anonymous()), (error) => {
      assert.ok(error instanceof MongoDBRealmError);
      assert.equal(error.statusCode, 404);
      assert.equal(error.error, "cannot find app using Client App ID 'someone-elses-app'");
      return true;
    });
    assert.equal(proxy.requests.length, 1);
  });

  test("has a user with an anonymous identity and nothing else", async () => {
    const user = await newApp(server.url).logIn(Credentials.anonymous());

    assert.equal(user.identities.length, 1);
    const [{ id, providerType }] = user.identities;
    assert.equal(providerType, "anon-user");
    assert.match(id, /^[0-9a-f]{24}-[a-z]{24}$/);
    assert.equal(id.length, 49);
    assert.equal(user.providerType, "anon-user");
    assert.deepEqual(user.profile, {});
    assert.deepEqual(user.customData, {});
    assert.equal(user.toJSON().profile.type, "normal");

    const before = user.identities;
    await user.refreshProfile();
    assert.deepEqual(user.identities, before, "the identity stays the same");
  });

  test("gets a device id and keeps it for the device's later users", async () => {
    const storage = newStorage();
    const app = newApp(server.url, storage);

    const first = await app.logIn(Credentials.anonymous());
    assert.match(first.deviceId, HEX24); // null if the server sent none or only zeros
    assert.equal(app.deviceInformation.deviceId.toHexString(), first.deviceId);

    // From now on the SDK sends it, as EJSON.
    const second = await app.logIn(Credentials.anonymous(false));
    assert.equal(second.deviceId, first.deviceId);
    await second.refreshCustomData();
    assert.equal(second.deviceId, first.deviceId, "a refreshed token names the device too");

    const elsewhere = await newApp(server.url).logIn(Credentials.anonymous());
    assert.notEqual(elsewhere.deviceId, first.deviceId);
  });

  test("uses its user again without a second login", async (t) => {
    const proxy = await startProxy(t, server);
    const storage = newStorage();
    const app = newApp(proxy.url, storage);
    const user = await app.logIn(Credentials.anonymous());
    proxy.clear();

    assert.equal(await app.logIn(Credentials.anonymous()), user);
    assert.deepEqual(proxy.lines, [PROFILE]);
    proxy.clear();

    // The same after a reload, when all there is comes from storage.
    const reloaded = newApp(proxy.url, storage);
    assert.equal(reloaded.currentUser.id, user.id);
    const again = await reloaded.logIn(Credentials.anonymous());
    assert.equal(again.id, user.id);
    assert.equal(again.accessToken, user.accessToken);
    assert.deepEqual(proxy.lines, [LOCATION, PROFILE]);
  });

  test("creates a second user with anonymous(false)", async (t) => {
    const proxy = await startProxy(t, server);
    const app = newApp(proxy.url);
    const first = await app.logIn(Credentials.anonymous());
    proxy.clear();

    const second = await app.logIn(Credentials.anonymous(false));
    assert.notEqual(second.id, first.id);
    assert.notEqual(second.identities[0].id, first.identities[0].id);
    assert.equal(app.currentUser, second);
    assert.deepEqual(proxy.lines, [LOGIN, PROFILE]);

    const more = await Promise.all(Array.from({ length: 8 }, () => app.logIn(Credentials.anonymous(false))));
    const ids = new Set([first, second, ...more].map(({ id }) => id));
    assert.equal(ids.size, 10, "users made at once are all different");
  });

  test("holds two users and switches between them", async (t) => {
    const proxy = await startProxy(t, server, { rememberAuthorization: true });
    const app = newApp(proxy.url);
    const first = await app.logIn(Credentials.anonymous(false));
    const second = await app.logIn(Credentials.anonymous(false));
    assert.equal(app.currentUser, second);
    proxy.clear();

    app.switchUser(first);
    assert.equal(app.currentUser, first);
    assert.deepEqual(proxy.lines, [], "switching is the client's own affair");

    await first.refreshProfile();
    await second.refreshProfile();
    assert.deepEqual(
      proxy.requests.map(({ authorization }) => tokenClaims(authorization).sub),
      [first.id, second.id],
      "each speaks for itself, whoever is current",
    );

    // What happens to one is nothing to the other.
    await app.removeUser(first);
    assert.equal(app.currentUser, second);
    await second.refreshProfile();
    await second.refreshCustomData();
    assert.equal(second.isLoggedIn, true);
  });

  const SPOILED = {
    "with another signature": (token) => spoil(token, 2),
    "with another payload": (token) => spoil(token, 1),
    "with another header": (token) => spoil(token, 0),
    "cut off": (token) => token.slice(0, -20),
    "that is no token at all": () => "spoiled",
    "that another server signed": async (_, t) => {
      const stranger = await startServer(t);
      return (await newApp(stranger.url).logIn(Credentials.anonymous())).accessToken;
    },
  };
  for (const [what, change] of Object.entries(SPOILED)) {
    test(`replaces an access token ${what} with one refresh`, async (t) => {
      const proxy = await startProxy(t, server);
      const storage = newStorage();
      const user = await newApp(proxy.url, storage).logIn(Credentials.anonymous());
      const spoiled = await change(user.accessToken, t);
      assert.notEqual(spoiled, user.accessToken);
      store(storage, user, "accessToken", spoiled);
      proxy.clear();

      const reloaded = newApp(proxy.url, storage);
      const same = await reloaded.logIn(Credentials.anonymous());

      assert.deepEqual(proxy.lines, [LOCATION, PROFILE_REFUSED, REFRESH, PROFILE]);
      assert.equal(same.id, user.id);
      assert.equal(same.refreshToken, user.refreshToken, "the refresh token stays");
      assert.notEqual(same.accessToken, spoiled);

      proxy.clear();
      await same.refreshProfile();
      assert.deepEqual(proxy.lines, [PROFILE], "the new token is good");
    });
  }

  test("replaces an expired access token with one refresh", async (t) => {
    // Half an hour is too long to wait, and this process cannot move the server's clock: the proxy gives the answer
    // that is due once a token has expired. That the server gives it is shown where its time can be injected.
    const proxy = await startProxy(t, server, { rememberAuthorization: true });
    const user = await newApp(proxy.url).logIn(Credentials.anonymous());
    const expired = user.accessToken;
    proxy.clear();
    proxy.answerOnce("GET", PATHS.profile, 401, {
      error: "invalid session: access token expired",
      error_code: "InvalidSession",
    });

    await user.refreshProfile();

    assert.deepEqual(proxy.lines, [PROFILE_REFUSED, REFRESH, PROFILE]);
    assert.deepEqual(
      proxy.requests.map(({ authorization }) => authorization),
      [`Bearer ${expired}`, `Bearer ${user.refreshToken}`, `Bearer ${user.accessToken}`],
    );
    assert.notEqual(user.accessToken, expired);
  });

  test("comes through when several requests find the token spoiled at once", async (t) => {
    const proxy = await startProxy(t, server);
    const storage = newStorage();
    const user = await newApp(proxy.url, storage).logIn(Credentials.anonymous());
    store(storage, user, "accessToken", spoil(user.accessToken));
    const same = newApp(proxy.url, storage).currentUser;
    proxy.clear();

    await Promise.all(Array.from({ length: 5 }, () => same.refreshProfile()));

    // realm-web does not share a refresh among requests, so there may be one each, but no more.
    assert.ok(proxy.count("POST", PATHS.session) <= 5, proxy.lines.join("\n"));
    assert.equal(same.isLoggedIn, true);
    assert.equal(same.id, user.id);
  });

  test("logs out, and the anonymous user is deleted with its last session", async (t) => {
    const proxy = await startProxy(t, server);
    const app = newApp(proxy.url);
    const user = await app.logIn(Credentials.anonymous());
    const { accessToken, refreshToken } = user;
    proxy.clear();

    await user.logOut();

    assert.deepEqual(proxy.lines, [LOG_OUT]);
    assert.equal(proxy.requests[0].contentType, undefined, "realm-web would try to parse an empty body");
    assert.equal(user.state, "logged-out");
    assert.equal(app.currentUser, null);

    assertDead(await call(server.url, "POST", PATHS.session, refreshToken));
    assertDead(await call(server.url, "DELETE", PATHS.session, refreshToken));
    assertSessionGone(await call(server.url, "GET", PATHS.profile, accessToken));
    assertSessionGone(await call(server.url, "DELETE", PATHS.delete, accessToken));

    const next = await app.logIn(Credentials.anonymous(false));
    assert.notEqual(next.id, user.id);
  });

  test("is refused, and does not go round in circles, when it reuses a logged-out user", async (t) => {
    const proxy = await startProxy(t, server, { rememberAuthorization: true });
    const app = newApp(proxy.url);
    const user = await app.logIn(Credentials.anonymous());
    await user.logOut();
    proxy.clear();

    // realm-web picks the logged-out user again and sends `Bearer null`: an error of its own that it cannot be spared,
    // but the answer has to be one that ends it.
    await assert.rejects(app.logIn(Credentials.anonymous()), (error) => {
      assert.ok(error instanceof MongoDBRealmError);
      assert.equal(error.statusCode, 401);
      return true;
    });
    assert.ok(proxy.requests.length <= 4, proxy.lines.join("\n"));
    for (const { authorization, status, contentType } of proxy.requests) {
      assert.equal(authorization, "Bearer null");
      assert.equal(status, 401);
      assert.equal(contentType, "application/json");
    }

    // The way out that applications have.
    await app.removeUser(user);
    const next = await app.logIn(Credentials.anonymous());
    assert.notEqual(next.id, user.id);
  });

  test("removes its user", async (t) => {
    const proxy = await startProxy(t, server);
    const storage = newStorage();
    const app = newApp(proxy.url, storage);
    const user = await app.logIn(Credentials.anonymous());
    const { accessToken, refreshToken } = user;
    proxy.clear();

    await app.removeUser(user);

    assert.deepEqual(proxy.lines, [LOG_OUT]);
    assert.equal(user.state, "removed");
    assert.equal(app.currentUser, null);
    assert.deepEqual(Object.keys(newApp(proxy.url, storage).allUsers), []);
    assertDead(await call(server.url, "POST", PATHS.session, refreshToken));
    assertSessionGone(await call(server.url, "GET", PATHS.profile, accessToken));

    const next = await app.logIn(Credentials.anonymous());
    assert.notEqual(next.id, user.id);
  });

  test("deletes its user", async (t) => {
    const proxy = await startProxy(t, server);
    const app = newApp(proxy.url);
    const user = await app.logIn(Credentials.anonymous());
    const { accessToken, refreshToken } = user;
    proxy.clear();

    await app.deleteUser(user);

    // realm-web deletes the user and then its session, which is gone by then. It swallows that error only for its text.
    assert.deepEqual(proxy.lines, [DELETE_USER, LOG_OUT_REFUSED]);
    assert.equal(proxy.requests[0].contentType, undefined);
    assert.equal(user.state, "removed");
    assert.equal(app.currentUser, null);
    assertDead(await call(server.url, "POST", PATHS.session, refreshToken));
    assertDead(await call(server.url, "DELETE", PATHS.session, refreshToken));
    assertSessionGone(await call(server.url, "GET", PATHS.profile, accessToken));
  });

  test("ends logged out after few requests when its user was deleted on the server", async (t) => {
    const proxy = await startProxy(t, server);
    const app = newApp(proxy.url);
    const user = await app.logIn(Credentials.anonymous());
    const deleted = await call(server.url, "DELETE", PATHS.delete, user.accessToken);
    assert.deepEqual(deleted, { status: 204, contentType: null, body: null });
    proxy.clear();

    await assert.rejects(user.refreshProfile(), (error) => {
      assert.ok(error instanceof MongoDBRealmError);
      assert.equal(error.statusCode, 401);
      assert.equal(error.errorCode, "InvalidSession");
      return true;
    });

    assert.deepEqual(proxy.lines, [PROFILE_REFUSED, REFRESH_REFUSED]);
    assert.ok(proxy.requests.length <= 4);
    assert.equal(user.state, "logged-out");
    assert.equal(user.accessToken, null);
    assert.equal(user.refreshToken, null);
    assert.equal(app.currentUser, null);

    await app.removeUser(user);
    const next = await app.logIn(Credentials.anonymous());
    assert.notEqual(next.id, user.id);
  });

  test("ends logged out, too, when a refresh is the first to find the session gone", async (t) => {
    const proxy = await startProxy(t, server);
    const user = await newApp(proxy.url).logIn(Credentials.anonymous());
    assert.equal((await call(server.url, "DELETE", PATHS.session, user.refreshToken)).status, 204);
    proxy.clear();

    await assert.rejects(user.refreshCustomData(), { statusCode: 401, errorCode: "InvalidSession" });

    assert.deepEqual(proxy.lines, [REFRESH_REFUSED]);
    assert.equal(user.state, "logged-out");
  });

  for (const [how, end] of [["stopped", (server) => server.stop()], ["killed", (server) => server.kill()]]) {
    test(`finds its user again after the server was ${how} and started`, async (t) => {
      const own = await startServer(t);
      const proxy = await startProxy(t, own);
      const storage = newStorage();
      const app = newApp(proxy.url, storage);
      const user = await app.logIn(Credentials.anonymous());
      const gone = await app.logIn(Credentials.anonymous(false));
      const goneRefreshToken = gone.refreshToken;
      await app.removeUser(gone);
      // The last thing the server does before it ends is to make a user: what it has answered it must not lose.
      const last = await app.logIn(Credentials.anonymous(false));
      await end(own);
      proxy.clear();

      // No server is a network failure and nothing more; the client must not take it for the end of its user.
      await assert.rejects(user.refreshProfile(), (error) => !(error instanceof MongoDBRealmError));
      assert.equal(user.isLoggedIn, true);

      await own.restart();
      proxy.clear();

      await user.refreshProfile();
      await last.refreshProfile();
      assert.deepEqual(proxy.lines, [PROFILE, PROFILE], "the old access tokens are still good");
      proxy.clear();

      // A client that was away itself, for so long that only its refresh token is of use.
      for (const { id, refreshToken } of [user, last]) {
        store(storage, { id }, "accessToken", "long-expired");
        const reloaded = newApp(proxy.url, storage);
        const same = reloaded.allUsers[id];
        await same.refreshProfile();
        assert.deepEqual(proxy.lines, [LOCATION, PROFILE_REFUSED, REFRESH, PROFILE]);
        assert.equal(same.refreshToken, refreshToken);
        assert.equal(tokenClaims(same.accessToken).sub, id);
        proxy.clear();
      }

      assertDead(await call(proxy.url, "POST", PATHS.session, goneRefreshToken)); // and no one is revived
    });
  }
});
