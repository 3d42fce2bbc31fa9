// Verifies Passerby's tokens with nothing but its published keys. Needs jose (6). Copy it; README.md says when.
//
//   const { sub } = await verifyAccessToken(token); // from Authorization: Bearer
//   const { sub, anonymous } = await verifyAssertion(token); // from X-Passerby-Assertion
//
// Both give the token's claims or throw: jose's `errors.JOSEError` if the token is refused (answer 401), and
// `KeysUnavailable` if that cannot be told, because its key is not known and the keys cannot be fetched (answer 503).

import { createRemoteJWKSet, errors, jwtVerify } from "jose";

/** Where the keys are: https://PASSERBY/.well-known/jwks.json */
const JWKS_URL = new URL(setting("TOKENS_JWKS_URL"));
/** The server's `public_url`, or urn:passerby:APPID if it has none. */
const ISSUER = setting("TOKENS_ISSUER");
/** The app id. */
const AUDIENCE = setting("TOKENS_AUDIENCE");

/** Keys older than this are fetched again, in the background: known keys go on, for as long as fetching fails. */
const MAX_AGE_MS = 10 * 60_000;
/** Tokens that name an unknown key make us fetch the keys at most this often. The first fetch does not count. */
const UNKNOWN_KEY_MS = 60_000;
/** After a fetch that failed there is no other for so long. */
const RETRY_MS = 1_000;

export class KeysUnavailable extends Error {}

export const verifyAccessToken = (token) => verify(token, "at+jwt", "access");

export const verifyAssertion = (token) => verify(token, "reader-assertion+jwt", "assertion");

async function verify(token, headerType, claimType) {
  const { payload } = await jwtVerify(token, findKey, {
    // The key decides which of them: each is published with its `alg`.
    algorithms: ["EdDSA", "ES256"],
    audience: AUDIENCE,
    issuer: ISSUER,
    requiredClaims: ["exp", "sub"],
    typ: headerType,
  });
  if (payload.typ !== claimType) throw new errors.JWTInvalid(`not of the kind "${claimType}"`);
  return payload;
}

// jose fetches, checks and holds the keys. When it does so is decided here: on its own it would refuse every token while
// keys that are too old cannot be fetched, and a new key's tokens for a while after any fetch.
const keys = createRemoteJWKSet(JWKS_URL, { cacheMaxAge: Infinity, cooldownDuration: Infinity });
let staleAt = null;
let unknownKeyAt = -Infinity;
let retryAt = -Infinity;

async function fetchKeys() {
  if (performance.now() < retryAt) throw new KeysUnavailable("the keys could not be fetched a moment ago");
  try {
    await keys.reload(); // one fetch for all who wait for it
    staleAt = performance.now() + MAX_AGE_MS;
  } catch (cause) {
    retryAt = performance.now() + RETRY_MS;
    throw new KeysUnavailable("the keys cannot be fetched", { cause });
  }
}

async function findKey(header, token) {
  const fetchedBefore = staleAt !== null;
  if (fetchedBefore) {
    if (performance.now() >= staleAt) fetchKeys().catch(() => {});
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || performance.now() < unknownKeyAt) throw error;
    }
  }
  await fetchKeys();
  if (fetchedBefore) unknownKeyAt = performance.now() + UNKNOWN_KEY_MS;
  return keys(header, token);
}

function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}`);
  return value;
}
