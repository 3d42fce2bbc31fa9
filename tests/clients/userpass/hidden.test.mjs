// Names and passwords where no one is told which addresses have accounts, by the unmodified realm-web.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { newApp } from "../kit/client.mjs";
import { startProxy } from "../kit/recording-proxy.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { startMailServer } from "../kit/smtp.mjs";
import {
  assertEnded,
  CONFIRM_PAGE,
  INVALID_PASSWORD,
  INVALID_TOKEN,
  LOCATION,
  logInWith,
  mailed,
  newAddress,
  OTHER_PASSWORD,
  PASSWORD,
  REGISTER,
  RESET_PAGE,
  startServerWithMails,
  USERPASS,
  wholeAnswer,
  WRONG_PASSWORD,
} from "../kit/userpass.mjs";

describe("realm-web where accounts are hidden", { timeout: SUITE_DEADLINE }, () => {
  let mails;
  let server;
  before(async () => {
    mails = await startMailServer(null);
    server = await startServerWithMails(null, mails, { PASSERBY_AUTH_HIDE_ACCOUNTS: "true" });
  });
  after(async () => {
    await server?.close();
    await mails?.close();
  });

  const post = (path, body) => wholeAnswer(server.url, "POST", `${USERPASS}/${path}`, body);

  /** A person who has registered, and with `confirm` has an account. */
  async function somebody({ confirm }) {
    const email = newAddress();
    const { emailPasswordAuth } = newApp(server.url);
    await emailPasswordAuth.registerUser({ email, password: PASSWORD });
    const token = await mailed(mails, email, CONFIRM_PAGE);
    if (confirm) await emailPasswordAuth.confirmUser(token);
    return { email, token };
  }

  test("whoever registers a known address is told by mail that there is an account", async (t) => {
    const proxy = await startProxy(t, server);
    const { email } = await somebody({ confirm: true });
    const user = await logInWith(proxy.url, email, PASSWORD);
    const { emailPasswordAuth } = newApp(proxy.url);
    proxy.clear();

    await emailPasswordAuth.registerUser({ email, password: OTHER_PASSWORD });

    assert.deepEqual(proxy.lines, [LOCATION, REGISTER]);
    const mail = await mails.take(email);
    assert.match(mail.text, /has an account already/);
    assert.equal(mail.links.length, 1);
    const [page] = mail.links;
    assert.equal(page.origin + page.pathname, RESET_PAGE);
    await assert.rejects(logInWith(server.url, email, OTHER_PASSWORD), INVALID_PASSWORD);
    await user.refreshProfile();
    assert.equal((await logInWith(server.url, email, PASSWORD)).id, user.id);

    const token = Object.fromEntries(page.searchParams);
    await emailPasswordAuth.resetPassword({ ...token, password: OTHER_PASSWORD });
    assert.equal((await logInWith(server.url, email, OTHER_PASSWORD)).id, user.id);
    await assertEnded(proxy, user);
  });

  test("each mail confirms the password of the registration that sent it, and the first to be confirmed stays", async () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const { email, token } = await somebody({ confirm: false });
      const { emailPasswordAuth } = newApp(server.url);
      await emailPasswordAuth.registerUser({ email, password: OTHER_PASSWORD });
      const tokens = [token, await mailed(mails, email, CONFIRM_PAGE)];
      const passwords = [PASSWORD, OTHER_PASSWORD];
      const [chosen, other] = order;
      await emailPasswordAuth.confirmUser(tokens[chosen]);
      await assert.rejects(emailPasswordAuth.confirmUser(tokens[other]), INVALID_TOKEN);
      await assert.rejects(logInWith(server.url, email, passwords[other]), INVALID_PASSWORD);
      await logInWith(server.url, email, passwords[chosen]);
    }
  });

  test("every answer is the same for known and unknown addresses", async () => {
    for (const [path, status, more] of [
      ["register", 201, { password: OTHER_PASSWORD }],
      ["confirm/send", 204, {}],
      ["reset/send", 204, {}],
    ]) {
      const known = (await somebody({ confirm: true })).email;
      const waiting = (await somebody({ confirm: false })).email;
      const answers = [];
      for (const email of [known, waiting, newAddress()]) answers.push(await post(path, { email, ...more }));
      assert.equal(answers[0].status, status, path);
      for (const answer of answers) assert.deepEqual(answer, answers[0], path);
    }
  });

  test("a login is refused alike with an unknown address, a wrong password and one that waits", async () => {
    const known = (await somebody({ confirm: true })).email;
    const waiting = (await somebody({ confirm: false })).email;
    for (const [username, password] of [
      [known, WRONG_PASSWORD],
      [waiting, PASSWORD],
      [waiting, WRONG_PASSWORD],
      [newAddress(), PASSWORD],
    ]) {
      await assert.rejects(logInWith(server.url, username, password), INVALID_PASSWORD);
      assert.deepEqual(
        await post("login", { username, password }),
        await post("login", { username: newAddress(), password }),
      );
    }
  });
});
