// Tokens as a second service sees them: verified by an independent library with nothing but the published keys.

import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { once } from "node:events";
import { request } from "node:http";
import { after, before, describe, test } from "node:test";

import { createLocalJWKSet, errors, exportJWK, generateKeyPair, jwtVerify, SignJWT } from "jose";
import jsonwebtoken from "jsonwebtoken";

import { call, PATHS, startServer, SUITE_DEADLINE } from "../kit/server.mjs";
import { tokenClaims, tokenHeader, tokenPart } from "../kit/tokens.mjs";

const JWKS_PATH = "/.well-known/jwks.json";
const ACCESS_SECONDS = 30 * 60;
const REFRESH_SECONDS = 50 * 365 * 24 * 60 * 60;
/** What a careful service demands of our access tokens. */
const EXPECTED = {
  algorithms: ["EdDSA"],
  audience: "passerby",
  issuer: "urn:passerby:passerby",
  requiredClaims: ["sub", "iat", "exp", "jti", "sid"],
  typ: "at+jwt",
};

async function logIn(server) {
  const { status, body } = await call(server.url, "POST", PATHS.login, undefined, {});
  assert.equal(status, 200);
  for (const key of ["access_token", "refresh_token", "user_id", "device_id"]) assert.equal(typeof body[key], "string");
  return body;
}

async function publishedKeys(server) {
  const { status, contentType, body } = await call(server.url, "GET", JWKS_PATH);
  assert.equal(status, 200);
  assert.match(contentType, /^application\/(jwk-set\+)?json$/);
  assert.ok(Array.isArray(body.keys));
  return body;
}

/** Whatever looks like a JWT anywhere in a JSON value. */
function tokensIn(value) {
  if (typeof value === "string") return /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(value) ? [value] : [];
  if (typeof value === "object" && value !== null) return Object.values(value).flatMap(tokensIn);
  return [];
}

/** Numbers as `exp` of 1.8e9 or 1800000000.0 are integers to JavaScript but an error to the native SDKs. */
function assertIntegers(token, ...claims) {
  const text = tokenPart(token, 1);
  for (const claim of claims) {
    assert.equal(typeof JSON.parse(text)[claim], "number");
    assert.match(text, new RegExp(`"${claim}":[0-9]+[,}]`), `${claim} is written as an integer`);
  }
}

/** The refusal of a token that is not ours. With any other text and without a code realm-web would not refresh. */
function assertUnauthorized({ status, contentType, body }, what) {
  assert.equal(status, 401, what);
  assert.equal(contentType, "application/json", what);
  assert.equal(body.error, "unauthorized", what);
}

describe("tokens", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startServer(null);
  });
  after(() => server?.close());

  test("an access token is verified offline with the published keys", async (t) => {
    const own = await startServer(t);
    const { access_token: token, user_id } = await logIn(own);
    const keys = createLocalJWKSet(await publishedKeys(own));
    await own.stop(); // there is no one left to ask

    const { payload, protectedHeader } = await jwtVerify(token, keys, EXPECTED);

    assert.equal(payload.sub, user_id);
    assert.equal(protectedHeader.alg, "EdDSA");
    assert.equal(protectedHeader.typ, "at+jwt");
  });

  test("ES256 is for libraries that know no EdDSA", async (t) => {
    const own = await startServer(t, "--access-alg", "ES256");
    const { access_token: token, user_id } = await logIn(own);
    const published = await publishedKeys(own);
    const [key, ...more] = published.keys;
    assert.deepEqual(more, []);
    assert.deepEqual(Object.keys(key).sort(), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert.deepEqual([key.alg, key.crv, key.kty, key.use], ["ES256", "P-256", "EC", "sig"]);

    const { payload } = await jwtVerify(token, createLocalJWKSet(published), { ...EXPECTED, algorithms: ["ES256"] });
    assert.equal(payload.sub, user_id);
    const { audience, issuer } = EXPECTED;
    const check = (text, jwk, algorithms) =>
      jsonwebtoken.verify(text, createPublicKey({ key: jwk, format: "jwk" }), { algorithms, audience, issuer });
    assert.equal(check(token, key, ["ES256"]).sub, user_id);
    assert.throws(() => check(`${token.slice(0, -8)}AAAAAAAA`, key, ["ES256"]), /signature/);

    const { access_token: ofEdDsa } = await logIn(server);
    const [ed25519] = (await publishedKeys(server)).keys;
    assert.throws(() => check(ofEdDsa, ed25519, ["EdDSA"]), "it knows no EdDSA");
    assert.equal((await call(own.url, "GET", "/v1/session", token)).status, 200);
    assert.equal((await call(own.url, "GET", "/v1/session", token)).status, 200, "from the cache");
  });

  test("the published keys are public Ed25519 keys and each is named", async () => {
    const { keys } = await publishedKeys(server);
    assert.ok(keys.length >= 1);
    for (const key of keys) {
      assert.equal(key.kty, "OKP");
      assert.equal(key.crv, "Ed25519");
      assert.equal(Buffer.from(key.x, "base64url").length, 32);
      assert.equal(key.use, "sig");
      assert.equal(key.alg, "EdDSA");
      assert.equal(typeof key.kid, "string");
      assert.equal("d" in key, false, "the private half");
    }
    assert.equal(new Set(keys.map(({ kid }) => kid)).size, keys.length);
    const { kid } = tokenHeader((await logIn(server)).access_token);
    assert.ok(keys.some((key) => key.kid === kid));
  });

  test("an access token says what every client and service reads from it", async () => {
    const earliest = Math.floor(Date.now() / 1000);
    const { access_token: token, refresh_token, user_id, device_id } = await logIn(server);
    const latest = Math.floor(Date.now() / 1000);
    const claims = tokenClaims(token);

    assertIntegers(token, "exp", "iat");
    assert.equal(claims.exp - claims.iat, ACCESS_SECONDS);
    assert.ok(earliest <= claims.iat && claims.iat <= latest, "it is issued now");
    assert.equal(claims.typ, "access");
    assert.equal(claims.sub, user_id);
    assert.equal(claims.iss, "urn:passerby:passerby");
    assert.equal(claims.aud, "passerby");
    assert.equal(claims.client_id, claims.aud);
    assert.equal(typeof claims.jti, "string");
    assert.equal(claims.sid, tokenClaims(refresh_token).baas_id);
    assert.equal(claims.baas_device_id, device_id);
    assert.equal(claims.stitch_devId, claims.baas_device_id);
    assert.match(claims.baas_domain_id, /^[0-9a-f]{24}$/);
    assert.equal(claims.stitch_domainId, claims.baas_domain_id);
  });

  test("a refresh token has the claims of App Services and no end of its own", async () => {
    const { refresh_token: token, user_id, device_id } = await logIn(server);
    const claims = tokenClaims(token);

    assertIntegers(token, "exp", "iat");
    assert.equal(claims.exp - claims.iat, REFRESH_SECONDS);
    assert.equal(claims.typ, "refresh");
    assert.equal(claims.sub, user_id);
    assert.equal(typeof claims.baas_id, "string");
    assert.equal(claims.stitch_id, claims.baas_id);
    assert.equal(claims.baas_device_id, device_id);
    assert.equal(claims.baas_identity.provider_type, "anon-user");
    assert.equal(claims.baas_identity.id.length, 49);
    assert.deepEqual(claims.stitch_ident, claims.baas_identity);

    const { body } = await call(server.url, "GET", PATHS.profile, (await logIn(server)).access_token);
    assert.equal(body.identities[0].provider_id, claims.baas_identity.provider_id);
    assert.equal(body.domain_id, claims.baas_domain_id);
  });

  test("a refresh token is not to be taken for an access token", async () => {
    const { refresh_token: token } = await logIn(server);
    const keys = createLocalJWKSet(await publishedKeys(server));

    assert.notEqual(tokenHeader(token).typ, "at+jwt");
    // Nothing is demanded here but a good signature: even the most careless service must not accept it.
    await assert.rejects(jwtVerify(token, keys), errors.JOSEError);
    assert.equal((await call(server.url, "GET", PATHS.profile, token)).status, 401);
    assert.equal((await call(server.url, "DELETE", PATHS.delete, token)).status, 401);
    // Being refused has ended nothing.
    assert.equal((await call(server.url, "POST", PATHS.session, token)).status, 201);
  });

  test("an access token is not to be taken for a refresh token", async () => {
    const { access_token: token } = await logIn(server);
    for (const method of ["POST", "DELETE"]) {
      const { status, body } = await call(server.url, method, PATHS.session, token);
      assert.equal(status, 401);
      assert.equal(body.error, "invalid refresh token: incorrect token type");
      assert.equal("error_code" in body, false);
    }
    assert.equal((await call(server.url, "GET", PATHS.profile, token)).status, 200);
  });

  test("a refreshed access token is a new one of the same session", async () => {
    const { access_token: first, refresh_token } = await logIn(server);
    const { status, body } = await call(server.url, "POST", PATHS.session, refresh_token);
    assert.equal(status, 201);
    const keys = createLocalJWKSet(await publishedKeys(server));

    const { payload } = await jwtVerify(body.access_token, keys, EXPECTED);

    const before = tokenClaims(first);
    for (const claim of ["sub", "sid", "ep", "client_id", "baas_device_id", "baas_domain_id"]) {
      assert.deepEqual(payload[claim], before[claim], claim);
    }
    assert.notEqual(payload.jti, before.jti);
    assertIntegers(body.access_token, "exp", "iat");
    assert.equal(payload.exp - payload.iat, ACCESS_SECONDS);
    assert.equal((await call(server.url, "GET", PATHS.profile, first)).status, 200, "the first one is not spent");
  });

  test("a token with a foreign signature is refused, whatever its header says", async () => {
    const { access_token: genuine } = await logIn(server);
    const header = tokenHeader(genuine);
    const claims = tokenClaims(genuine);
    const { keys } = await publishedKeys(server);
    const published = keys.find(({ kid }) => kid === header.kid);
    const own = await generateKeyPair("EdDSA", { extractable: true });
    const ownPublic = await exportJWK(own.publicKey);
    const sign = (header, key) => new SignJWT(claims).setProtectedHeader(header).sign(key);
    const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

    const forged = {
      "under the server's key id": await sign(header, own.privateKey),
      "under a key id of its own": await sign({ ...header, kid: "mine" }, own.privateKey),
      "bringing its key along": await sign({ ...header, jwk: ownPublic }, own.privateKey),
      "naming where its key is": await sign({ ...header, jku: "http://127.0.0.1:9/jwks.json" }, own.privateKey),
      // The public key as the secret of a symmetric signature: the classic confusion of algorithms.
      "with the public key as a secret": await sign({ ...header, alg: "HS256" }, Buffer.from(published.x, "base64url")),
      "with the public key's text as a secret": await sign({ ...header, alg: "HS256" }, Buffer.from(published.x)),
      "not signed at all": `${encode({ ...header, alg: "none" })}.${encode(claims)}.`,
      "not signed, with the genuine signature": [
        encode({ ...header, alg: "none" }),
        encode(claims),
        genuine.split(".")[2],
      ].join("."),
    };
    for (const [what, token] of Object.entries(forged)) {
      assertUnauthorized(await call(server.url, "GET", PATHS.profile, token), what);
    }
    assert.equal((await call(server.url, "GET", PATHS.profile, genuine)).status, 200);
  });

  test("the issuer is configured and never taken from a request", async (t) => {
    // `fetch` does not let its caller choose the Host header.
    const asked = request(server.url + PATHS.login, { method: "POST", headers: { host: "evil.example" } }).end();
    const [response] = await once(asked, "response");
    let text = "";
    for await (const chunk of response.setEncoding("utf8")) text += chunk;
    assert.equal(response.statusCode, 200);
    assert.equal(tokenClaims(JSON.parse(text).access_token).iss, "urn:passerby:passerby");

    const configured = await startServer(t, "--public-url", "https://id.example.org");
    const { access_token: token } = await logIn(configured);
    const keys = createLocalJWKSet(await publishedKeys(configured));
    await jwtVerify(token, keys, { ...EXPECTED, issuer: "https://id.example.org" });
    const location = await call(configured.url, "GET", PATHS.location);
    assert.equal(location.body.hostname, "https://id.example.org");
    assert.equal(location.body.ws_hostname, "wss://id.example.org");
  });

  test("with a symmetric algorithm no key is published", async (t) => {
    const symmetric = await startServer(t, "--access-alg", "HS256");
    const { access_token: token } = await logIn(symmetric);
    assert.equal(tokenHeader(token).alg, "HS256");
    assert.equal(tokenHeader(token).typ, "at+jwt");
    for (const key of (await publishedKeys(symmetric)).keys) {
      assert.notEqual(key.kty, "oct");
      assert.equal("k" in key, false);
    }
    assert.equal((await call(symmetric.url, "GET", PATHS.profile, token)).status, 200);
  });

  test("tokens outlive a restart of the server, and so do its keys", async (t) => {
    const own = await startServer(t);
    const { access_token: token } = await logIn(own);
    const keys = await publishedKeys(own);
    await own.restart();
    assert.deepEqual(await publishedKeys(own), keys);
    await jwtVerify(token, createLocalJWKSet(keys), EXPECTED);
    assert.equal((await call(own.url, "GET", PATHS.profile, token)).status, 200);
  });

  test("access tokens of both APIs are alike, refresh tokens keep to their own", async () => {
    const created = await call(server.url, "POST", "/v1/sessions");
    assert.ok(created.status === 200 || created.status === 201, `status ${created.status}`);
    const tokens = tokensIn(created.body);
    const access = tokens.find((token) => tokenHeader(token).typ === "at+jwt");
    const refresh = tokens.find((token) => tokenHeader(token).typ !== "at+jwt");
    assert.ok(access && refresh, "an access token and a refresh token");

    const keys = createLocalJWKSet(await publishedKeys(server));
    const { payload } = await jwtVerify(access, keys, EXPECTED);
    assert.match(payload.sub, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assertIntegers(access, "exp", "iat");
    assert.equal(payload.exp - payload.iat, ACCESS_SECONDS);
    await assert.rejects(jwtVerify(refresh, keys), errors.JOSEError);

    const appServices = await logIn(server);
    assert.equal((await call(server.url, "GET", PATHS.profile, access)).status, 200);
    assert.equal((await call(server.url, "GET", "/v1/session", appServices.access_token)).status, 200);
    assert.notEqual(tokenHeader(refresh).typ, tokenHeader(appServices.refresh_token).typ);
    assert.equal((await call(server.url, "POST", PATHS.session, refresh)).status, 401);

    const refused = await call(server.url, "POST", "/v1/session/refresh", appServices.refresh_token);
    assert.equal(refused.status, 401);
    assert.equal(refused.contentType, "application/problem+json");
  });
});
