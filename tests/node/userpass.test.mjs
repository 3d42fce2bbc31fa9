// Names and passwords: the unmodified realm-web registers, confirms, logs in, links and resets, with real mails in
// between; and the same through Passerby's own API.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Credentials, MongoDBRealmError, newApp, newStorage, store } from "./client.mjs";
import { call, PATHS, Server, spoil, startProxy, startServerWithApp, SUITE_DEADLINE } from "./server.mjs";
import { startMailServer } from "./smtp.mjs";

const USERPASS = "/api/client/v2.0/app/passerby/auth/providers/local-userpass";
const LOGIN_PATH = `${USERPASS}/login`;
const REGISTER = `POST ${USERPASS}/register 201`;
const CONFIRM = `POST ${USERPASS}/confirm 204`;
const SEND_RESET = `POST ${USERPASS}/reset/send 204`;
const RESET = `POST ${USERPASS}/reset 204`;
const LOGIN = `POST ${LOGIN_PATH} 200`;
// A proxy writes paths down without their query, so a link reads like a login.
const LINK = LOGIN;
const LINK_IN_USE = `POST ${LOGIN_PATH} 409`;
const LINK_REFUSED = `POST ${LOGIN_PATH} 400`;
const LINK_BAD = `POST ${LOGIN_PATH} 400`;
const LOCATION = `GET ${PATHS.location} 200`;
const PROFILE = `GET ${PATHS.profile} 200`;
const PROFILE_REFUSED = `GET ${PATHS.profile} 401`;
const REFRESH_REFUSED = `POST ${PATHS.session} 401`;

const V1 = {
  register: "/v1/registrations",
  confirm: "/v1/registrations/confirm",
  resend: "/v1/registrations/resend",
  sendReset: "/v1/password-resets",
  reset: "/v1/password-resets/confirm",
  password: "/v1/user/password",
  sessions: "/v1/sessions",
  session: "/v1/session",
  refresh: "/v1/session/refresh",
  identities: "/v1/user/identities",
  user: "/v1/user",
};

const ANON_USER = { name: "anon-user", type: "anon-user", disabled: false };
const MAIL_FROM = "accounts@app.example";
const CONFIRM_PAGE = "https://app.example/confirm";
const RESET_PAGE = "https://app.example/reset";
const CONFIRM_SUBJECT = "Is this your address?";
const RESET_SUBJECT = "Another password";

const PASSWORD = "correct horse";
const OTHER_PASSWORD = "battery staple";
const WRONG_PASSWORD = "incorrect horse";
const BAD_PASSWORDS = { "that is empty": "", "of 5 characters": "12345", "of 129 characters": "x".repeat(129) };
// Characters are counted, not bytes.
const GOOD_PASSWORDS = { "of 6 characters": "ßäöü€😀", "of 128 characters": "ä".repeat(128) };

const HEX24 = /^[0-9a-f]{24}$/;
/** Attempts after which a guesser must have been stopped. */
const MANY = 15;

const INVALID_PASSWORD = { statusCode: 401, errorCode: "InvalidPassword", error: "unauthorized" };
const NOT_CONFIRMED = { statusCode: 401, errorCode: "AuthError", error: "unauthorized" };
const NAME_IN_USE = { statusCode: 409, errorCode: "AccountNameInUse", error: "name already in use" };
const INVALID_TOKEN = { statusCode: 400, errorCode: "BadRequest", error: "invalid token data" };
const USER_NOT_FOUND = { statusCode: 404, errorCode: "UserNotFound", error: "user not found" };
const BAD_PASSWORD = {
  statusCode: 400,
  errorCode: "BadRequest",
  error: "password must be between 6 and 128 characters",
};
/** Not 401: after that, realm-web 1.0.0 to 2.0.0 refreshes and asks again, without end. */
const IN_USE = {
  statusCode: 409,
  errorCode: "AuthError",
  error: "unauthorized: a user already exists with the specified provider",
};

let people = 0;
/** An address that the server has not seen. */
const newAddress = () => `person-${(people += 1)}@people.example`;

const userpass = (config) => ({ name: "local-userpass", type: "local-userpass", disabled: false, config });

/** A server on which every registration is confirmed at once, so that no mail is sent. */
const startServerWithNames = (t) =>
  startServerWithApp(t, { "anon-user": ANON_USER, "local-userpass": userpass({ autoConfirm: true }) });

/** A server that sends its mails through this one. Of these, 30 may be asked for from one place in a short time. */
async function startServerWithMails(t, mailServer, settings = {}) {
  const home = await mkdtemp(join(tmpdir(), "passerby-client-test-"));
  const app = join(home, "app");
  await mkdir(join(app, "auth"), { recursive: true });
  const providers = {
    "anon-user": ANON_USER,
    "local-userpass": userpass({
      autoConfirm: false,
      emailConfirmationUrl: CONFIRM_PAGE,
      confirmEmailSubject: CONFIRM_SUBJECT,
      resetPasswordUrl: RESET_PAGE,
      resetPasswordSubject: RESET_SUBJECT,
    }),
  };
  await writeFile(join(app, "root_config.json"), JSON.stringify({ name: "client-tests" }));
  await writeFile(join(app, "auth", "providers.json"), JSON.stringify(providers));
  const mail = { PASSERBY_MAIL_SMTP: mailServer.url, PASSERBY_MAIL_FROM: MAIL_FROM };
  const server = new Server(home, ["--app-dir", app, "--app-id", "passerby"], { ...mail, ...settings });
  t?.after(() => server.close());
  return server.start();
}

/** What the page that a mail leads to reads from its own address. */
async function mailed(mailServer, address, page) {
  const { envelope, subject, links } = await mailServer.take(address);
  assert.deepEqual(envelope, { from: MAIL_FROM, to: [address] });
  assert.equal(subject, page === CONFIRM_PAGE ? CONFIRM_SUBJECT : RESET_SUBJECT);
  assert.equal(links.length, 1);
  const [link] = links;
  assert.equal(link.origin + link.pathname, page);
  assert.deepEqual([...link.searchParams.keys()], ["token", "tokenId"]);
  return Object.fromEntries(link.searchParams);
}

const logInWith = (url, email, password, storage) =>
  newApp(url, storage).logIn(Credentials.emailPassword(email, password));
const logInAnonymously = (url, storage) => newApp(url, storage).logIn(Credentials.anonymous());
const link = (user, email, password) => user.linkCredentials(Credentials.emailPassword(email, password));
const providersOf = (user) => user.identities.map(({ providerType }) => providerType);

/** Somebody who is known on a server without mails. */
async function registered(url, password = PASSWORD) {
  const email = newAddress();
  await newApp(url).emailPasswordAuth.registerUser({ email, password });
  return email;
}

/** The request fails in realm-web with this error, after one request and no more: no refresh, no second attempt. */
async function assertOneError(proxy, request, expected, line) {
  proxy.clear();
  await assert.rejects(request(), (error) => {
    assert.ok(error instanceof MongoDBRealmError, error.stack);
    for (const [key, value] of Object.entries(expected)) assert.equal(error[key], value);
    return true;
  });
  assert.deepEqual(proxy.lines, [line]);
}

/** What a user is to be after a link that failed: the same, on the same token, in the same session. */
async function assertGoesOn(user, accessToken, providers) {
  await user.refreshProfile();
  assert.equal(user.isLoggedIn, true);
  assert.equal(user.accessToken, accessToken);
  assert.deepEqual(providersOf(user), providers);
  await user.refreshCustomData();
  assert.notEqual(user.accessToken, accessToken);
}

/** realm-web finds out that its session was ended, and that is all: two requests, and nobody is logged in. */
async function assertEnded(proxy, user) {
  proxy.clear();
  await assert.rejects(user.refreshProfile(), { statusCode: 401, errorCode: "InvalidSession" });
  assert.deepEqual(proxy.lines, [PROFILE_REFUSED, REFRESH_REFUSED]);
  assert.equal(user.state, "logged-out");
  assert.equal(user.accessToken, null);
  assert.equal(user.refreshToken, null);
}

/**
 * An answer with all that could tell two of them apart, but for the time, the request's own id, and the order of lists:
 * each worker of the server has one of its own.
 */
async function wholeAnswer(origin, method, path, body) {
  const response = await fetch(origin + path, {
    method,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const sorted = [...response.headers].map(([name, value]) => [name, value.split(", ").sort()]);
  const { date, "x-appservices-request-id": id, ...headers } = Object.fromEntries(sorted);
  const text = await response.text();
  const { link, ...rest } = text === "" ? {} : JSON.parse(text);
  return { status: response.status, headers, body: rest };
}

function assertProblem({ status, contentType, body }, expectedStatus, code) {
  assert.equal(status, expectedStatus, JSON.stringify(body));
  assert.equal(contentType, "application/problem+json");
  assert.equal(body.status, expectedStatus);
  assert.equal(body.code, code);
}

function assertNothing(answer, status) {
  assert.deepEqual(answer, { status, contentType: null, body: null });
}

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

  test("a wrong password leaves the user alone who is logged in", async (t) => {
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

  test("linking the name of another user is one error and nothing more", async (t) => {
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

  /** Somebody whose address is confirmed. */
  async function confirmed() {
    const email = newAddress();
    const { emailPasswordAuth } = newApp(server.url);
    await emailPasswordAuth.registerUser({ email, password: PASSWORD });
    await emailPasswordAuth.confirmUser(await confirmMailed(email));
    return email;
  }

  test("an address is confirmed by mail before anybody logs in with it", async (t) => {
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

  test("nobody gets mails who is not known", async () => {
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

  /** Somebody who has registered, and with `confirm` has an account. */
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

  /** Somebody who has registered, and with `confirm` has an account. */
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

  test("an address is confirmed by mail before anybody logs in with it", async () => {
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

  test("who has no password has none to change", async () => {
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

  test("the name of another user and a second name are conflicts", async () => {
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

  test("wrong passwords have to wait, and who waits gets in", async (t) => {
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

  test("it is no use to go to the other API, nor to ask for a name that nobody has", async (t) => {
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

  test("nobody's mailbox is flooded", async (t) => {
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
