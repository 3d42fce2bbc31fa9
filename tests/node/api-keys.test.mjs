// API keys: the unmodified realm-web makes, uses and removes them; and the same through Passerby's own API.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Credentials, MongoDBRealmError, newApp } from "./client.mjs";
import { call, PATHS, startProxy, startServerWithApp, SUITE_DEADLINE } from "./server.mjs";

const APP = "/api/client/v2.0/app/passerby/auth/providers";
const REGISTER_PATH = `${APP}/local-userpass/register`;
const LOGIN_PATH = `${APP}/api-key/login`;
const KEYS_PATH = "/api/client/v2.0/auth/api_keys";
const V1_KEYS = "/v1/user/api-keys";
const V1_IDENTITIES = "/v1/user/identities";
const V1_SESSION = "/v1/session";
const V1_SESSIONS = "/v1/sessions";

const LOGIN = `POST ${LOGIN_PATH} 200`;
const LOGIN_REFUSED = `POST ${LOGIN_PATH} 401`;
// A proxy writes paths down without their query, so a link reads like a login.
const LINK = LOGIN;
const LINK_REFUSED = `POST ${LOGIN_PATH} 400`;
const LOCATION = `GET ${PATHS.location} 200`;
const PROFILE = `GET ${PATHS.profile} 200`;

const provider = (name, more = {}) => ({ [name]: { name, type: name, disabled: false, ...more } });
const NAMES = { ...provider("anon-user"), ...provider("local-userpass", { config: { autoConfirm: true } }) };
const startServerWithKeys = (t) => startServerWithApp(t, { ...NAMES, ...provider("api-key") });
const startServerWithoutKeys = (t) => startServerWithApp(t, { ...NAMES, ...provider("api-key", { disabled: true }) });

const PASSWORD = "correct horse";
const HEX24 = /^[0-9a-f]{24}$/;
const UNKNOWN_ID = "0123456789abcdef01234567";
/** What a scanner for secrets looks for. */
const KEY = /^psb_[0-9A-Za-z]{60}$/;
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const MOST_KEYS = 20;

const GOOD_NAMES = ["a", "My_key-7", "x".repeat(64)];
const BAD_NAMES = ["", "two words", "schlüssel", "a/b", "a.b", "x\n", "x".repeat(65)];

const REFUSED = { statusCode: 401, errorCode: "AuthError", error: "unauthorized" };
const NOT_FOUND = { statusCode: 404, errorCode: "APIKeyNotFound", error: "API key not found" };
const NAME_TAKEN = { statusCode: 409, errorCode: "APIKeyAlreadyExists", error: "API key with name already exists" };
const BAD_NAME = {
  statusCode: 400,
  errorCode: "InvalidParameter",
  error: "can only contain ASCII letters, numbers, underscores, and hyphens",
};
const NOT_YOURS = { statusCode: 400, errorCode: "InvalidParameter", error: "invalid user link request" };

const logInWithKey = (url, key) => newApp(url).logIn(Credentials.apiKey(key));
const logInAnonymously = (url) => newApp(url).logIn(Credentials.anonymous());
const link = (user, key) => user.linkCredentials(Credentials.apiKey(key));

let people = 0;
/** Somebody whom the server has not seen, with a name and a password. */
async function newPerson(url) {
  const email = `owner-${(people += 1)}@people.example`;
  const { status } = await call(url, "POST", REGISTER_PATH, undefined, { email, password: PASSWORD });
  assert.equal(status, 201);
  return email;
}

/** Somebody who may have keys. */
async function newOwner(url) {
  return newApp(url).logIn(Credentials.emailPassword(await newPerson(url), PASSWORD));
}

/** A good key with another character in its middle, or, with `last`, at its end. */
function spoiledKey(key, { last = false } = {}) {
  const at = last ? key.length - 1 : key.length / 2;
  return key.slice(0, at) + (key[at] === "A" ? "B" : "A") + key.slice(at + 1);
}

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

  test("makes, lists, switches off and on, and removes a key", async (t) => {
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

  test("what is not a key of this server logs nobody in", async (t) => {
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

  test("of several keys of one name at once one is made", async () => {
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

  test("an anonymous user makes no keys, until it is a lasting account", async () => {
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

  test("linking somebody else's key is one error and nothing more", async (t) => {
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

  test("a provider that is switched off says so, and nobody is logged out", async (t) => {
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

describe("API keys on /v1", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startServerWithKeys(null);
  });
  after(() => server?.close());

  const post = (path, body, token) => call(server.url, "POST", path, token, body);
  const withKey = (key) => ({ provider: "api-key", key });
  const logInWith = (key) => post(V1_SESSIONS, withKey(key));
  const refused = (answer) => assertProblem(answer, 401, "invalid-credential");

  function assertProblem({ status, contentType, body }, expectedStatus, code) {
    assert.equal(status, expectedStatus, JSON.stringify(body));
    assert.equal(contentType, "application/problem+json");
    assert.equal(body.status, expectedStatus);
    assert.equal(body.code, code);
  }

  function assertDone(answer) {
    assert.deepEqual(answer, { status: 204, contentType: null, body: null });
  }

  /** Somebody who may have keys, and what it does with them. */
  async function newKeeper() {
    const email = await newPerson(server.url);
    const { status, body: tokens } = await post(V1_SESSIONS, { provider: "local-userpass", email, password: PASSWORD });
    assert.equal(status, 201);
    return keeper(tokens);
  }

  function keeper(tokens) {
    const ask = (method, path, body) => call(server.url, method, path, tokens.access_token, body);
    return {
      ...tokens,
      ask,
      make: (name) => ask("POST", V1_KEYS, { name }),
      change: (id, disabled) => ask("PATCH", `${V1_KEYS}/${id}`, { disabled }),
      remove: (id) => ask("DELETE", `${V1_KEYS}/${id}`),
      list: async () => {
        const { status, contentType, body } = await ask("GET", V1_KEYS);
        assert.equal(status, 200);
        assert.equal(contentType, "application/json");
        assert.deepEqual(Object.keys(body), ["api_keys"]);
        return body.api_keys;
      },
    };
  }

  async function made(keeper, name) {
    const { status, body } = await keeper.make(name);
    assert.equal(status, 201, JSON.stringify(body));
    return body;
  }

  test("a key is made, used, switched off and on, and removed", async () => {
    const owner = await newKeeper();
    assert.deepEqual(await owner.list(), []);
    const { key, ...shown } = await made(owner, "backup");
    assert.match(key, KEY);
    assert.match(shown.id, HEX24);
    assert.match(shown.created, RFC_3339);
    assert.deepEqual({ ...shown, id: "", created: "" }, { id: "", name: "backup", disabled: false, created: "" });
    assert.deepEqual(await owner.list(), [shown]);

    const { status, body } = await logInWith(key);
    assert.equal(status, 201);
    assert.equal(body.user_id, owner.user_id);
    assert.notEqual(body.session_id, owner.session_id);
    const session = await call(server.url, "GET", V1_SESSION, body.access_token);
    assert.equal(session.body.user_id, owner.user_id);
    assert.equal(session.body.anonymous, false);

    assertDone(await owner.change(shown.id, true));
    assert.equal((await call(server.url, "GET", V1_SESSION, body.access_token)).status, 401, "its sessions end");
    assert.deepEqual(await owner.list(), [{ ...shown, disabled: true }]);
    refused(await logInWith(key));
    assertDone(await owner.change(shown.id, false));
    assert.equal((await logInWith(key)).status, 201);
    assertDone(await owner.remove(shown.id));
    assert.deepEqual(await owner.list(), []);
    refused(await logInWith(key));
  });

  test("the time at which a key was made is always the same", async () => {
    const owner = await newKeeper();
    const { created } = await made(owner, "dated");
    const seen = new Set([created]);
    // For a whole second: it must not depend on the part of a second in which one asks.
    for (const end = Date.now() + 1100; Date.now() < end; ) seen.add((await owner.list())[0].created);
    assert.deepEqual([...seen], [created]);
  });

  test("both APIs have the same keys", async () => {
    const owner = await newOwner(server.url);
    const mine = keeper({ access_token: owner.accessToken });
    const one = await owner.apiKeys.create("there");
    const other = await made(mine, "here");

    assert.equal((await logInWith(one.key)).body.user_id, owner.id);
    assert.equal((await logInWithKey(server.url, other.key)).id, owner.id);
    assert.deepEqual((await mine.list()).map(({ id }) => id), [one._id, other.id]);
    assert.deepEqual((await owner.apiKeys.fetchAll()).map(({ _id }) => _id), [one._id, other.id]);
    assertProblem(await mine.make("there"), 409, "key-name-taken");
    assertDone(await mine.change(one._id, true));
    await assert.rejects(logInWithKey(server.url, one.key), REFUSED);
    await owner.apiKeys.delete(other.id);
    refused(await logInWith(other.key));
  });

  test("names and ids that will not do are refused", async () => {
    const [owner, other] = [await newKeeper(), await newKeeper()];
    const { id } = await made(owner, "taken");
    const theirs = await made(other, "taken");
    assertProblem(await owner.make("taken"), 409, "key-name-taken");
    for (const name of BAD_NAMES) assertProblem(await owner.make(name), 400, "bad-name");
    for (const name of [undefined, null, 7]) assertProblem(await owner.make(name), 400, "bad-field");
    for (const unknown of [UNKNOWN_ID, theirs.id, "spoiled"]) {
      assertProblem(await owner.change(unknown, true), 404, "no-such-key");
      assertProblem(await owner.remove(unknown), 404, "no-such-key");
    }
    for (const disabled of [undefined, null, "true", 1]) {
      assertProblem(await owner.change(id, disabled), 400, "bad-field");
    }
    assert.equal((await logInWith(theirs.key)).body.user_id, other.user_id);
    assert.deepEqual((await owner.list()).map(({ name, disabled }) => ({ name, disabled })), [
      { name: "taken", disabled: false },
    ]);
  });

  test(`a user has at most ${MOST_KEYS} keys`, async () => {
    const owner = await newKeeper();
    for (let number = 1; number <= MOST_KEYS; number += 1) await made(owner, `key-${number}`);
    assertProblem(await owner.make("one-too-many"), 409, "too-many-keys");
    assertDone(await owner.remove((await owner.list())[0].id));
    await made(owner, "not-too-many");
  });

  test("an anonymous user makes no keys", async () => {
    const { body: tokens } = await post(V1_SESSIONS);
    const anonymous = keeper(tokens);
    assertProblem(await anonymous.make("early"), 403, "anonymous");
    assert.deepEqual(await anonymous.list(), []);
  });

  test("every endpoint wants an access token that is alive", async () => {
    const owner = await newKeeper();
    const { id } = await made(owner, "kept");
    const ended = await newKeeper();
    assert.equal((await ended.ask("DELETE", V1_SESSION)).status, 204);
    for (const [method, path, body] of [
      ["GET", V1_KEYS],
      ["POST", V1_KEYS, { name: "another" }],
      ["PATCH", `${V1_KEYS}/${id}`, { disabled: true }],
      ["DELETE", `${V1_KEYS}/${id}`],
    ]) {
      assertProblem(await call(server.url, method, path, undefined, body), 401, "no-token");
      assertProblem(await call(server.url, method, path, owner.refresh_token, body), 401, "wrong-token");
      assertProblem(await ended.ask(method, path, body), 401, "session-ended");
    }
    assert.deepEqual((await owner.list()).map(({ name, disabled }) => ({ name, disabled })), [
      { name: "kept", disabled: false },
    ]);
  });

  test("what is not a key logs nobody in", async () => {
    const { key } = await made(await newKeeper(), "mine");
    for (const bad of [spoiledKey(key), spoiledKey(key, { last: true }), key.slice(0, -1), "", "spoiled"]) {
      const answer = await logInWith(bad);
      refused(answer);
      if (bad !== "") assert.equal(JSON.stringify(answer.body).includes(bad), false, "the answer repeats the key");
    }
    for (const bad of [undefined, null, 7]) assertProblem(await logInWith(bad), 400, "bad-credential");
  });

  test("somebody else's key is not linked, and one's own changes nothing", async () => {
    const owner = await newKeeper();
    const { key } = await made(owner, "not-yours");
    const { body: anonymous } = await post(V1_SESSIONS);
    for (const user of [anonymous, await newKeeper()]) {
      assertProblem(await post(V1_IDENTITIES, withKey(key), user.access_token), 409, "identity-in-use");
      refused(await post(V1_IDENTITIES, withKey(spoiledKey(key)), user.access_token));
      const { status, body } = await call(server.url, "GET", V1_SESSION, user.access_token);
      assert.equal(status, 200);
      assert.equal(body.user_id, user.user_id);
      assert.equal(body.anonymous, user === anonymous);
    }

    const before = await owner.ask("GET", V1_IDENTITIES);
    const own = await post(V1_IDENTITIES, withKey(key), owner.access_token);
    assert.equal(own.status, 200, JSON.stringify(own.body));
    assert.equal(own.body.user_id, owner.user_id);
    assert.deepEqual((await call(server.url, "GET", V1_IDENTITIES, own.body.access_token)).body, before.body);
  });

  test("a key is a program's: nobody becomes its owner by it, whatever is to happen on a conflict", async () => {
    const owner = await newKeeper();
    const { key } = await made(owner, "conflict");
    const { body: anonymous } = await post(V1_SESSIONS);
    for (const on_conflict of ["reject", "switch", "merge"]) {
      const body = { ...withKey(key), on_conflict };
      assertProblem(await post(V1_IDENTITIES, body, anonymous.access_token), 409, "identity-in-use");
      const dry = await post(V1_IDENTITIES, { ...body, dry_run: true }, anonymous.access_token);
      assert.deepEqual([dry.body.outcome, dry.body.code], ["rejected", "identity-in-use"]);
    }
    assert.equal((await call(server.url, "GET", V1_SESSION, anonymous.access_token)).status, 200);
  });

  test("keys die with their user", async () => {
    const owner = await newKeeper();
    const { key } = await made(owner, "mortal");
    const { body: script } = await logInWith(key);
    assert.equal((await owner.ask("DELETE", "/v1/user")).status, 204);
    refused(await logInWith(key));
    await assert.rejects(logInWithKey(server.url, key), REFUSED);
    assertProblem(await call(server.url, "GET", V1_KEYS, script.access_token), 401, "session-ended");
  });
});
