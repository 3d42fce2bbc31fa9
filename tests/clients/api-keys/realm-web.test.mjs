// API keys: the unmodified realm-web makes, uses and removes them.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import {
  APP,
  BAD_NAMES,
  HEX24,
  KEY,
  logInWithKey,
  MOST_KEYS,
  NAMES,
  newOwner,
  newPerson,
  PASSWORD,
  provider,
  REFUSED,
  spoiledKey,
  startServerWithKeys,
  UNKNOWN_ID,
  V1_IDENTITIES,
  V1_KEYS,
  V1_SESSIONS,
} from "../kit/api-keys.mjs";
import { Credentials, MongoDBRealmError, newApp } from "../kit/client.mjs";
import { startProxy } from "../kit/recording-proxy.mjs";
import { call, PATHS, startServerWithApp, SUITE_DEADLINE } from "../kit/server.mjs";

const LOGIN_PATH = `${APP}/api-key/login`;
const KEYS_PATH = "/api/client/v2.0/auth/api_keys";
const LOGIN = `POST ${LOGIN_PATH} 200`;
const LOGIN_REFUSED = `POST ${LOGIN_PATH} 401`;
// A proxy writes paths down without their query, so a link reads like a login.
const LINK = LOGIN;
const LINK_REFUSED = `POST ${LOGIN_PATH} 400`;
const LOCATION = `GET ${PATHS.location} 200`;
const PROFILE = `GET ${PATHS.profile} 200`;

const startServerWithoutKeys = (t) => startServerWithApp(t, { ...NAMES, ...provider("api-key", { disabled: true }) });

const GOOD_NAMES = ["a", "My_key-7", "x".repeat(64)];
const NOT_FOUND = { statusCode: 404, errorCode: "APIKeyNotFound", error: "API key not found" };
const NAME_TAKEN = { statusCode: 409, errorCode: "APIKeyAlreadyExists", error: "API key with name already exists" };
const BAD_NAME = {
  statusCode: 400,
  errorCode: "InvalidParameter",
  error: "can only contain ASCII letters, numbers, underscores, and hyphens",
};
const NOT_YOURS = { statusCode: 400, errorCode: "InvalidParameter", error: "invalid user link request" };

const logInAnonymously = (url) => newApp(url).logIn(Credentials.anonymous());
const link = (user, key) => user.linkCredentials(Credentials.apiKey(key));

/** What a user is to be after something that failed: the same, on the same token, in the same session. */
async function assertGoesOn(user, accessToken, identities) {
  await user.refreshProfile();
  assert.equal(user.isLoggedIn, true);
  assert.equal(user.accessToken, accessToken);
  assert.deepEqual(user.identities, identities);
  await user.refreshCustomData();
}

describe("realm-web with API keys", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startServerWithKeys(null);
  });
  after(() => server?.close());

  test("creates, lists, switches off and on, and removes a key", async (t) => {
    const proxy = await startProxy(t, server, { rememberAuthorization: true });
    const owner = await newOwner(proxy.url);
    const { apiKeys, refreshToken } = owner;
    assert.deepEqual(await apiKeys.fetchAll(), []);
    proxy.clear();

    const { _id, key, ...made } = await apiKeys.create("backup");
    assert.match(_id, HEX24); // Not an ObjectId: native SDKs want the text.
    assert.match(key, KEY);
    assert.deepEqual(made, { name: "backup", disabled: false });
    const shown = { _id, name: "backup", disabled: false };
    assert.deepEqual(await apiKeys.fetchAll(), [shown]);
    assert.deepEqual(await apiKeys.fetch(_id), shown);
    assert.equal(await apiKeys.disable(_id), undefined);
    assert.deepEqual(await apiKeys.fetch(_id), { ...shown, disabled: true });
    await apiKeys.enable(_id);
    assert.deepEqual(await apiKeys.fetchAll(), [shown]);
    await apiKeys.delete(_id);
    assert.deepEqual(await apiKeys.fetchAll(), []);

    assert.deepEqual(proxy.lines, [
      `POST ${KEYS_PATH} 201`,
      `GET ${KEYS_PATH} 200`,
      `GET ${KEYS_PATH}/${_id} 200`,
      `PUT ${KEYS_PATH}/${_id}/disable 204`,
      `GET ${KEYS_PATH}/${_id} 200`,
      `PUT ${KEYS_PATH}/${_id}/enable 204`,
      `GET ${KEYS_PATH} 200`,
      `DELETE ${KEYS_PATH}/${_id} 204`,
      `GET ${KEYS_PATH} 200`,
    ]);
    for (const { authorization, status, contentType } of proxy.requests) {
      assert.equal(authorization, `Bearer ${refreshToken}`);
      // realm-web would try to parse an empty body.
      assert.equal(contentType, status === 204 ? undefined : "application/json");
    }
  });

  test("a key logs in as its owner from a fresh client", async (t) => {
    const proxy = await startProxy(t, server);
    const owner = await newOwner(server.url);
    const { key } = await owner.apiKeys.create("script");

    const script = await logInWithKey(proxy.url, key);

    assert.deepEqual(proxy.lines, [LOCATION, LOGIN, PROFILE]);
    assert.equal(script.id, owner.id);
    assert.equal(script.providerType, "api-key");
    assert.notEqual(script.refreshToken, owner.refreshToken);
    assert.equal(script.profile.email, owner.profile.email);
    await script.refreshCustomData();
    assert.equal((await logInWithKey(server.url, key)).id, owner.id, "and again");

    await script.logOut();
    await owner.refreshProfile();
    assert.equal((await logInWithKey(server.url, key)).id, owner.id);
  });

  test("no list ever shows the key", async () => {
    const owner = await newOwner(server.url);
    const { _id, key } = await owner.apiKeys.create("secret");
    const script = await logInWithKey(server.url, key);
    for (const seen of [
      await owner.apiKeys.fetchAll(),
      await owner.apiKeys.fetch(_id),
      (await call(server.url, "GET", V1_KEYS, owner.accessToken)).body,
      (await call(server.url, "GET", PATHS.profile, script.accessToken)).body,
      (await call(server.url, "GET", V1_IDENTITIES, owner.accessToken)).body,
    ]) {
      const text = JSON.stringify(seen);
      assert.equal(text.includes(key.slice(4, 58)), false, text);
      assert.equal(text.includes('"key"'), false, text);
    }
  });

  test("a key that is off is refused until it is on again", async (t) => {
    const proxy = await startProxy(t, server);
    const owner = await newOwner(server.url);
    const { _id, key } = await owner.apiKeys.create("now-and-then");
    const other = await owner.apiKeys.create("always");
    await owner.apiKeys.disable(_id);
    await owner.apiKeys.disable(_id);

    await assert.rejects(logInWithKey(proxy.url, key), (error) => {
      assert.ok(error instanceof MongoDBRealmError);
      for (const [field, value] of Object.entries(REFUSED)) assert.equal(error[field], value);
      return true;
    });
    assert.deepEqual(proxy.lines, [LOCATION, LOGIN_REFUSED]);
    assert.equal((await logInWithKey(server.url, other.key)).id, owner.id);

    await owner.apiKeys.enable(_id);
    assert.equal((await logInWithKey(server.url, key)).id, owner.id);
  });

  test("a key that was removed is refused for ever, and its name is free", async () => {
    const owner = await newOwner(server.url);
    const { _id, key } = await owner.apiKeys.create("once");
    await logInWithKey(server.url, key);
    await owner.apiKeys.delete(_id);
    await assert.rejects(logInWithKey(server.url, key), REFUSED);
    await assert.rejects(owner.apiKeys.enable(_id), NOT_FOUND);

    const next = await owner.apiKeys.create("once");
    assert.notEqual(next._id, _id);
    assert.notEqual(next.key, key);
    await assert.rejects(logInWithKey(server.url, key), REFUSED);
    assert.equal((await logInWithKey(server.url, next.key)).id, owner.id);
  });

  for (const end of ["delete", "disable"]) {
    test(`a session that a key began ends with it: ${end}`, async () => {
      const owner = await newOwner(server.url);
      const { _id, key } = await owner.apiKeys.create("begins");
      const script = await logInWithKey(server.url, key);
      await script.refreshProfile();
      await owner.apiKeys[end](_id);
      await assert.rejects(script.refreshProfile(), { statusCode: 401, errorCode: "InvalidSession" });
      assert.equal(script.state, "logged-out");
      await owner.refreshProfile();
    });
  }

  test("a session that a key began changes nothing of the account, and stays logged in", async (t) => {
    const proxy = await startProxy(t, server);
    const owner = await newOwner(server.url);
    const { _id, key } = await owner.apiKeys.create("program");
    const script = await logInWithKey(proxy.url, key);
    const { accessToken, identities } = script;
    const email = await newPerson(server.url);
    for (const change of [
      () => script.apiKeys.create("another"),
      () => script.apiKeys.fetchAll(),
      () => script.apiKeys.fetch(_id),
      () => script.apiKeys.disable(_id),
      () => script.apiKeys.enable(_id),
      () => script.apiKeys.delete(_id),
      () => script.linkCredentials(Credentials.emailPassword(email, PASSWORD)),
      () => script.app.deleteUser(script),
    ]) {
      proxy.clear();
      await assert.rejects(change(), { statusCode: 403, errorCode: "AuthError" });
      assert.equal(proxy.lines.length, 1, "no refresh, no second attempt");
    }
    await assertGoesOn(script, accessToken, identities);
    await script.logOut();
    await owner.refreshProfile();
  });

  test("what is not a key of this server logs no one in", async (t) => {
    const stranger = await startServerWithKeys(t);
    const { key } = await (await newOwner(server.url)).apiKeys.create("mine");
    const theirs = await (await newOwner(stranger.url)).apiKeys.create("theirs");
    for (const bad of [
      theirs.key,
      spoiledKey(key),
      spoiledKey(key, { last: true }),
      key.toLowerCase(),
      key.slice(0, -1),
      `${key}A`,
      ` ${key}`,
      key.slice("psb_".length),
      "",
      "x".repeat(64),
    ]) {
      await assert.rejects(logInWithKey(server.url, bad), REFUSED, bad);
    }
    for (const body of [{}, { key: 7 }, { key: null }, { key: [key] }, { token: key }]) {
      const answer = await call(server.url, "POST", LOGIN_PATH, undefined, body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.equal(answer.body.error_code, "BadRequest");
    }
  });

  test("a name belongs to one key of its owner", async () => {
    const [one, other] = [await newOwner(server.url), await newOwner(server.url)];
    const { _id } = await one.apiKeys.create("backup");
    await assert.rejects(one.apiKeys.create("backup"), NAME_TAKEN);
    await one.apiKeys.disable(_id);
    await assert.rejects(one.apiKeys.create("backup"), NAME_TAKEN);
    await one.apiKeys.create("Backup");
    await other.apiKeys.create("backup");
    assert.deepEqual((await one.apiKeys.fetchAll()).map(({ name }) => name), ["backup", "Backup"]);
  });

  test("of several keys of one name at once one is created", async () => {
    const { apiKeys } = await newOwner(server.url);
    const answers = await Promise.allSettled(Array.from({ length: 5 }, () => apiKeys.create("race")));
    const made = answers.filter(({ status }) => status === "fulfilled");
    assert.equal(made.length, 1);
    for (const { reason } of answers) if (reason) assert.equal(reason.errorCode, NAME_TAKEN.errorCode);
    assert.deepEqual((await apiKeys.fetchAll()).map(({ _id }) => _id), [made[0].value._id]);
  });

  test("a name has letters, digits, underscores and hyphens, and nothing else", async () => {
    const owner = await newOwner(server.url);
    for (const name of GOOD_NAMES) assert.equal((await owner.apiKeys.create(name)).name, name);
    for (const name of [...BAD_NAMES, undefined, null, 7]) {
      await assert.rejects(owner.apiKeys.create(name), BAD_NAME, String(name));
    }
    assert.deepEqual((await owner.apiKeys.fetchAll()).map(({ name }) => name), GOOD_NAMES);
  });

  test("a key that is not the user's own is not found", async () => {
    const [owner, other] = [await newOwner(server.url), await newOwner(server.url)];
    const theirs = await other.apiKeys.create("theirs");
    for (const id of [UNKNOWN_ID, theirs._id, "spoiled", "0"]) {
      for (const action of ["fetch", "enable", "disable", "delete"]) {
        await assert.rejects(owner.apiKeys[action](id), NOT_FOUND, `${action} ${id}`);
      }
    }
    assert.equal((await logInWithKey(server.url, theirs.key)).id, other.id);
    assert.equal(owner.isLoggedIn, true);
  });

  test(`a user has at most ${MOST_KEYS} keys`, async () => {
    const { apiKeys } = await newOwner(server.url);
    for (let number = 1; number <= MOST_KEYS; number += 1) await apiKeys.create(`key-${number}`);
    await assert.rejects(apiKeys.create("one-too-many"), { statusCode: 400, errorCode: "BadRequest" });
    const [first, ...others] = await apiKeys.fetchAll();
    assert.equal(others.length, MOST_KEYS - 1);
    await apiKeys.delete(first._id);
    await apiKeys.create("not-too-many");
  });

  test("an anonymous user creates no keys, until it is a lasting account", async () => {
    const user = await logInAnonymously(server.url);
    const { accessToken, identities } = user;
    await assert.rejects(user.apiKeys.create("early"), { statusCode: 400 });
    assert.deepEqual(await user.apiKeys.fetchAll(), []);
    await assertGoesOn(user, accessToken, identities);

    await user.linkCredentials(Credentials.emailPassword(await newPerson(server.url), PASSWORD));
    const { key } = await user.apiKeys.create("in-time");
    assert.equal((await logInWithKey(server.url, key)).id, user.id);
  });

  test("keys are managed with a refresh token that is alive", async () => {
    const owner = await newOwner(server.url);
    const { accessToken, refreshToken } = owner;
    const { _id } = await owner.apiKeys.create("kept");
    const requests = [
      ["POST", KEYS_PATH, { name: "another" }],
      ["GET", KEYS_PATH],
      ["GET", `${KEYS_PATH}/${_id}`],
      ["PUT", `${KEYS_PATH}/${_id}/disable`],
      ["PUT", `${KEYS_PATH}/${_id}/enable`],
      ["DELETE", `${KEYS_PATH}/${_id}`],
    ];
    async function assertUnauthorized(token, error) {
      for (const [method, path, body] of requests) {
        const answer = await call(server.url, method, path, token, body);
        assert.equal(answer.status, 401, `${method} ${path}`);
        assert.equal(answer.contentType, "application/json");
        assert.equal(answer.body.error, error, `${method} ${path}`);
      }
    }
    await assertUnauthorized(undefined, "must authenticate first");
    await assertUnauthorized(accessToken, "invalid refresh token: incorrect token type");
    assert.deepEqual(await owner.apiKeys.fetchAll(), [{ _id, name: "kept", disabled: false }]);
    await owner.logOut();
    await assertUnauthorized(refreshToken, "invalid session: failed to find refresh token");
  });

  test("linking a different user's key is one error and nothing more", async (t) => {
    const proxy = await startProxy(t, server);
    const owner = await newOwner(server.url);
    const { key } = await owner.apiKeys.create("not-yours");
    for (const logIn of [logInAnonymously, newOwner]) {
      const user = await logIn(proxy.url);
      const { accessToken, identities } = user;
      proxy.clear();

      await assert.rejects(link(user, key), (error) => {
        assert.ok(error instanceof MongoDBRealmError);
        for (const [field, value] of Object.entries(NOT_YOURS)) assert.equal(error[field], value);
        return true;
      });

      assert.deepEqual(proxy.lines, [`POST ${LOGIN_PATH} 400`], "no refresh, no second attempt");
      await assertGoesOn(user, accessToken, identities);
    }
    assert.equal((await logInWithKey(server.url, key)).id, owner.id);
  });

  test("linking a key that is good for nothing is one error and nothing more", async (t) => {
    const proxy = await startProxy(t, server);
    const owner = await newOwner(server.url);
    const off = await owner.apiKeys.create("off");
    await owner.apiKeys.disable(off._id);
    const user = await logInAnonymously(proxy.url);
    const { accessToken, identities } = user;
    for (const bad of [off.key, spoiledKey(off.key), "spoiled"]) {
      proxy.clear();
      await assert.rejects(link(user, bad), { statusCode: 400, errorCode: "AuthError" });
      assert.deepEqual(proxy.lines, [LINK_REFUSED], "no refresh, no second attempt");
    }
    await assertGoesOn(user, accessToken, identities);
  });

  test("linking one's own key changes nothing", async (t) => {
    const proxy = await startProxy(t, server);
    const owner = await newOwner(proxy.url);
    const { id, identities, refreshToken } = owner;
    const { key } = await owner.apiKeys.create("my-own");
    const keys = await owner.apiKeys.fetchAll();
    proxy.clear();

    await link(owner, key);

    assert.deepEqual(proxy.lines, [LINK, PROFILE]);
    assert.equal(owner.id, id);
    assert.deepEqual(owner.identities, identities);
    assert.equal(owner.refreshToken, refreshToken);
    await owner.refreshCustomData();
    assert.deepEqual(await owner.apiKeys.fetchAll(), keys);
    assert.equal((await logInWithKey(server.url, key)).id, id);
  });

  test("keys die with their user", async () => {
    const owner = await newOwner(server.url);
    const keys = [await owner.apiKeys.create("on"), await owner.apiKeys.create("off")];
    await owner.apiKeys.disable(keys[1]._id);
    const script = await logInWithKey(server.url, keys[0].key);

    await owner.app.deleteUser(owner);

    for (const { key } of keys) {
      await assert.rejects(logInWithKey(server.url, key), REFUSED);
      const body = { provider: "api-key", key };
      assert.equal((await call(server.url, "POST", V1_SESSIONS, undefined, body)).status, 401);
    }
    await assert.rejects(script.refreshProfile(), { statusCode: 401, errorCode: "InvalidSession" });
    assert.equal(script.state, "logged-out");
  });

  test("a key, and its end, outlive the kill of the server", async (t) => {
    const own = await startServerWithKeys(t);
    const owner = await newOwner(own.url);
    const kept = await owner.apiKeys.create("kept");
    const off = await owner.apiKeys.create("off");
    const gone = await owner.apiKeys.create("gone");
    await owner.apiKeys.disable(off._id);
    await owner.apiKeys.delete(gone._id);
    await own.kill();
    await own.restart();
    assert.equal((await logInWithKey(own.url, kept.key)).id, owner.id);
    for (const { key } of [off, gone]) await assert.rejects(logInWithKey(own.url, key), REFUSED);
    assert.deepEqual(await owner.apiKeys.fetchAll(), [
      { _id: kept._id, name: "kept", disabled: false },
      { _id: off._id, name: "off", disabled: true },
    ]);
  });

  test("a provider that is switched off says so, and no one is logged out", async (t) => {
    const off = await startServerWithoutKeys(t);
    const owner = await newOwner(off.url);
    const { accessToken, identities } = owner;
    const unsupported = (statusCode) => ({
      statusCode,
      errorCode: "AuthError",
      error: "authentication via 'api-key' is unsupported",
    });
    await assert.rejects(owner.apiKeys.create("none"), unsupported(400));
    await assert.rejects(owner.apiKeys.fetchAll(), unsupported(400));
    await assert.rejects(logInWithKey(off.url, "psb_"), unsupported(401));
    await assert.rejects(link(owner, "psb_"), unsupported(400));
    await assertGoesOn(owner, accessToken, identities);
    const answer = await call(off.url, "POST", V1_KEYS, owner.accessToken, { name: "none" });
    assert.equal(answer.status, 403);
    assert.equal(answer.body.code, "provider-disabled");
  });
});
