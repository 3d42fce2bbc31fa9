// API keys through Passerby's own API.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import {
  BAD_NAMES,
  HEX24,
  KEY,
  logInWithKey,
  MOST_KEYS,
  newOwner,
  newPerson,
  PASSWORD,
  REFUSED,
  spoiledKey,
  startServerWithKeys,
  UNKNOWN_ID,
  V1_IDENTITIES,
  V1_KEYS,
  V1_SESSIONS,
} from "../kit/api-keys.mjs";
import { assertProblem, call, SUITE_DEADLINE } from "../kit/server.mjs";

const V1_SESSION = "/v1/session";
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

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

  function assertDone(answer) {
    assert.deepEqual(answer, { status: 204, contentType: null, body: null });
  }

  /** A user who may have keys, and what it does with them. */
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

  test("a key is created, used, switched off and on, and removed", async () => {
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

  test("the time at which a key was created is always the same", async () => {
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

  test("an anonymous user creates no keys", async () => {
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

  test("what is not a key logs no one in", async () => {
    const { key } = await made(await newKeeper(), "mine");
    for (const bad of [spoiledKey(key), spoiledKey(key, { last: true }), key.slice(0, -1), "", "spoiled"]) {
      const answer = await logInWith(bad);
      refused(answer);
      if (bad !== "") assert.equal(JSON.stringify(answer.body).includes(bad), false, "the answer repeats the key");
    }
    for (const bad of [undefined, null, 7]) assertProblem(await logInWith(bad), 400, "bad-credential");
  });

  test("a different user's key is not linked, and one's own changes nothing", async () => {
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

  test("a key is a program's: no one becomes its owner by it, whatever is to happen on a conflict", async () => {
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
