// Names and passwords: the unmodified realm-web registers, logs in and links, where no mail is sent.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Credentials, MongoDBRealmError, newApp, newStorage } from "../kit/client.mjs";
import { startProxy } from "../kit/recording-proxy.mjs";
import { assertProblem, call, PATHS, startServerWithApp, SUITE_DEADLINE } from "../kit/server.mjs";
import {
  ANON_USER,
  assertGoesOn,
  assertOneError,
  BAD_PASSWORD,
  BAD_PASSWORDS,
  INVALID_PASSWORD,
  INVALID_TOKEN,
  link,
  LINK_REFUSED,
  LOCATION,
  LOGIN_PATH,
  logInAnonymously,
  logInWith,
  NAME_IN_USE,
  newAddress,
  OTHER_PASSWORD,
  PASSWORD,
  providersOf,
  REGISTER,
  registered,
  startServerWithNames,
  USER_NOT_FOUND,
  USERPASS,
  V1,
  wholeAnswer,
  WRONG_PASSWORD,
} from "../kit/userpass.mjs";

const LOGIN = `POST ${LOGIN_PATH} 200`;
// A proxy writes paths down without their query, so a link reads like a login.
const LINK = LOGIN;
const LINK_IN_USE = `POST ${LOGIN_PATH} 409`;
const LINK_BAD = `POST ${LOGIN_PATH} 400`;
const PROFILE = `GET ${PATHS.profile} 200`;

// Characters are counted, not bytes.
const GOOD_PASSWORDS = { "of 6 characters": "ßäöü€😀", "of 128 characters": "ä".repeat(128) };

const HEX24 = /^[0-9a-f]{24}$/;

/** Not 401: after that, realm-web 1.0.0 to 2.0.0 refreshes and asks again, without end. */
const IN_USE = {
  statusCode: 409,
  errorCode: "AuthError",
  error: "unauthorized: a user already exists with the specified provider",
};

describe("realm-web with names and passwords", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startServerWithNames(null);
  });
  after(() => server?.close());

  test("registers and logs in", async (t) => {
    const proxy = await startProxy(t, server);
    const app = newApp(proxy.url);
    const email = newAddress();

    await app.emailPasswordAuth.registerUser({ email, password: PASSWORD });
    assert.deepEqual(proxy.lines, [LOCATION, REGISTER]);
    assert.equal(proxy.requests[1].contentType, undefined, "realm-web would try to parse an empty body");
    assert.equal(app.currentUser, null, "registering logs nobody in");
    proxy.clear();

    const user = await app.logIn(Credentials.emailPassword(email, PASSWORD));
    assert.deepEqual(proxy.lines, [LOGIN, PROFILE]);
    assert.match(user.id, HEX24);
    assert.equal(user.providerType, "local-userpass");
    assert.deepEqual(providersOf(user), ["local-userpass"]);
    assert.deepEqual(user.profile, { email });
    await user.refreshCustomData();

    const elsewhere = await logInWith(server.url, email, PASSWORD);
    assert.equal(elsewhere.id, user.id);
    assert.notEqual(elsewhere.refreshToken, user.refreshToken);
  });

  test("that user is a lasting account", async () => {
    const user = await logInWith(server.url, await registered(server.url), PASSWORD);
    const { body } = await call(server.url, "GET", V1.session, user.accessToken);
    assert.equal(body.user_id, user.id);
    assert.equal(body.anonymous, false);
    assert.equal(body.expires, null);
  });

  test("does not register a name twice", async () => {
    const email = await registered(server.url);
    const { emailPasswordAuth } = newApp(server.url);
    for (const password of [PASSWORD, OTHER_PASSWORD]) {
      await assert.rejects(emailPasswordAuth.registerUser({ email, password }), (error) => {
        assert.ok(error instanceof MongoDBRealmError);
        for (const [key, value] of Object.entries(NAME_IN_USE)) assert.equal(error[key], value);
        assert.ok(error.link.startsWith(server.url), error.link);
        return true;
      });
    }
    const user = await logInWith(server.url, email, PASSWORD);
    await assert.rejects(emailPasswordAuth.registerUser({ email, password: OTHER_PASSWORD }), NAME_IN_USE);
    await assert.rejects(logInWith(server.url, email, OTHER_PASSWORD), INVALID_PASSWORD);
    assert.equal((await logInWith(server.url, email, PASSWORD)).id, user.id);
  });

  test("of several registrations of one name at once one gets it", async () => {
    const email = newAddress();
    const passwords = Array.from({ length: 5 }, (_, i) => `${PASSWORD} ${i}`);
    const { emailPasswordAuth } = newApp(server.url);
    const answers = await Promise.allSettled(
      passwords.map((password) => emailPasswordAuth.registerUser({ email, password })),
    );

    const winners = passwords.filter((_, index) => answers[index].status === "fulfilled");
    assert.equal(winners.length, 1);
    for (const { reason } of answers) if (reason) assert.equal(reason.errorCode, NAME_IN_USE.errorCode);
    const [loser] = passwords.filter((password) => password !== winners[0]);
    await assert.rejects(logInWith(server.url, email, loser), INVALID_PASSWORD);
    await logInWith(server.url, email, winners[0]);
  });

  test("on /v1 a name that is known and one that is not are registered alike", async () => {
    const email = await registered(server.url);
    const user = await logInWith(server.url, email, PASSWORD);
    const register = (name) => wholeAnswer(server.url, "POST", V1.register, { email: name, password: OTHER_PASSWORD });
    const [known, unknown] = [await register(email), await register(newAddress())];
    assert.equal(known.status, 202);
    assert.deepEqual(known, unknown);
    await assert.rejects(logInWith(server.url, email, OTHER_PASSWORD), INVALID_PASSWORD);
    assert.equal((await logInWith(server.url, email, PASSWORD)).id, user.id);
    await user.refreshProfile();
  });

  test("is refused alike with a wrong password and with an unknown name", async () => {
    const email = await registered(server.url);
    for (const [name, password] of [
      [email, WRONG_PASSWORD],
      [email, `${PASSWORD} `],
      [email, ""],
      [newAddress(), PASSWORD],
      // App Services tells addresses apart by case.
      [email.toUpperCase(), PASSWORD],
    ]) {
      await assert.rejects(logInWith(server.url, name, password), INVALID_PASSWORD);
    }
    await logInWith(server.url, email, PASSWORD);
  });

  test("a wrong password leaves the logged-in user alone", async (t) => {
    const proxy = await startProxy(t, server);
    const email = await registered(server.url);
    const app = newApp(proxy.url);
    const user = await app.logIn(Credentials.emailPassword(email, PASSWORD));
    const { accessToken } = user;

    const attempt = () => app.logIn(Credentials.emailPassword(email, WRONG_PASSWORD));
    await assertOneError(proxy, attempt, INVALID_PASSWORD, `POST ${LOGIN_PATH} 401`);

    assert.equal(app.currentUser, user);
    await assertGoesOn(user, accessToken, ["local-userpass"]);
  });

  for (const [what, password] of Object.entries(BAD_PASSWORDS)) {
    test(`a password ${what} will not do`, async () => {
      const email = newAddress();
      const { emailPasswordAuth } = newApp(server.url);
      await assert.rejects(emailPasswordAuth.registerUser({ email, password }), BAD_PASSWORD);
      await emailPasswordAuth.registerUser({ email, password: PASSWORD });
    });
  }

  for (const [what, password] of Object.entries(GOOD_PASSWORDS)) {
    test(`a password ${what} will do, whatever they are`, async () => {
      const user = await logInWith(server.url, await registered(server.url, password), password);
      assert.equal(user.isLoggedIn, true);
    });
  }

  test("a registration needs a name and a password", async () => {
    const email = newAddress();
    for (const body of [undefined, {}, { email }, { password: PASSWORD }, { email: 7, password: PASSWORD }]) {
      const answer = await call(server.url, "POST", `${USERPASS}/register`, undefined, body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.equal(answer.contentType, "application/json");
      assert.equal(answer.body.error_code, "BadRequest");
    }
    for (const name of ["", "x".repeat(129)]) {
      const { status } = await call(server.url, "POST", `${USERPASS}/register`, undefined, {
        email: name,
        password: PASSWORD,
      });
      assert.equal(status, 400, name);
    }
  });

  test("there is nothing to confirm, and no mail to reset, where there are no mails", async () => {
    const { emailPasswordAuth } = newApp(server.url);
    const email = await registered(server.url);
    // The texts that the vendor's own tests of realm-web wait for.
    const refused = (error, more) => ({ statusCode: 400, errorCode: "BadRequest", error, ...more });
    const confirmed = refused("already confirmed", { errorCode: "UserAlreadyConfirmed" });
    const automatic = refused(`cannot run confirmation for ${email}: automatic confirmation is enabled`);
    await assert.rejects(emailPasswordAuth.resendConfirmationEmail({ email }), confirmed);
    await assert.rejects(emailPasswordAuth.resendConfirmationEmail({ email: newAddress() }), USER_NOT_FOUND);
    await assert.rejects(emailPasswordAuth.retryCustomConfirmation({ email }), automatic);
    const byFunction = refused("please use reset password via function");
    await assert.rejects(emailPasswordAuth.sendResetPasswordEmail({ email }), byFunction);
    const failed = refused(`failed to reset password for user "${email}"`);
    await assert.rejects(emailPasswordAuth.callResetPasswordFunction({ email, password: OTHER_PASSWORD }, "x"), failed);
    await assert.rejects(emailPasswordAuth.confirmUser({ token: "spoiled", tokenId: "spoiled" }), INVALID_TOKEN);
    await assert.rejects(
      emailPasswordAuth.resetPassword({ token: "spoiled", tokenId: "spoiled", password: PASSWORD }),
      INVALID_TOKEN,
    );
  });

  test("an anonymous user links a name and keeps its id", async (t) => {
    const proxy = await startProxy(t, server);
    const email = await registered(server.url);
    const user = await logInAnonymously(proxy.url);
    const { id, refreshToken } = user;
    const [anonymous] = user.identities;
    proxy.clear();

    await link(user, email, PASSWORD);

    assert.deepEqual(proxy.lines, [LINK, PROFILE]);
    assert.equal(user.id, id);
    assert.deepEqual(providersOf(user), ["anon-user", "local-userpass"]);
    assert.deepEqual(user.identities[0], anonymous);
    assert.deepEqual(user.profile, { email });
    await user.refreshCustomData();
    assert.equal(user.refreshToken, refreshToken, "SDKs keep theirs across a link");

    const elsewhere = await logInWith(server.url, email, PASSWORD, newStorage());
    assert.equal(elsewhere.id, id);
    assert.deepEqual(elsewhere.identities, user.identities);
    const { body } = await call(server.url, "GET", V1.session, user.accessToken);
    assert.equal(body.anonymous, false);
    assert.equal(body.expires, null);
  });

  test("linking the same name again changes nothing", async (t) => {
    const proxy = await startProxy(t, server);
    const email = await registered(server.url);
    const user = await logInAnonymously(proxy.url);
    await link(user, email, PASSWORD);
    const { id, identities } = user;
    proxy.clear();

    await link(user, email, PASSWORD);

    assert.deepEqual(proxy.lines, [LINK, PROFILE]);
    assert.equal(user.id, id);
    assert.deepEqual(user.identities, identities);
    await user.refreshCustomData();
    assert.equal((await logInWith(server.url, email, PASSWORD)).id, id);
  });

  test("linking the name of a different user is one error and nothing more", async (t) => {
    const proxy = await startProxy(t, server);
    const email = await registered(server.url);
    const owner = await logInWith(server.url, email, PASSWORD);
    const user = await logInAnonymously(proxy.url);
    const { accessToken } = user;

    await assertOneError(proxy, () => link(user, email, PASSWORD), IN_USE, LINK_IN_USE);

    await assertGoesOn(user, accessToken, ["anon-user"]);
    assert.equal((await logInWith(server.url, email, PASSWORD)).id, owner.id);
    // And it can still become an account of its own.
    await link(user, await registered(server.url), PASSWORD);
    assert.deepEqual(providersOf(user), ["anon-user", "local-userpass"]);
  });

  test("linking with a wrong password or an unknown name is one error and nothing more", async (t) => {
    const proxy = await startProxy(t, server);
    const email = await registered(server.url);
    const user = await logInAnonymously(proxy.url);
    const { accessToken } = user;

    for (const [name, password] of [[email, WRONG_PASSWORD], [newAddress(), PASSWORD]]) {
      const expected = { statusCode: 400, errorCode: "InvalidPassword" };
      await assertOneError(proxy, () => link(user, name, password), expected, LINK_REFUSED);
    }

    await assertGoesOn(user, accessToken, ["anon-user"]);
  });

  test("a second name is refused, and the first stays", async (t) => {
    const proxy = await startProxy(t, server);
    const [first, second] = [await registered(server.url), await registered(server.url)];
    const user = await logInAnonymously(proxy.url);
    await link(user, first, PASSWORD);
    const { accessToken } = user;

    const refused = {
      statusCode: 400,
      errorCode: "BadRequest",
      error: "linking a local-userpass identity is not allowed when one is already linked",
    };
    await assertOneError(proxy, () => link(user, second, PASSWORD), refused, LINK_BAD);

    await assertGoesOn(user, accessToken, ["anon-user", "local-userpass"]);
    assert.deepEqual(user.profile, { email: first });
    assert.equal((await logInWith(server.url, first, PASSWORD)).id, user.id);
    assert.notEqual((await logInWith(server.url, second, PASSWORD)).id, user.id);
  });

  for (const [how, logIn] of [
    ["that logged in with a name", logInWith],
    [
      "that linked a name",
      async (url, email, password) => {
        const user = await logInAnonymously(url);
        await link(user, email, password);
        return user;
      },
    ],
  ]) {
    test(`deleting a user ${how} frees it`, async () => {
      const email = await registered(server.url);
      const user = await logIn(server.url, email, PASSWORD);
      const { id, refreshToken } = user;

      await user.app.deleteUser(user);

      assert.equal((await call(server.url, "POST", PATHS.session, refreshToken)).status, 401);
      await assert.rejects(logInWith(server.url, email, PASSWORD), INVALID_PASSWORD);
      await newApp(server.url).emailPasswordAuth.registerUser({ email, password: OTHER_PASSWORD });
      await assert.rejects(logInWith(server.url, email, PASSWORD), INVALID_PASSWORD);
      const next = await logInWith(server.url, email, OTHER_PASSWORD);
      assert.notEqual(next.id, id);
    });
  }

  test("logging out does not delete the user", async () => {
    const email = await registered(server.url);
    const user = await logInWith(server.url, email, PASSWORD);
    await user.logOut();
    assert.equal((await logInWith(server.url, email, PASSWORD)).id, user.id);
  });

  test("a provider that is switched off says so", async (t) => {
    const off = await startServerWithApp(t, { "anon-user": ANON_USER });
    const app = newApp(off.url);
    const unsupported = (statusCode) => ({
      statusCode,
      errorCode: "AuthError",
      error: "authentication via 'local-userpass' is unsupported",
    });
    const details = { email: newAddress(), password: PASSWORD };
    const user = await app.logIn(Credentials.anonymous());
    const { accessToken } = user;
    await assert.rejects(app.emailPasswordAuth.registerUser(details), unsupported(400));
    await assert.rejects(logInWith(off.url, details.email, PASSWORD), unsupported(401));
    await assert.rejects(link(user, details.email, PASSWORD), unsupported(400));
    assertProblem(await call(off.url, "POST", V1.register, undefined, details), 403, "provider-disabled");
    await assertGoesOn(user, accessToken, ["anon-user"]);
  });
});
