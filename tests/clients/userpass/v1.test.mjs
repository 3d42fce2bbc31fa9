// Names and passwords through Passerby's own API, with real mails in between.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startProxy } from "../kit/recording-proxy.mjs";
import { assertProblem, call, SUITE_DEADLINE } from "../kit/server.mjs";
import { startMailServer } from "../kit/smtp.mjs";
import { spoil } from "../kit/tokens.mjs";
import {
  assertEnded,
  assertNothing,
  BAD_PASSWORDS,
  CONFIRM_PAGE,
  logInWith,
  mailed,
  newAddress,
  OTHER_PASSWORD,
  PASSWORD,
  RESET_PAGE,
  startServerWithMails,
  V1,
  wholeAnswer,
  WRONG_PASSWORD,
} from "../kit/userpass.mjs";

describe("names and passwords on /v1", { timeout: SUITE_DEADLINE }, () => {
  let mails;
  let server;
  before(async () => {
    mails = await startMailServer(null);
    server = await startServerWithMails(null, mails);
  });
  after(async () => {
    await server?.close();
    await mails?.close();
  });

  const post = (path, body, token) => call(server.url, "POST", path, token, body);
  const wholePost = (path, body) => wholeAnswer(server.url, "POST", path, body);
  const credential = (email, password) => ({ provider: "local-userpass", email, password });
  const refused = (answer) => assertProblem(answer, 401, "invalid-credential");

  async function logIn(email, password) {
    const { status, contentType, body } = await post(V1.sessions, credential(email, password));
    assert.equal(status, 201, JSON.stringify(body));
    assert.equal(contentType, "application/json");
    return body;
  }

  /** A person who has registered, and with `confirm` has an account. */
  async function somebody({ confirm }) {
    const email = newAddress();
    assertNothing(await post(V1.register, { email, password: PASSWORD }), 202);
    const token = await mailed(mails, email, CONFIRM_PAGE);
    if (confirm) assertNothing(await post(V1.confirm, token), 204);
    return { email, token };
  }

  async function assertAlive({ access_token, refresh_token }) {
    assert.equal((await call(server.url, "GET", V1.session, access_token)).status, 200);
    assert.equal((await post(V1.refresh, undefined, refresh_token)).status, 200);
  }

  async function assertDead({ access_token, refresh_token }) {
    assertProblem(await call(server.url, "GET", V1.session, access_token), 401, "session-ended");
    assertProblem(await post(V1.refresh, undefined, refresh_token), 401, "session-ended");
  }

  test("an address is confirmed by e-mail before it logs in", async () => {
    const { email, token } = await somebody({ confirm: false });
    refused(await post(V1.sessions, credential(email, PASSWORD)));
    assertProblem(await post(V1.confirm, { ...token, token: spoil(`..${token.token}`).slice(2) }), 400, "bad-token");

    assertNothing(await post(V1.confirm, token), 204);

    const tokens = await logIn(email, PASSWORD);
    const { body } = await call(server.url, "GET", V1.session, tokens.access_token);
    assert.equal(body.user_id, tokens.user_id);
    assert.equal(body.anonymous, false);
    assert.equal(body.expires, null);
    assertProblem(await post(V1.confirm, token), 400, "bad-token");

    const user = await logInWith(server.url, email, PASSWORD);
    assert.equal(user.id, tokens.user_id, "it is one account for both APIs");
  });

  test("only the mail that was sent last is good", async () => {
    const { email, token } = await somebody({ confirm: false });
    assertNothing(await post(V1.resend, { email }), 202);
    const later = await mailed(mails, email, CONFIRM_PAGE);
    assertProblem(await post(V1.confirm, token), 400, "bad-token");
    assertNothing(await post(V1.confirm, later), 204);
    await logIn(email, PASSWORD);
  });

  test("registrations are answered alike for every address, and only mails tell", async () => {
    const known = (await somebody({ confirm: true })).email;
    const { email: waiting, token } = await somebody({ confirm: false });
    const unknown = newAddress();
    const before = await logIn(known, PASSWORD);

    const answers = [];
    for (const email of [known, waiting, unknown]) {
      answers.push(await wholePost(V1.register, { email, password: OTHER_PASSWORD }));
    }

    assert.equal(answers[0].status, 202);
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
    const mail = await mails.take(known);
    assert.match(mail.text, /has an account already/);
    assert.equal(mail.links.length, 1);
    assert.equal(mail.links[0].origin + mail.links[0].pathname, RESET_PAGE);
    refused(await post(V1.sessions, credential(known, OTHER_PASSWORD)));
    assert.equal((await logIn(known, PASSWORD)).user_id, before.user_id);
    await assertAlive(before);

    for (const email of [waiting, unknown]) {
      assertNothing(await post(V1.confirm, await mailed(mails, email, CONFIRM_PAGE)), 204);
      await logIn(email, OTHER_PASSWORD);
      refused(await post(V1.sessions, credential(email, PASSWORD)));
    }
    assertProblem(await post(V1.confirm, token), 400, "bad-token");
  });

  test("mails that are asked for are answered alike for every address", async () => {
    const known = (await somebody({ confirm: true })).email;
    for (const path of [V1.resend, V1.sendReset]) {
      const [one, other] = [await wholePost(path, { email: known }), await wholePost(path, { email: newAddress() })];
      assert.equal(one.status, 202, path);
      assert.deepEqual(one, other, path);
    }
  });

  test("a login is refused alike with an unknown address, a wrong password and one that waits", async () => {
    const known = (await somebody({ confirm: true })).email;
    const waiting = (await somebody({ confirm: false })).email;
    const answers = [];
    for (const [email, password] of [
      [newAddress(), PASSWORD],
      [known, WRONG_PASSWORD],
      [waiting, PASSWORD],
      [waiting, WRONG_PASSWORD],
    ]) {
      refused(await post(V1.sessions, credential(email, password)));
      answers.push(await wholePost(V1.sessions, credential(email, password)));
    }
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
  });

  test("a password has 6 to 128 characters", async () => {
    const email = newAddress();
    for (const password of Object.values(BAD_PASSWORDS)) {
      assertProblem(await post(V1.register, { email, password }), 400, "bad-password");
    }
    for (const body of [undefined, {}, { email }, { password: PASSWORD }]) {
      assertProblem(await post(V1.register, body), 400, "bad-field");
    }
    assertProblem(await post(V1.register, { email: "somebody", password: PASSWORD }), 400, "bad-name");
  });

  test("a password is reset by mail, which ends every session", async (t) => {
    const proxy = await startProxy(t, server);
    const { email } = await somebody({ confirm: true });
    const [one, other] = [await logIn(email, PASSWORD), await logIn(email, PASSWORD)];
    const user = await logInWith(proxy.url, email, PASSWORD);

    assertNothing(await post(V1.sendReset, { email }), 202);
    const token = await mailed(mails, email, RESET_PAGE);
    await assertAlive(one);
    assertProblem(await post(V1.reset, { ...token, password: "12345" }), 400, "bad-password");
    assertProblem(await post(V1.confirm, token), 400, "bad-token");
    assertNothing(await post(V1.reset, { ...token, password: OTHER_PASSWORD }), 204);

    await assertDead(one);
    await assertDead(other);
    await assertEnded(proxy, user);
    refused(await post(V1.sessions, credential(email, PASSWORD)));
    assert.equal((await logIn(email, OTHER_PASSWORD)).user_id, one.user_id);
    assertProblem(await post(V1.reset, { ...token, password: WRONG_PASSWORD }), 400, "bad-token");
  });

  test("whoever knows the password changes it, which ends the other sessions", async (t) => {
    const proxy = await startProxy(t, server);
    const { email } = await somebody({ confirm: true });
    const [here, elsewhere] = [await logIn(email, PASSWORD), await logIn(email, PASSWORD)];
    const user = await logInWith(proxy.url, email, PASSWORD);
    const put = (current_password, password) =>
      call(server.url, "PUT", V1.password, here.access_token, { current_password, password });

    assertProblem(await put(WRONG_PASSWORD, OTHER_PASSWORD), 403, "wrong-password");
    assertProblem(await put(PASSWORD, "12345"), 400, "bad-password");
    assertNothing(await post(V1.sendReset, { email }), 202);
    const reset = await mailed(mails, email, RESET_PAGE);
    await assertAlive(elsewhere);
    await user.refreshProfile();
    assertNothing(await put(PASSWORD, OTHER_PASSWORD), 204);

    await assertDead(elsewhere);
    await assertEnded(proxy, user);
    await assertAlive(here);
    refused(await post(V1.sessions, credential(email, PASSWORD)));
    assert.equal((await logIn(email, OTHER_PASSWORD)).user_id, here.user_id);
    assertProblem(await put(PASSWORD, WRONG_PASSWORD), 403, "wrong-password");
    assertProblem(await post(V1.reset, { ...reset, password: PASSWORD }), 400, "bad-token");
    await logIn(email, OTHER_PASSWORD);
  });

  test("a user without a password has none to change", async () => {
    const { body: anonymous } = await post(V1.sessions);
    const body = { current_password: PASSWORD, password: OTHER_PASSWORD };
    assertProblem(await call(server.url, "PUT", V1.password, anonymous.access_token, body), 409, "no-password");
    assertProblem(await call(server.url, "PUT", V1.password, undefined, body), 401, "no-token");
    await assertAlive(anonymous);
  });

  test("an anonymous user links a name and keeps its id", async () => {
    const { email } = await somebody({ confirm: true });
    const { body: anonymous } = await post(V1.sessions);

    refused(await post(V1.identities, credential(email, WRONG_PASSWORD), anonymous.access_token));
    const { status, body: linked } = await post(V1.identities, credential(email, PASSWORD), anonymous.access_token);

    assert.equal(status, 200, JSON.stringify(linked));
    assert.equal(linked.user_id, anonymous.user_id);
    await assertDead(anonymous);
    await assertAlive(linked);
    const { body } = await call(server.url, "GET", V1.identities, linked.access_token);
    assert.deepEqual(body.identities.map(({ provider }) => provider), ["anon-user", "local-userpass"]);
    assert.equal((await logIn(email, PASSWORD)).user_id, anonymous.user_id);

    const again = await post(V1.identities, credential(email, PASSWORD), linked.access_token);
    assert.equal(again.status, 200);
    assert.equal(again.body.user_id, anonymous.user_id);
    const same = await call(server.url, "GET", V1.identities, again.body.access_token);
    assert.deepEqual(same.body, body);
  });

  test("the name of a different user and a second name are conflicts", async () => {
    const [first, second] = [(await somebody({ confirm: true })).email, (await somebody({ confirm: true })).email];
    const owner = await logIn(first, PASSWORD);
    const { body: anonymous } = await post(V1.sessions);
    const answer = await post(V1.identities, credential(first, PASSWORD), anonymous.access_token);
    assertProblem(answer, 409, "identity-in-use");
    await assertAlive(anonymous);

    const another = await post(V1.identities, credential(second, PASSWORD), owner.access_token);
    assertProblem(another, 409, "provider-linked");
    await assertAlive(owner);
    assert.notEqual((await logIn(second, PASSWORD)).user_id, owner.user_id);
  });

  test("deleting the user frees its name", async () => {
    const { email } = await somebody({ confirm: true });
    const tokens = await logIn(email, PASSWORD);
    assertNothing(await post(V1.sendReset, { email }), 202);
    const reset = await mailed(mails, email, RESET_PAGE);
    assert.equal((await call(server.url, "DELETE", V1.user, tokens.access_token)).status, 204);
    await assertDead(tokens);
    refused(await post(V1.sessions, credential(email, PASSWORD)));

    assertNothing(await post(V1.register, { email, password: OTHER_PASSWORD }), 202);
    assertNothing(await post(V1.confirm, await mailed(mails, email, CONFIRM_PAGE)), 204);
    refused(await post(V1.sessions, credential(email, PASSWORD)));
    assertProblem(await post(V1.reset, { ...reset, password: PASSWORD }), 400, "bad-token");
    assert.notEqual((await logIn(email, OTHER_PASSWORD)).user_id, tokens.user_id);
  });
});
