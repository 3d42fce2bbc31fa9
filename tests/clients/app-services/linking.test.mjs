// The unmodified realm-web logs in with a second system's JWT, and turns an anonymous user into a lasting account with one.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Credentials, MongoDBRealmError, newApp, newStorage, store } from "../kit/client.mjs";
import { BAD_JWTS, newJwt, newSubject, startServerWithJwt, startServerWithoutJwt } from "../kit/external.mjs";
import { startProxy } from "../kit/recording-proxy.mjs";
import { call, PATHS, SUITE_DEADLINE } from "../kit/server.mjs";
import { tokenClaims } from "../kit/tokens.mjs";

const LOGIN_PATH = PATHS.login.replace("anon-user", "custom-token");
const LINK_PATH = `${LOGIN_PATH}?link=true`;
// A proxy writes paths down without their query, so a link reads like a login.
const LOGIN = `POST ${LOGIN_PATH} 200`;
const LOGIN_REFUSED = `POST ${LOGIN_PATH} 401`;
const LINK = LOGIN;
const LINK_IN_USE = `POST ${LOGIN_PATH} 409`;
const LINK_REFUSED = `POST ${LOGIN_PATH} 400`;
const LOCATION = `GET ${PATHS.location} 200`;
const PROFILE = `GET ${PATHS.profile} 200`;
const PROFILE_REFUSED = `GET ${PATHS.profile} 401`;
const REFRESH = `POST ${PATHS.session} 201`;
const LOG_OUT = `DELETE ${PATHS.session} 204`;
const LOG_OUT_REFUSED = `DELETE ${PATHS.session} 401`;
const DELETE_USER = `DELETE ${PATHS.delete} 204`;

const HEX24 = /^[0-9a-f]{24}$/;
const SIXTY_DAYS = 60 * 24 * 60 * 60;
const ROUNDS = 50;

/** Not 401: after that, realm-web 1.0.0 to 2.0.0 refreshes and asks again, without end. */
const IN_USE = {
  statusCode: 409,
  errorCode: "AuthError",
  error: "unauthorized: a user already exists with the specified provider",
};

const logInWithJwt = async (url, subject, claims) => newApp(url).logIn(Credentials.jwt(await newJwt(subject, claims)));
const logInAnonymously = (url, storage) => newApp(url, storage).logIn(Credentials.anonymous());
const link = async (user, subject, claims) => user.linkCredentials(Credentials.jwt(await newJwt(subject, claims)));
const providersOf = (user) => user.identities.map(({ providerType }) => providerType);
const subjectsOf = (user) =>
  user.identities.filter(({ providerType }) => providerType === "custom-token").map(({ id }) => id);

/** What an anonymous user is to be after a link that failed: the same, on the same token. */
async function assertStillAnonymous(user, accessToken) {
  await user.refreshProfile();
  assert.equal(user.isLoggedIn, true);
  assert.equal(user.accessToken, accessToken);
  assert.deepEqual(providersOf(user), ["anon-user"]);
}

function assertInUse({ status, contentType, body }) {
  assert.equal(status, IN_USE.statusCode);
  assert.equal(contentType, "application/json");
  assert.equal(body.error, IN_USE.error);
  assert.equal(body.error_code, IN_USE.errorCode);
}

describe("realm-web with JWTs of a second system", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startServerWithJwt(null);
  });
  after(() => server?.close());

  test("logs in with a JWT", async (t) => {
    const proxy = await startProxy(t, server);
    const app = newApp(proxy.url);
    const subject = newSubject();
    const claims = { name: "Jean", address: { city: "Digne" }, phone: "not asked for" };

    const user = await app.logIn(Credentials.jwt(await newJwt(subject, claims)));

    assert.deepEqual(proxy.lines, [LOCATION, LOGIN, PROFILE]);
    assert.match(user.id, HEX24);
    assert.match(user.deviceId, HEX24);
    assert.equal(user.providerType, "custom-token");
    assert.deepEqual(subjectsOf(user), [subject]);
    assert.deepEqual(user.profile, { name: "Jean", city: "Digne" });
    await user.refreshCustomData();
    await user.refreshProfile();
    assert.equal(tokenClaims(user.accessToken).sub, user.id);
  });

  test("that user is a lasting account", async () => {
    const user = await logInWithJwt(server.url, newSubject());
    const { status, body } = await call(server.url, "GET", "/v1/session", user.accessToken);
    assert.equal(status, 200);
    assert.equal(body.user_id, user.id);
    assert.equal(body.anonymous, false);
    assert.equal(body.expires, null);
    const { iat, exp } = tokenClaims(user.refreshToken);
    assert.equal(exp - iat, SIXTY_DAYS, "for information: SDKs cannot take a new refresh token");
  });

  test("the same person is the same user on every device", async () => {
    const subject = newSubject();
    const first = await logInWithJwt(server.url, subject);
    const second = await logInWithJwt(server.url, subject);
    assert.equal(second.id, first.id);
    assert.notEqual(second.refreshToken, first.refreshToken, "each device has a session of its own");

    await second.logOut();
    await first.refreshProfile();
    await first.refreshCustomData();
    assert.equal(first.isLoggedIn, true);

    const other = await logInWithJwt(server.url, newSubject());
    assert.notEqual(other.id, first.id);
  });

  test("logins of a new person on two devices at once make one user", async () => {
    // Two, and not more: a login that meets others twice may be answered 503.
    for (let round = 0; round < 20; round += 1) {
      const subject = newSubject();
      const [one, other] = await Promise.all([logInWithJwt(server.url, subject), logInWithJwt(server.url, subject)]);
      assert.equal(one.id, other.id);
      assert.notEqual(one.refreshToken, other.refreshToken);
      await Promise.all([one.refreshProfile(), other.refreshProfile()]);
    }
  });

  test("an anonymous user links a JWT and keeps its id", async (t) => {
    const proxy = await startProxy(t, server);
    const user = await logInAnonymously(proxy.url);
    const { id, accessToken, refreshToken, deviceId } = user;
    const [anonymous] = user.identities;
    const subject = newSubject();
    proxy.clear();

    await link(user, subject, { name: "Jean" });

    assert.deepEqual(proxy.lines, [LINK, PROFILE]);
    assert.equal(user.id, id);
    assert.notEqual(user.accessToken, accessToken);
    assert.equal(tokenClaims(user.accessToken).sub, id);
    assert.equal(user.deviceId, deviceId);
    assert.deepEqual(user.identities, [anonymous, { id: subject, providerType: "custom-token" }]);
    assert.deepEqual(user.profile, { name: "Jean" });
    proxy.clear();

    await user.refreshCustomData();
    await user.refreshProfile();
    assert.deepEqual(proxy.lines, [REFRESH, PROFILE]);
    assert.equal(user.refreshToken, refreshToken, "SDKs keep theirs across a link");

    const { body } = await call(server.url, "GET", "/v1/session", user.accessToken);
    assert.equal(body.anonymous, false);
    assert.equal(body.expires, null);
  });

  test("a linked user is found again from a second device", async () => {
    const subject = newSubject();
    const user = await logInAnonymously(server.url);
    await link(user, subject);
    const elsewhere = await logInWithJwt(server.url, subject);
    assert.equal(elsewhere.id, user.id);
    assert.deepEqual(elsewhere.identities, user.identities);
  });

  test("an access token from before the link is refused at once, and one refresh replaces it", async (t) => {
    const proxy = await startProxy(t, server);
    const storage = newStorage();
    const user = await logInAnonymously(proxy.url, storage);
    const before = [user.accessToken];
    await user.refreshCustomData();
    before.push(user.accessToken);
    await link(user, newSubject());

    for (const token of before) {
      const { status, body } = await call(server.url, "GET", PATHS.profile, token);
      assert.equal(status, 401);
      assert.equal(body.error_code, "InvalidSession");
      assert.equal((await call(server.url, "DELETE", PATHS.delete, token)).status, 401);
    }
    // Another page of the same app that has not heard of the link.
    store(storage, user, "accessToken", before[1]);
    const elsewhere = newApp(proxy.url, storage).currentUser;
    proxy.clear();
    await elsewhere.refreshProfile();
    assert.deepEqual(proxy.lines, [LOCATION, PROFILE_REFUSED, REFRESH, PROFILE]);
    assert.deepEqual(providersOf(elsewhere), ["anon-user", "custom-token"]);
  });

  test("linking the same identity again changes nothing", async (t) => {
    const proxy = await startProxy(t, server);
    const user = await logInAnonymously(proxy.url);
    const { id } = user;
    const subject = newSubject();
    await link(user, subject);
    const { identities } = user;
    proxy.clear();

    await link(user, subject);

    assert.deepEqual(proxy.lines, [LINK, PROFILE]);
    assert.equal(user.id, id);
    assert.deepEqual(user.identities, identities);
    await user.refreshCustomData();
    assert.equal((await logInWithJwt(server.url, subject)).id, id);
  });

  test("linking an identity of a different user is one error and nothing more", async (t) => {
    const proxy = await startProxy(t, server);
    const subject = newSubject();
    const owner = await logInWithJwt(server.url, subject);
    const user = await logInAnonymously(proxy.url);
    const { accessToken } = user;
    proxy.clear();

    await assert.rejects(link(user, subject), (error) => {
      assert.ok(error instanceof MongoDBRealmError);
      for (const [key, value] of Object.entries(IN_USE)) assert.equal(error[key], value);
      return true;
    });

    assert.deepEqual(proxy.lines, [LINK_IN_USE], "no refresh, no second attempt");
    await assertStillAnonymous(user, accessToken);
    await user.refreshCustomData();
    assert.equal((await logInWithJwt(server.url, subject)).id, owner.id);

    // And it can still become an account of its own.
    await link(user, newSubject());
    assert.deepEqual(providersOf(user), ["anon-user", "custom-token"]);
  });

  test("on this path a conflict is refused, whatever the body asks for", async () => {
    const subject = newSubject();
    await logInWithJwt(server.url, subject);
    const user = await logInAnonymously(server.url);
    for (const on_conflict of ["switch", "merge"]) {
      const body = { token: await newJwt(subject), on_conflict };
      assertInUse(await call(server.url, "POST", LINK_PATH, user.accessToken, body));
    }
    await assertStillAnonymous(user, user.accessToken);
  });

  test("an anonymous identity is never linked", async (t) => {
    const proxy = await startProxy(t, server);
    const user = await logInAnonymously(proxy.url);
    const { accessToken } = user;
    proxy.clear();

    await assert.rejects(user.linkCredentials(Credentials.anonymous()), (error) => {
      assert.ok(error instanceof MongoDBRealmError);
      assert.equal(error.statusCode, 400);
      assert.equal(error.error, "linking an anonymous identity is not allowed");
      return true;
    });

    assert.equal(proxy.requests.length, 1, proxy.lines.join("\n"));
    await assertStillAnonymous(user, accessToken);
  });

  test("a user of a JWT links a second one, and its other device stays logged in", async () => {
    const [first, second] = [newSubject(), newSubject()];
    const user = await logInWithJwt(server.url, first);
    const elsewhere = await logInWithJwt(server.url, first);
    const { accessToken } = elsewhere;

    await link(user, second);

    assert.deepEqual(subjectsOf(user), [first, second]);
    await elsewhere.refreshProfile();
    assert.equal(elsewhere.accessToken, accessToken);
    assert.deepEqual(subjectsOf(elsewhere), [first, second]);
    assert.equal((await logInWithJwt(server.url, second)).id, user.id);
  });

  for (const [how, end] of [
    ["logs out", (app, user) => user.logOut()],
    ["is removed from its device", (app, user) => app.removeUser(user)],
  ]) {
    test(`a linked user that ${how} is there again with its JWT`, async (t) => {
      const proxy = await startProxy(t, server);
      const subject = newSubject();
      const app = newApp(proxy.url);
      const user = await app.logIn(Credentials.anonymous());
      await link(user, subject);
      const { id, refreshToken } = user;
      proxy.clear();

      await end(app, user);

      assert.deepEqual(proxy.lines, [LOG_OUT]);
      assert.equal((await call(server.url, "POST", PATHS.session, refreshToken)).status, 401);
      const again = await app.logIn(Credentials.jwt(await newJwt(subject)));
      assert.equal(again.id, id);
      assert.deepEqual(subjectsOf(again), [subject]);
      assert.notEqual(again.refreshToken, refreshToken);
    });
  }

  test("a linked user that is deleted frees its identity", async (t) => {
    const proxy = await startProxy(t, server);
    const subject = newSubject();
    const app = newApp(proxy.url);
    const user = await app.logIn(Credentials.anonymous());
    await link(user, subject, { name: "Jean" });
    const elsewhere = await logInWithJwt(server.url, subject);
    const { id } = user;
    proxy.clear();

    await app.deleteUser(user);

    assert.deepEqual(proxy.lines, [DELETE_USER, LOG_OUT_REFUSED]);
    await assert.rejects(elsewhere.refreshProfile(), { statusCode: 401, errorCode: "InvalidSession" });
    assert.equal(elsewhere.state, "logged-out");
    const next = await app.logIn(Credentials.jwt(await newJwt(subject)));
    assert.notEqual(next.id, id);
    assert.deepEqual(next.profile, {});
  });

  for (const [what, bad] of Object.entries(BAD_JWTS)) {
    test(`a JWT ${what} is refused`, async (t) => {
      const proxy = await startProxy(t, server);
      const app = newApp(proxy.url);
      const jwt = await bad(newSubject(), server);
      const user = await app.logIn(Credentials.anonymous());
      const { accessToken } = user;
      proxy.clear();

      await assert.rejects(app.logIn(Credentials.jwt(jwt)), {
        statusCode: 401,
        errorCode: "AuthError",
        error: "unauthorized",
      });
      assert.deepEqual(proxy.lines, [LOGIN_REFUSED]);
      proxy.clear();

      await assert.rejects(user.linkCredentials(Credentials.jwt(jwt)), (error) => {
        assert.ok(error instanceof MongoDBRealmError);
        assert.equal(error.statusCode, 400);
        assert.equal(error.errorCode, "AuthError");
        assert.match(error.error, /^unauthorized: /);
        return true;
      });
      assert.deepEqual(proxy.lines, [LINK_REFUSED], "no refresh, no second attempt");
      await assertStillAnonymous(user, accessToken);
    });
  }

  test("nothing is linked without a live access token", async () => {
    const subject = newSubject();
    const body = { token: await newJwt(subject) };
    const none = await call(server.url, "POST", LINK_PATH, undefined, body);
    assert.equal(none.status, 401);
    assert.equal(none.body.error, "must authenticate first");

    const user = await logInAnonymously(server.url);
    const { id, accessToken, refreshToken } = user;
    assert.equal((await call(server.url, "POST", LINK_PATH, refreshToken, body)).status, 401, "a refresh token");
    await user.logOut();
    const gone = await call(server.url, "POST", LINK_PATH, accessToken, body);
    assert.equal(gone.status, 401);
    assert.equal(gone.body.error_code, "InvalidSession");

    const owner = await logInWithJwt(server.url, subject);
    assert.notEqual(owner.id, id, "the identity was left free");
  });

  test("a provider that is switched off says so", async (t) => {
    const off = await startServerWithoutJwt(t);
    const proxy = await startProxy(t, off);
    const app = newApp(proxy.url);
    const user = await app.logIn(Credentials.anonymous());
    const { accessToken } = user;
    const jwt = await newJwt(newSubject());
    const unsupported = (statusCode) => ({
      statusCode,
      errorCode: "AuthError",
      error: "authentication via 'custom-token' is unsupported",
    });
    proxy.clear();

    await assert.rejects(app.logIn(Credentials.jwt(jwt)), unsupported(401));
    await assert.rejects(user.linkCredentials(Credentials.jwt(jwt)), unsupported(400));

    assert.deepEqual(proxy.lines, [LOGIN_REFUSED, LINK_REFUSED]);
    await assertStillAnonymous(user, accessToken);
  });

  test(`of ${ROUNDS} anonymous users that link one identity at once one gets it`, async () => {
    const subject = newSubject();
    const body = { token: await newJwt(subject) };
    const logIn = async () => (await call(server.url, "POST", PATHS.login, undefined, {})).body;
    const users = await Promise.all(Array.from({ length: ROUNDS }, logIn));

    const answers = await Promise.all(
      users.map(({ access_token }) => call(server.url, "POST", LINK_PATH, access_token, body)),
    );

    const owners = users.filter((_, index) => answers[index].status === 200);
    assert.equal(owners.length, 1);
    const [owner] = owners;
    for (const [index, user] of users.entries()) {
      const { status, body } = await call(server.url, "GET", PATHS.profile, user.access_token);
      if (user === owner) {
        assert.equal(answers[index].body.user_id, user.user_id);
        assert.equal(status, 401, "the owner's token from before the link");
      } else {
        assertInUse(answers[index]);
        assert.equal(status, 200);
        assert.equal(body.identities.length, 1);
      }
    }
    assert.equal((await logInWithJwt(server.url, subject)).id, owner.user_id);
  });

  test("a link outlives the kill of the server", async (t) => {
    const own = await startServerWithJwt(t);
    const subject = newSubject();
    const user = await logInAnonymously(own.url);
    const before = user.accessToken;
    await link(user, subject, { name: "Jean" });
    const { identities } = user;

    await own.kill();
    await own.restart();

    await user.refreshProfile();
    assert.deepEqual(user.identities, identities);
    assert.deepEqual(user.profile, { name: "Jean" });
    await user.refreshCustomData();
    assert.equal((await call(own.url, "GET", PATHS.profile, before)).status, 401);
    assert.equal((await logInWithJwt(own.url, subject)).id, user.id);
    const late = await logInAnonymously(own.url);
    await assert.rejects(link(late, subject), IN_USE);
  });
});
