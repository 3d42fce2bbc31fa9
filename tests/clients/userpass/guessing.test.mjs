// Clients that guess passwords or flood mailboxes have to wait.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Credentials, MongoDBRealmError, newApp } from "../kit/client.mjs";
import { startProxy } from "../kit/recording-proxy.mjs";
import { call, SUITE_DEADLINE } from "../kit/server.mjs";
import { startMailServer } from "../kit/smtp.mjs";
import {
  assertGoesOn,
  assertNothing,
  INVALID_PASSWORD,
  link,
  LOGIN_PATH,
  logInWith,
  newAddress,
  PASSWORD,
  registered,
  startServerWithMails,
  startServerWithNames,
  V1,
  WRONG_PASSWORD,
} from "../kit/userpass.mjs";

/** Attempts after which a guesser must have been stopped. */
const MANY = 15;

describe("guessing", { timeout: SUITE_DEADLINE }, () => {
  /** Attempts one after the other until one is told to wait: their statuses, and how many seconds. */
  async function attempt(origin, path, body) {
    const statuses = [];
    while (statuses.length < MANY) {
      const response = await fetch(origin + path, { method: "POST", body: JSON.stringify(body) });
      statuses.push(response.status);
      const answer = await response.text();
      if (response.status === 429) {
        const wait = response.headers.get("retry-after");
        assert.match(wait, /^[1-9]\d*$/);
        return { statuses, wait: Number(wait), contentType: response.headers.get("content-type"), answer };
      }
    }
    assert.fail(`nobody was told to wait: ${statuses}`);
  }

  /** Comes back when it was told to, as a client does; there is no event to wait for. */
  const waited = ({ wait }) => sleep(wait * 1000 + 50);

  test("wrong passwords have to wait, and the right one gets in after the wait", async (t) => {
    const server = await startServerWithNames(t);
    const proxy = await startProxy(t, server);
    const [email, other] = [await registered(server.url), await registered(server.url)];
    const user = await logInWith(proxy.url, email, PASSWORD);

    const stopped = await attempt(server.url, LOGIN_PATH, { username: email, password: WRONG_PASSWORD });

    assert.deepEqual(stopped.statuses.slice(0, 5), [401, 401, 401, 401, 401], "mistakes cost nothing");
    assert.equal(stopped.contentType, "application/json");
    assert.equal(JSON.parse(stopped.answer).error_code, "TooManyRequests");
    await logInWith(server.url, other, PASSWORD);
    await user.refreshProfile();
    await user.refreshCustomData();

    await waited(stopped);
    assert.equal((await logInWith(server.url, email, PASSWORD)).id, user.id);
    await assert.rejects(logInWith(server.url, email, WRONG_PASSWORD), INVALID_PASSWORD, "it begins anew");
  });

  test("realm-web gives up when it has to wait", async (t) => {
    const server = await startServerWithNames(t);
    const proxy = await startProxy(t, server);
    const email = await registered(server.url);
    const app = newApp(proxy.url);
    const user = await app.logIn(Credentials.anonymous());
    const { accessToken } = user;
    let error = { statusCode: 400 };
    for (let attempts = 0; error.statusCode === 400 && attempts < MANY; attempts += 1) {
      proxy.clear();
      error = await link(user, email, WRONG_PASSWORD).then(assert.fail, (error) => error);
    }
    assert.ok(error instanceof MongoDBRealmError);
    assert.equal(error.statusCode, 429);
    assert.equal(error.errorCode, "TooManyRequests");
    assert.deepEqual(proxy.lines, [`POST ${LOGIN_PATH} 429`]);
    await assertGoesOn(user, accessToken, ["anon-user"]);
  });

  test("it is no use to go to the other API, nor to ask for an unknown name", async (t) => {
    const server = await startServerWithNames(t);
    for (const email of [await registered(server.url), newAddress()]) {
      const wrong = { email, password: WRONG_PASSWORD };
      const stopped = await attempt(server.url, V1.sessions, { provider: "local-userpass", ...wrong });
      assert.deepEqual(stopped.statuses.slice(0, 5), [401, 401, 401, 401, 401]);
      assert.equal(stopped.contentType, "application/problem+json");
      assert.equal(JSON.parse(stopped.answer).code, "too-many-attempts");
      const { statuses } = await attempt(server.url, LOGIN_PATH, { username: email, password: WRONG_PASSWORD });
      // One more may have been let in meanwhile, where one would start anew with five.
      assert.ok(statuses.length < 5, statuses.join());
    }
  });

  test("no mailbox is flooded", async (t) => {
    const mails = await startMailServer(null);
    const server = await startServerWithMails(null, mails);
    t.after(async () => {
      await server.close(); // First, or it would wait for a mail server that is gone.
      await mails.close();
    });
    const email = newAddress();
    assertNothing(await call(server.url, "POST", V1.register, undefined, { email, password: PASSWORD }), 202);
    await mails.take(email);
    for (const address of [email, newAddress()]) {
      const { statuses, answer } = await attempt(server.url, V1.sendReset, { email: address });
      assert.ok(statuses.length > 1);
      assert.deepEqual(new Set(statuses.slice(0, -1)), new Set([202]));
      assert.equal(JSON.parse(answer).code, "too-many-attempts");
    }
  });
});
