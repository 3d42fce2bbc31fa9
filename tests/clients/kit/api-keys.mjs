// Servers with API keys, and people who may have some.

import assert from "node:assert/strict";

import { Credentials, newApp } from "./client.mjs";
import { call, startServerWithApp } from "./server.mjs";

export const APP = "/api/client/v2.0/app/passerby/auth/providers";
const REGISTER_PATH = `${APP}/local-userpass/register`;
export const V1_KEYS = "/v1/user/api-keys";
export const V1_IDENTITIES = "/v1/user/identities";
export const V1_SESSIONS = "/v1/sessions";

export const provider = (name, more = {}) => ({ [name]: { name, type: name, disabled: false, ...more } });
export const NAMES = { ...provider("anon-user"), ...provider("local-userpass", { config: { autoConfirm: true } }) };
export const startServerWithKeys = (t) => startServerWithApp(t, { ...NAMES, ...provider("api-key") });

export const PASSWORD = "correct horse";
export const HEX24 = /^[0-9a-f]{24}$/;
export const UNKNOWN_ID = "0123456789abcdef01234567";
/** What a scanner for secrets looks for. */
export const KEY = /^psb_[0-9A-Za-z]{60}$/;

export const MOST_KEYS = 20;
export const BAD_NAMES = ["", "two words", "schlüssel", "a/b", "a.b", "x\n", "x".repeat(65)];

export const REFUSED = { statusCode: 401, errorCode: "AuthError", error: "unauthorized" };

export const logInWithKey = (url, key) => newApp(url).logIn(Credentials.apiKey(key));

let people = 0;
/** A person whom the server has not seen, with a name and a password. */
export async function newPerson(url) {
  const email = `owner-${(people += 1)}@people.example`;
  const { status } = await call(url, "POST", REGISTER_PATH, undefined, { email, password: PASSWORD });
  assert.equal(status, 201);
  return email;
}

/** A user who may have keys. */
export async function newOwner(url) {
  return newApp(url).logIn(Credentials.emailPassword(await newPerson(url), PASSWORD));
}

/** A good key with a different character in its middle, or, with `last`, at its end. */
export function spoiledKey(key, { last = false } = {}) {
  const at = last ? key.length - 1 : key.length / 2;
  return key.slice(0, at) + (key[at] === "A" ? "B" : "A") + key.slice(at + 1);
}
