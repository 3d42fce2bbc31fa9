// Names and passwords: the unmodified realm-web confirms and resets, with real mails in between.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Credentials, newApp, newStorage, store } from "../kit/client.mjs";
import { startProxy } from "../kit/recording-proxy.mjs";
import { assertProblem, call, PATHS, SUITE_DEADLINE } from "../kit/server.mjs";
import { startMailServer } from "../kit/smtp.mjs";
import { spoil } from "../kit/tokens.mjs";
import {
  assertEnded,
  assertGoesOn,
  assertNothing,
  assertOneError,
  BAD_PASSWORD,
  BAD_PASSWORDS,
  CONFIRM_PAGE,
  INVALID_PASSWORD,
  INVALID_TOKEN,
  link,
  LINK_REFUSED,
  LOCATION,
  logInAnonymously,
  logInWith,
  mailed,
  NAME_IN_USE,
  newAddress,
  OTHER_PASSWORD,
  PASSWORD,
  REGISTER,
  RESET_PAGE,
  startServerWithMails,
  USER_NOT_FOUND,
  USERPASS,
  V1,
  WRONG_PASSWORD,
} from "../kit/userpass.mjs";

const CONFIRM = `POST ${USERPASS}/confirm 204`;
const SEND_RESET = `POST ${USERPASS}/reset/send 204`;
const RESET = `POST ${USERPASS}/reset 204`;
const NOT_CONFIRMED = { statusCode: 401, errorCode: "AuthError", error: "unauthorized" };

describe("realm-web with names, passwords and mails", { timeout: SUITE_DEADLINE }, () => {
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

  const confirmMailed = (email) => mailed(mails, email, CONFIRM_PAGE);
  const resetMailed = (email) => mailed(mails, email, RESET_PAGE);

  /** A person whose address is confirmed. */
  async function confirmed() {
    const email = newAddress();
    const { emailPasswordAuth } = newApp(server.url);
    await emailPasswordAuth.registerUser({ email, password: PASSWORD });
    await emailPasswordAuth.confirmUser(await confirmMailed(email));
    return email;
  }

  test("an address is confirmed by e-mail before it logs in", async (t) => {
    const proxy = await startProxy(t, server);
    const app = newApp(proxy.url);
    const email = newAddress();
    await app.emailPasswordAuth.registerUser({ email, password: PASSWORD });

    await assert.rejects(app.logIn(Credentials.emailPassword(email, PASSWORD)), NOT_CONFIRMED);
    await assert.rejects(app.logIn(Credentials.emailPassword(email, WRONG_PASSWORD)), INVALID_PASSWORD);
    const { token, tokenId } = await confirmMailed(email);
    for (const spoiled of [
      { token: spoil(`..${token}`).slice(2), tokenId },
      { token, tokenId: tokenId.replace(/^./, (digit) => (digit === "0" ? "1" : "0")) },
      { token: tokenId, tokenId: token },
      { token: "", tokenId: "" },
    ]) {
      await assert.rejects(app.emailPasswordAuth.confirmUser(spoiled), INVALID_TOKEN);
    }
    await assert.rejects(
      app.emailPasswordAuth.resetPassword({ token, tokenId, password: OTHER_PASSWORD }),
      INVALID_TOKEN,
      "a token is good for one thing only",
    );
    await assert.rejects(app.logIn(Credentials.emailPassword(email, PASSWORD)), NOT_CONFIRMED);
    proxy.clear();

    await app.emailPasswordAuth.confirmUser({ token, tokenId });

    assert.deepEqual(proxy.lines, [CONFIRM]);
    assert.equal(proxy.requests[0].contentType, undefined, "realm-web would try to parse an empty body");
    const user = await app.logIn(Credentials.emailPassword(email, PASSWORD));
    assert.deepEqual(user.profile, { email });
    await assert.rejects(app.emailPasswordAuth.confirmUser({ token, tokenId }), INVALID_TOKEN, "it works once");
  });

  test("only the mail that was sent last is good", async () => {
    const email = newAddress();
    const { emailPasswordAuth } = newApp(server.url);
    await emailPasswordAuth.registerUser({ email, password: PASSWORD });
    const first = await confirmMailed(email);

    await emailPasswordAuth.resendConfirmationEmail({ email });

    const second = await confirmMailed(email);
    assert.notEqual(second.token, first.token);
    await assert.rejects(emailPasswordAuth.confirmUser(first), INVALID_TOKEN);
    await assert.rejects(logInWith(server.url, email, PASSWORD), NOT_CONFIRMED);
    await emailPasswordAuth.confirmUser(second);
    await logInWith(server.url, email, PASSWORD);
    await assert.rejects(emailPasswordAuth.resendConfirmationEmail({ email }), {
      statusCode: 400,
      errorCode: "UserAlreadyConfirmed",
      error: "already confirmed",
    });
  });

  test("a name that waits for its confirmation is taken", async () => {
    const email = newAddress();
    const { emailPasswordAuth } = newApp(server.url);
    await emailPasswordAuth.registerUser({ email, password: PASSWORD });
    await assert.rejects(emailPasswordAuth.registerUser({ email, password: OTHER_PASSWORD }), NAME_IN_USE);
    await emailPasswordAuth.confirmUser(await confirmMailed(email));
    await assert.rejects(logInWith(server.url, email, OTHER_PASSWORD), INVALID_PASSWORD);
    await logInWith(server.url, email, PASSWORD);
  });

  test("a name where mails are sent is an address", async () => {
    const { emailPasswordAuth } = newApp(server.url);
    for (const email of ["", "somebody", "a@b@people.example", "a@people.example\r\nBcc: b@people.example"]) {
      const details = { email, password: PASSWORD };
      await assert.rejects(emailPasswordAuth.registerUser(details), { statusCode: 400, errorCode: "BadRequest" });
    }
  });

  test("an unknown address gets no e-mails", async () => {
    const email = newAddress();
    const { emailPasswordAuth } = newApp(server.url);
    await assert.rejects(emailPasswordAuth.resendConfirmationEmail({ email }), USER_NOT_FOUND);
    await assert.rejects(emailPasswordAuth.sendResetPasswordEmail({ email }), USER_NOT_FOUND);
  });

  test("a password is reset by mail, which ends every session", async (t) => {
    const proxy = await startProxy(t, server);
    const email = await confirmed();
    const user = await logInWith(proxy.url, email, PASSWORD);
    const elsewhere = await logInWith(proxy.url, email, PASSWORD);
    const { body: here } = await call(server.url, "POST", V1.sessions, undefined, {
      provider: "local-userpass",
      email,
      password: PASSWORD,
    });
    const { id, refreshToken } = user;
    const app = newApp(proxy.url);
    proxy.clear();

    await app.emailPasswordAuth.sendResetPasswordEmail({ email });
    const { token, tokenId } = await resetMailed(email);
    await user.refreshProfile();
    await logInWith(server.url, email, PASSWORD); // Being asked has changed nothing.
    for (const password of Object.values(BAD_PASSWORDS)) {
      await assert.rejects(app.emailPasswordAuth.resetPassword({ token, tokenId, password }), BAD_PASSWORD);
    }
    await assert.rejects(app.emailPasswordAuth.confirmUser({ token, tokenId }), INVALID_TOKEN);
    proxy.clear();
    await app.emailPasswordAuth.resetPassword({ token, tokenId, password: OTHER_PASSWORD });

    assert.deepEqual(proxy.lines, [RESET]);
    assert.equal(proxy.requests[0].contentType, undefined);
    const refused = await call(server.url, "POST", PATHS.session, refreshToken);
    assert.equal(refused.status, 401);
    assert.equal(refused.body.error_code, "InvalidSession");
    await assertEnded(proxy, user);
    await assertEnded(proxy, elsewhere);
    assertProblem(await call(server.url, "GET", V1.session, here.access_token), 401, "session-ended");
    assertProblem(await call(server.url, "POST", V1.refresh, here.refresh_token), 401, "session-ended");

    await assert.rejects(logInWith(server.url, email, PASSWORD), INVALID_PASSWORD);
    assert.equal((await logInWith(server.url, email, OTHER_PASSWORD)).id, id);
    const again = { token, tokenId, password: WRONG_PASSWORD };
    await assert.rejects(app.emailPasswordAuth.resetPassword(again), INVALID_TOKEN, "it works once");
    await logInWith(server.url, email, OTHER_PASSWORD);
  });

  test("only the reset mail that was sent last is good", async () => {
    const email = await confirmed();
    const { emailPasswordAuth } = newApp(server.url);
    await emailPasswordAuth.sendResetPasswordEmail({ email });
    const first = await resetMailed(email);
    await emailPasswordAuth.sendResetPasswordEmail({ email });
    const second = await resetMailed(email);
    await assert.rejects(emailPasswordAuth.resetPassword({ ...first, password: OTHER_PASSWORD }), INVALID_TOKEN);
    await emailPasswordAuth.resetPassword({ ...second, password: OTHER_PASSWORD });
    await logInWith(server.url, email, OTHER_PASSWORD);
  });

  test("a name that waits for its confirmation is not linked: one error and nothing more", async (t) => {
    const proxy = await startProxy(t, server);
    const email = newAddress();
    const { emailPasswordAuth } = newApp(server.url);
    await emailPasswordAuth.registerUser({ email, password: PASSWORD });
    const user = await logInAnonymously(proxy.url);
    const { accessToken } = user;

    const refused = { statusCode: 400, errorCode: "AuthError" };
    await assertOneError(proxy, () => link(user, email, PASSWORD), refused, LINK_REFUSED);
    await assertGoesOn(user, accessToken, ["anon-user"]);

    await emailPasswordAuth.confirmUser(await confirmMailed(email));
    await link(user, email, PASSWORD);
    assert.deepEqual(user.profile, { email });
  });

  const STALE = {
    "that is spoiled": (user) => spoil(user.accessToken),
    "of a session that was ended": async (user) => {
      assert.equal((await call(server.url, "DELETE", PATHS.session, user.refreshToken)).status, 204);
      return user.accessToken;
    },
  };
  for (const [what, stale] of Object.entries(STALE)) {
    test(`an access token ${what} is nothing to registering, confirming and resetting`, async (t) => {
      const proxy = await startProxy(t, server, { rememberAuthorization: true });
      const storage = newStorage();
      const user = await logInAnonymously(server.url, storage);
      const token = await stale(user);
      store(storage, user, "accessToken", token);
      const app = newApp(proxy.url, storage);
      const { emailPasswordAuth } = app;
      const email = newAddress();

      await emailPasswordAuth.registerUser({ email, password: PASSWORD });
      await emailPasswordAuth.confirmUser(await confirmMailed(email));
      await emailPasswordAuth.sendResetPasswordEmail({ email });
      await emailPasswordAuth.resetPassword({ ...(await resetMailed(email)), password: OTHER_PASSWORD });

      assert.deepEqual(proxy.lines, [LOCATION, REGISTER, CONFIRM, SEND_RESET, RESET]);
      for (const { authorization } of proxy.requests.slice(1)) assert.equal(authorization, `Bearer ${token}`);
      const next = await app.logIn(Credentials.emailPassword(email, OTHER_PASSWORD));
      assert.notEqual(next.id, user.id);
    });
  }

  test("what is no token at all is nothing to them either", async () => {
    const email = newAddress();
    const post = (path, body) => call(server.url, "POST", `${USERPASS}/${path}`, "null", body);
    assertNothing(await post("register", { email, password: PASSWORD }), 201);
    await confirmMailed(email); // Two mails on their way at once may arrive in either order.
    assertNothing(await post("confirm/send", { email }), 204);
    assertNothing(await post("confirm", await confirmMailed(email)), 204);
    assertNothing(await post("reset/send", { email }), 204);
    assertNothing(await post("reset", { ...(await resetMailed(email)), password: OTHER_PASSWORD }), 204);
    await logInWith(server.url, email, OTHER_PASSWORD);
  });

  test("of several uses of one token at once one counts", async () => {
    const email = newAddress();
    const { emailPasswordAuth } = newApp(server.url);
    const oneOf = async (attempts) => {
      const answers = await Promise.allSettled(attempts);
      const { length } = answers.filter(({ status }) => status === "fulfilled");
      assert.equal(length, 1);
      for (const { reason } of answers) if (reason) assert.equal(reason.error, INVALID_TOKEN.error);
      return answers.findIndex(({ status }) => status === "fulfilled");
    };
    await emailPasswordAuth.registerUser({ email, password: PASSWORD });
    const confirm = await confirmMailed(email);
    await oneOf([1, 2, 3].map(() => emailPasswordAuth.confirmUser(confirm)));

    await emailPasswordAuth.sendResetPasswordEmail({ email });
    const reset = await resetMailed(email);
    const passwords = [1, 2, 3].map((number) => `${OTHER_PASSWORD} ${number}`);
    const winner = await oneOf(passwords.map((password) => emailPasswordAuth.resetPassword({ ...reset, password })));
    for (const [index, password] of passwords.entries()) {
      const attempt = logInWith(server.url, email, password);
      await (index === winner ? attempt : assert.rejects(attempt, INVALID_PASSWORD));
    }
  });

  test("what is registered and what was mailed outlive the kill of the server", async (t) => {
    const own = await startServerWithMails(t, mails);
    const email = newAddress();
    const { emailPasswordAuth } = newApp(own.url);
    await emailPasswordAuth.registerUser({ email, password: PASSWORD });
    const token = await confirmMailed(email);
    await own.kill();
    await own.restart();
    await emailPasswordAuth.confirmUser(token);
    await own.kill();
    await own.restart();
    const user = await logInWith(own.url, email, PASSWORD);
    await own.kill();
    await own.restart();
    await user.refreshProfile();
    assert.equal((await logInWith(own.url, email, PASSWORD)).id, user.id);
    await assert.rejects(emailPasswordAuth.confirmUser(token), INVALID_TOKEN);
  });
});
