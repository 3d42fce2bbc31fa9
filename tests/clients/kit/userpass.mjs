// Servers with names and passwords, with and without mails, and what people do with them.

import assert from "node:assert/strict";

import { Credentials, MongoDBRealmError, newApp } from "./client.mjs";
import { PATHS, startServerWithApp } from "./server.mjs";

export const USERPASS = "/api/client/v2.0/app/passerby/auth/providers/local-userpass";
export const LOGIN_PATH = `${USERPASS}/login`;
export const REGISTER = `POST ${USERPASS}/register 201`;
export const LINK_REFUSED = `POST ${LOGIN_PATH} 400`;
export const LOCATION = `GET ${PATHS.location} 200`;
const PROFILE_REFUSED = `GET ${PATHS.profile} 401`;
const REFRESH_REFUSED = `POST ${PATHS.session} 401`;

export const V1 = {
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

export const ANON_USER = { name: "anon-user", type: "anon-user", disabled: false };
const MAIL_FROM = "accounts@app.example";
export const CONFIRM_PAGE = "https://app.example/confirm";
export const RESET_PAGE = "https://app.example/reset";
const CONFIRM_SUBJECT = "Is this your address?";
const RESET_SUBJECT = "Another password";

export const PASSWORD = "correct horse";
export const OTHER_PASSWORD = "battery staple";
export const WRONG_PASSWORD = "incorrect horse";
export const BAD_PASSWORDS = { "that is empty": "", "of 5 characters": "12345", "of 129 characters": "x".repeat(129) };
export const INVALID_PASSWORD = { statusCode: 401, errorCode: "InvalidPassword", error: "unauthorized" };
export const NAME_IN_USE = { statusCode: 409, errorCode: "AccountNameInUse", error: "name already in use" };
export const INVALID_TOKEN = { statusCode: 400, errorCode: "BadRequest", error: "invalid token data" };
export const USER_NOT_FOUND = { statusCode: 404, errorCode: "UserNotFound", error: "user not found" };
export const BAD_PASSWORD = {
  statusCode: 400,
  errorCode: "BadRequest",
  error: "password must be between 6 and 128 characters",
};

let people = 0;
/** An address that the server has not seen. */
export const newAddress = () => `person-${(people += 1)}@people.example`;

const userpass = (config) => ({ name: "local-userpass", type: "local-userpass", disabled: false, config });

/** A server on which every registration is confirmed at once, so that no mail is sent. */
export const startServerWithNames = (t) =>
  startServerWithApp(t, { "anon-user": ANON_USER, "local-userpass": userpass({ autoConfirm: true }) });

/** A server that sends its mails through this one. Of these, 30 may be asked for from one place in a short time. */
export function startServerWithMails(t, mailServer, settings = {}) {
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
  const mail = { PASSERBY_MAIL_SMTP: mailServer.url, PASSERBY_MAIL_FROM: MAIL_FROM };
  return startServerWithApp(t, providers, {}, { ...mail, ...settings });
}

/** What the page that a mail leads to reads from its own address. */
export async function mailed(mailServer, address, page) {
  const { envelope, subject, links } = await mailServer.take(address);
  assert.deepEqual(envelope, { from: MAIL_FROM, to: [address] });
  assert.equal(subject, page === CONFIRM_PAGE ? CONFIRM_SUBJECT : RESET_SUBJECT);
  assert.equal(links.length, 1);
  const [link] = links;
  assert.equal(link.origin + link.pathname, page);
  assert.deepEqual([...link.searchParams.keys()], ["token", "tokenId"]);
  return Object.fromEntries(link.searchParams);
}

export const logInWith = (url, email, password, storage) =>
  newApp(url, storage).logIn(Credentials.emailPassword(email, password));
export const logInAnonymously = (url, storage) => newApp(url, storage).logIn(Credentials.anonymous());
export const link = (user, email, password) => user.linkCredentials(Credentials.emailPassword(email, password));
export const providersOf = (user) => user.identities.map(({ providerType }) => providerType);

/** A person who is known on a server without e-mails. */
export async function registered(url, password = PASSWORD) {
  const email = newAddress();
  await newApp(url).emailPasswordAuth.registerUser({ email, password });
  return email;
}

/** The request fails in realm-web with this error, after one request and no more: no refresh, no second attempt. */
export async function assertOneError(proxy, request, expected, line) {
  proxy.clear();
  await assert.rejects(request(), (error) => {
    assert.ok(error instanceof MongoDBRealmError, error.stack);
    for (const [key, value] of Object.entries(expected)) assert.equal(error[key], value);
    return true;
  });
  assert.deepEqual(proxy.lines, [line]);
}

/** What a user is to be after a link that failed: the same, on the same token, in the same session. */
export async function assertGoesOn(user, accessToken, providers) {
  await user.refreshProfile();
  assert.equal(user.isLoggedIn, true);
  assert.equal(user.accessToken, accessToken);
  assert.deepEqual(providersOf(user), providers);
  await user.refreshCustomData();
  assert.notEqual(user.accessToken, accessToken);
}

/** realm-web finds out that its session was ended, and that is all: two requests, and no one is logged in. */
export async function assertEnded(proxy, user) {
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
export async function wholeAnswer(origin, method, path, body) {
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

export function assertNothing(answer, status) {
  assert.deepEqual(answer, { status, contentType: null, body: null });
}
