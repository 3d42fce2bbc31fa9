// Passerby's own API: log in with a second system's JWT, link identities to a user, list and unlink them.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import {
  BAD_JWTS,
  externalIdentity,
  newJwt,
  newSubject,
  startServerWithJwt,
  startServerWithoutJwt,
} from "../kit/external.mjs";
import { assertProblem, call, SUITE_DEADLINE } from "../kit/server.mjs";

const SESSIONS = "/v1/sessions";
const SESSION = "/v1/session";
const REFRESH = "/v1/session/refresh";
const USER = "/v1/user";
const IDENTITIES = "/v1/user/identities";

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const ROUNDS = 50;

const pathOf = (provider, id) => `${IDENTITIES}/${provider}/${encodeURIComponent(id)}`;
const credential = async (subject, more = {}) => ({ provider: "custom-token", token: await newJwt(subject), ...more });

/** A whole new set of tokens. */
function assertTokens({ status, contentType, body }, expectedStatus) {
  assert.equal(status, expectedStatus, JSON.stringify(body));
  assert.equal(contentType, "application/json");
  for (const key of ["user_id", "session_id", "access_token", "refresh_token"]) {
    assert.equal(typeof body[key], "string");
  }
  assert.equal(body.token_type, "Bearer");
  assert.equal(body.expires_in, 1800);
  return body;
}

const logIn = async (server, body) => assertTokens(await call(server.url, "POST", SESSIONS, undefined, body), 201);
const logInWithJwt = async (server, subject) => logIn(server, await credential(subject));
const link = async (server, tokens, subject, more) =>
  call(server.url, "POST", IDENTITIES, tokens.access_token, await credential(subject, more));

async function session(server, { access_token: token }) {
  const { status, body } = await call(server.url, "GET", SESSION, token);
  assert.equal(status, 200);
  return body;
}

async function identitiesOf(server, { access_token: token }) {
  const { status, contentType, body } = await call(server.url, "GET", IDENTITIES, token);
  assert.equal(status, 200);
  assert.equal(contentType, "application/json");
  assert.deepEqual(Object.keys(body), ["identities"]);
  return body.identities;
}

/** Both tokens are good, and the user is anonymous: what every link that failed has to leave behind. */
async function assertStillAnonymous(server, tokens) {
  const { user_id, session_id, anonymous } = await session(server, tokens);
  assert.equal(user_id, tokens.user_id);
  assert.equal(session_id, tokens.session_id);
  assert.equal(anonymous, true);
  const refreshed = assertTokens(await call(server.url, "POST", REFRESH, tokens.refresh_token), 200);
  assert.equal(refreshed.session_id, tokens.session_id);
}

/** Neither token is good any more. */
async function assertDead(server, tokens) {
  assertProblem(await call(server.url, "GET", SESSION, tokens.access_token), 401, "session-ended");
  assertProblem(await call(server.url, "POST", REFRESH, tokens.refresh_token), 401, "session-ended");
}

describe("identities on /v1", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startServerWithJwt(null);
  });
  after(() => server?.close());

  test("a JWT logs a lasting user in", async () => {
    const subject = newSubject();
    const tokens = await logInWithJwt(server, subject);
    assert.match(tokens.user_id, UUID_V7);

    const view = await session(server, tokens);
    assert.equal(view.user_id, tokens.user_id);
    assert.equal(view.session_id, tokens.session_id);
    assert.equal(view.anonymous, false);
    assert.equal(view.expires, null);

    const again = await logInWithJwt(server, subject);
    assert.equal(again.user_id, tokens.user_id);
    assert.notEqual(again.session_id, tokens.session_id);
    await session(server, tokens);
  });

  test("without a provider, or with anon-user, a login is an anonymous one", async () => {
    for (const body of [undefined, {}, { provider: "anon-user" }]) {
      const { anonymous, expires } = await session(server, await logIn(server, body));
      assert.equal(anonymous, true);
      assert.match(expires, RFC_3339);
    }
  });

  test("logging a lasting user out does not delete it", async () => {
    const subject = newSubject();
    const tokens = await logInWithJwt(server, subject);
    assert.equal((await call(server.url, "DELETE", SESSION, tokens.access_token)).status, 204);
    await assertDead(server, tokens);
    assert.equal((await logInWithJwt(server, subject)).user_id, tokens.user_id);
  });

  test("deleting a user frees its identity", async () => {
    const subject = newSubject();
    const anonymous = await logIn(server);
    const tokens = assertTokens(await link(server, anonymous, subject), 200);
    assert.equal((await call(server.url, "DELETE", USER, tokens.access_token)).status, 204);
    await assertDead(server, tokens);
    assert.notEqual((await logInWithJwt(server, subject)).user_id, tokens.user_id);
  });

  test("a link keeps the user and replaces its session", async () => {
    const subject = newSubject();
    const before = await logIn(server);
    const after = assertTokens(await link(server, before, subject), 200);

    assert.equal(after.user_id, before.user_id);
    assert.notEqual(after.session_id, before.session_id);
    const view = await session(server, after);
    assert.equal(view.session_id, after.session_id);
    assert.equal(view.anonymous, false);
    assert.equal(view.expires, null);
    assert.equal((await logInWithJwt(server, subject)).user_id, before.user_id);
  });

  test("tokens from before a link are refused at once and end nothing", async () => {
    const first = await logIn(server);
    const second = assertTokens(await call(server.url, "POST", REFRESH, first.refresh_token), 200);
    const after = assertTokens(await link(server, second, newSubject()), 200);

    await assertDead(server, first);
    await assertDead(server, second);
    // A token that was replaced by a refresh and comes back ends its session; these are a different session's.
    const refreshed = assertTokens(await call(server.url, "POST", REFRESH, after.refresh_token), 200);
    assert.equal(refreshed.session_id, after.session_id);
    await session(server, after);
  });

  test("linking the same identity again changes nothing", async () => {
    const subject = newSubject();
    const first = assertTokens(await link(server, await logIn(server), subject), 200);
    const identities = await identitiesOf(server, first);

    const second = assertTokens(await link(server, first, subject), 200);

    assert.equal(second.user_id, first.user_id);
    assert.deepEqual(await identitiesOf(server, second), identities);
    assertTokens(await call(server.url, "POST", REFRESH, second.refresh_token), 200);
  });

  for (const [how, more] of [["by default", {}], ["with reject", { on_conflict: "reject" }]]) {
    test(`an identity of a different user is a conflict ${how}`, async () => {
      const subject = newSubject();
      const owner = await logInWithJwt(server, subject);
      const anonymous = await logIn(server);

      assertProblem(await link(server, anonymous, subject, more), 409, "identity-in-use");

      await assertStillAnonymous(server, anonymous);
      await session(server, owner);
      assert.equal((await logInWithJwt(server, subject)).user_id, owner.user_id);
    });
  }

  test("switch logs in as the other user and leaves the anonymous one", async () => {
    const subject = newSubject();
    const owner = await logInWithJwt(server, subject);
    const anonymous = await logIn(server);

    const tokens = assertTokens(await link(server, anonymous, subject, { on_conflict: "switch" }), 200);

    assert.equal(tokens.user_id, owner.user_id);
    assert.notEqual(tokens.session_id, owner.session_id);
    assert.equal((await session(server, tokens)).anonymous, false);
    await session(server, owner);
    await assertStillAnonymous(server, anonymous);
    assertTokens(await call(server.url, "POST", REFRESH, tokens.refresh_token), 200);
  });

  test("switch links an identity that no user has", async () => {
    const anonymous = await logIn(server);
    const tokens = assertTokens(await link(server, anonymous, newSubject(), { on_conflict: "switch" }), 200);
    assert.equal(tokens.user_id, anonymous.user_id);
    await assertDead(server, anonymous);
  });

  test("an unknown choice for conflicts is refused before anything happens", async () => {
    const subject = newSubject();
    const anonymous = await logIn(server);
    for (const on_conflict of ["steal", "", 7, ["switch"]]) {
      const { status, contentType } = await link(server, anonymous, subject, { on_conflict });
      assert.equal(status, 400, JSON.stringify(on_conflict));
      assert.equal(contentType, "application/problem+json");
    }
    await assertStillAnonymous(server, anonymous);
    assert.notEqual((await logInWithJwt(server, subject)).user_id, anonymous.user_id);
  });

  test("identities are listed in link order, each with its time", async () => {
    const subject = newSubject();
    const earliest = Math.floor(Date.now() / 1000) * 1000;
    const anonymous = await logIn(server);
    const [only, ...others] = await identitiesOf(server, anonymous);
    assert.equal(only.provider, "anon-user");
    assert.match(only.id, /^[0-9a-f]{24}-[a-z]{24}$/);
    assert.deepEqual(others, []);

    const tokens = assertTokens(await link(server, anonymous, subject), 200);

    const [first, second, ...more] = await identitiesOf(server, tokens);
    assert.deepEqual(first, only);
    assert.deepEqual(Object.keys(second).sort(), ["id", "linked", "provider"]);
    assert.equal(second.provider, "custom-token");
    assert.equal(second.id, subject);
    assert.match(second.linked, RFC_3339);
    // Shown in whole seconds, by a clock that is not quite this one.
    const linked = Date.parse(second.linked);
    assert.ok(earliest - 1000 <= linked && linked <= Date.now() + 1000, second.linked);
    assert.deepEqual(more, []);
  });

  test("a user that logged in with a JWT has that identity", async () => {
    const subject = newSubject();
    const identities = await identitiesOf(server, await logInWithJwt(server, subject));
    assert.equal(externalIdentity(identities, "provider").id, subject);
  });

  test("the last identity that is not anonymous stays", async () => {
    const subject = newSubject();
    for (const tokens of [
      assertTokens(await link(server, await logIn(server), subject), 200),
      await logInWithJwt(server, newSubject()),
    ]) {
      const identities = await identitiesOf(server, tokens);
      const { id } = externalIdentity(identities, "provider");
      const answer = await call(server.url, "DELETE", pathOf("custom-token", id), tokens.access_token);
      assertProblem(answer, 409, "last-identity");
      assert.deepEqual(await identitiesOf(server, tokens), identities);
      assert.equal((await logInWithJwt(server, id)).user_id, tokens.user_id);
    }
  });

  test("an identity that is not the last is taken off and is free", async () => {
    // The first id has everything that a path must escape.
    const [first, second] = [`https://id.example/people/7?a=b#${newSubject()} é%2F`, newSubject()];
    const one = await logInWithJwt(server, first);
    const both = assertTokens(await link(server, one, second), 200);

    const answer = await call(server.url, "DELETE", pathOf("custom-token", first), both.access_token);

    assert.deepEqual(answer, { status: 204, contentType: null, body: null });
    assert.equal(externalIdentity(await identitiesOf(server, both), "provider").id, second);
    assert.equal((await logInWithJwt(server, second)).user_id, one.user_id);
    const next = await logInWithJwt(server, first);
    assert.notEqual(next.user_id, one.user_id);
  });

  test("only an identity of one's own is taken off, and never the anonymous one", async () => {
    const [mine, also, theirs] = [newSubject(), newSubject(), newSubject()];
    const first = assertTokens(await link(server, await logIn(server), mine), 200);
    const tokens = assertTokens(await link(server, first, also), 200);
    const other = await logInWithJwt(server, theirs);
    const identities = await identitiesOf(server, tokens);
    const [anonymous] = identities;

    for (const [provider, id] of [
      ["custom-token", theirs],
      ["custom-token", newSubject()],
      ["oauth2-google", mine],
      ["no-such-provider", mine],
      ["anon-user", anonymous.id],
    ]) {
      const { status, contentType } = await call(server.url, "DELETE", pathOf(provider, id), tokens.access_token);
      // The anonymous identity is there but cannot be taken off: whether that is 404 or 409 is the server's choice.
      if (provider === "anon-user") assert.ok([404, 409].includes(status), `status ${status}`);
      else assert.equal(status, 404, `${provider} ${id}`);
      assert.equal(contentType, "application/problem+json");
    }
    assert.deepEqual(await identitiesOf(server, tokens), identities);
    assert.equal((await logInWithJwt(server, theirs)).user_id, other.user_id);
  });

  test("linking a second identity ends no session of a second device", async () => {
    const [first, second] = [newSubject(), newSubject()];
    const here = await logInWithJwt(server, first);
    const elsewhere = await logInWithJwt(server, first);

    const linked = assertTokens(await link(server, here, second), 200);

    await assertDead(server, here);
    await session(server, elsewhere);
    assertTokens(await call(server.url, "POST", REFRESH, elsewhere.refresh_token), 200);
    assert.deepEqual(await identitiesOf(server, linked), await identitiesOf(server, elsewhere));
  });

  test("an account does not take an identity of a different account", async () => {
    const [first, second] = [newSubject(), newSubject()];
    const one = await logInWithJwt(server, first);
    const other = await logInWithJwt(server, second);
    assertProblem(await link(server, one, second), 409, "identity-in-use");
    await session(server, one);
    await session(server, other);
    assert.equal(externalIdentity(await identitiesOf(server, one), "provider").id, first);
  });

  for (const [what, bad] of Object.entries(BAD_JWTS)) {
    test(`a JWT ${what} is refused`, async () => {
      const subject = newSubject();
      const token = await bad(subject, server);
      const body = { provider: "custom-token", token };
      const anonymous = await logIn(server);

      assertProblem(await call(server.url, "POST", SESSIONS, undefined, body), 401, "invalid-credential");
      const answer = await call(server.url, "POST", IDENTITIES, anonymous.access_token, body);
      assertProblem(answer, 401, "invalid-credential");
      assert.equal(JSON.stringify(answer.body).includes(token), false, "the answer repeats the credential");
      await assertStillAnonymous(server, anonymous);
    });
  }

  test("a body without what is needed is refused", async () => {
    const anonymous = await logIn(server);
    const token = await newJwt(newSubject());
    for (const body of [
      {},
      { token },
      { provider: "custom-token" },
      { provider: "custom-token", token: 7 },
      { provider: "no-such-provider", token },
      { provider: 7, token },
    ]) {
      const { status, contentType } = await call(server.url, "POST", IDENTITIES, anonymous.access_token, body);
      assert.equal(status, 400, JSON.stringify(body));
      assert.equal(contentType, "application/problem+json");
    }
    const { status } = await call(server.url, "POST", SESSIONS, undefined, { provider: "custom-token" });
    assert.equal(status, 400);
    await assertStillAnonymous(server, anonymous);
  });

  test("an anonymous identity is never linked", async () => {
    const anonymous = await logIn(server);
    const answer = await call(server.url, "POST", IDENTITIES, anonymous.access_token, { provider: "anon-user" });
    assert.equal(answer.status, 400);
    assert.equal(answer.contentType, "application/problem+json");
    await assertStillAnonymous(server, anonymous);
  });

  test("every endpoint wants an access token that is alive", async () => {
    const subject = newSubject();
    const ended = await logIn(server);
    assert.equal((await call(server.url, "DELETE", SESSION, ended.access_token)).status, 204);
    const { refresh_token } = await logIn(server);
    for (const [method, path, body] of [
      ["GET", IDENTITIES],
      ["POST", IDENTITIES, await credential(subject)],
      ["DELETE", pathOf("custom-token", subject)],
    ]) {
      assertProblem(await call(server.url, method, path, undefined, body), 401, "no-token");
      assertProblem(await call(server.url, method, path, ended.access_token, body), 401, "session-ended");
      assertProblem(await call(server.url, method, path, refresh_token, body), 401, "wrong-token");
    }
    assert.notEqual((await logInWithJwt(server, subject)).user_id, ended.user_id);
  });

  test("a provider that is switched off is refused", async (t) => {
    const off = await startServerWithoutJwt(t);
    const anonymous = await logIn(off);
    const body = await credential(newSubject());
    assertProblem(await call(off.url, "POST", SESSIONS, undefined, body), 403, "provider-disabled");
    assertProblem(await call(off.url, "POST", IDENTITIES, anonymous.access_token, body), 403, "provider-disabled");
    await assertStillAnonymous(off, anonymous);
  });

  test(`of ${ROUNDS} anonymous users that link one identity at once one gets it`, async () => {
    const subject = newSubject();
    const users = await Promise.all(Array.from({ length: ROUNDS }, () => logIn(server)));

    const answers = await Promise.all(users.map((user) => link(server, user, subject)));

    const winners = answers.filter(({ status }) => status === 200);
    assert.equal(winners.length, 1);
    const owner = assertTokens(winners[0], 200);
    for (const [index, user] of users.entries()) {
      if (user.user_id === owner.user_id) continue;
      assertProblem(answers[index], 409, "identity-in-use");
      assert.equal((await session(server, user)).anonymous, true);
    }
    assert.equal((await session(server, owner)).anonymous, false);
    assert.equal((await logInWithJwt(server, subject)).user_id, owner.user_id);
  });

  test("of several links of one user at once none is lost and none is doubled", async () => {
    // The session is a new one after the first link, so the others may find it ended, or lose against each other twice.
    const subjects = Array.from({ length: 5 }, newSubject);
    const anonymous = await logIn(server);
    const answers = await Promise.all(subjects.map((subject) => link(server, anonymous, subject)));

    const linked = subjects.filter((_, index) => answers[index].status === 200);
    assert.ok(linked.length >= 1);
    for (const answer of answers.filter(({ status }) => status !== 200)) {
      if (answer.status === 503) assertProblem(answer, 503, "busy");
      else assertProblem(answer, 401, "session-ended");
    }
    for (const [index, subject] of subjects.entries()) {
      const { user_id } = await logInWithJwt(server, subject);
      assert.equal(user_id === anonymous.user_id, answers[index].status === 200, subject);
    }
  });
});
