// A second system's identity provider: it signs JWTs with a secret that the server knows too (`custom-token`, HS256).

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

import { SignJWT, UnsecuredJWT } from "jose";

import { call, PATHS, startServerWithApp } from "./server.mjs";
import { spoil } from "./tokens.mjs";

const AUDIENCE = "client-tests";
/** What the app folder calls the secret. */
const SECRET_NAME = "jwt-key";
const SECRET = randomBytes(32).toString("base64url");

const ANON_USER = { name: "anon-user", type: "anon-user", disabled: false };
const CUSTOM_TOKEN = {
  name: "custom-token",
  type: "custom-token",
  disabled: false,
  config: { audience: [AUDIENCE], signingAlgorithm: "HS256", useJWKURI: false },
  secret_config: { signingKeys: [SECRET_NAME] },
  metadata_fields: [
    { required: false, name: "name" },
    { required: false, name: "address.city", field_name: "city" },
  ],
};

/** The provider in an app folder, and its secret. */
export const JWT_PROVIDER = CUSTOM_TOKEN;
export const JWT_SECRETS = { [SECRET_NAME]: SECRET };

/** A server that takes this identity provider's JWTs as it takes anonymous logins. */
export function startServerWithJwt(t) {
  return startServerWithApp(t, { "anon-user": ANON_USER, "custom-token": CUSTOM_TOKEN }, JWT_SECRETS);
}

/** A server that knows of the provider and has it switched off. */
export function startServerWithoutJwt(t) {
  return startServerWithApp(t, { "anon-user": ANON_USER, "custom-token": { ...CUSTOM_TOKEN, disabled: true } });
}

let subjects = 0;
/** A person whom the server has not seen; with a character that paths must escape, as real ones have. */
export const newSubject = () => `client-tests|${(subjects += 1)}`;

const now = () => Math.floor(Date.now() / 1000);
const claimsOf = (subject, claims = {}) => ({ sub: subject, aud: AUDIENCE, iat: now(), exp: now() + 600, ...claims });

/** A good JWT of this person. A claim that is given as undefined is left out. */
export function newJwt(subject, claims = {}, { secret = SECRET, header = {} } = {}) {
  const unsigned = new SignJWT(claimsOf(subject, claims)).setProtectedHeader({ alg: "HS256", typ: "JWT", ...header });
  return unsigned.sign(Buffer.from(secret));
}

/** JWTs that prove nothing, each issued for the given person and server. */
export const BAD_JWTS = {
  "with another signature": async (subject) => spoil(await newJwt(subject), 2),
  "with another payload": async (subject) => spoil(await newJwt(subject), 1),
  "signed with another key": (subject) => newJwt(subject, {}, { secret: "x".repeat(32) }),
  "signed with another algorithm": (subject) => newJwt(subject, {}, { header: { alg: "HS512" } }),
  "not signed at all": (subject) => new UnsecuredJWT(claimsOf(subject)).encode(),
  "of another kind": (subject) => newJwt(subject, {}, { header: { typ: "at+jwt" } }),
  "that has expired": (subject) => newJwt(subject, { iat: now() - 7200, exp: now() - 3600 }),
  "that never expires": (subject) => newJwt(subject, { exp: undefined }),
  "that is not valid yet": (subject) => newJwt(subject, { nbf: now() + 3600, exp: now() + 7200 }),
  "for somebody else": (subject) => newJwt(subject, { aud: "another-app" }),
  "for nobody": (subject) => newJwt(subject, { aud: undefined }),
  "without a subject": () => newJwt(undefined),
  "with an empty subject": () => newJwt(""),
  "that is no token at all": () => "spoiled",
  "that is an access token of ours": async (subject, server) =>
    (await call(server.url, "POST", PATHS.login, undefined, {})).body.access_token,
};

/** The one identity of the provider among those of a user, where ids are under `id` and types under `type`. */
export function externalIdentity(identities, type) {
  const found = identities.filter((identity) => identity[type] === "custom-token");
  assert.equal(found.length, 1, JSON.stringify(identities));
  return found[0];
}
