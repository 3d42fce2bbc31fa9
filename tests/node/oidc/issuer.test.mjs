// The test issuer itself: a login by hand, as a browser and a client make it.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { createRemoteJWKSet, jwtVerify } from "jose";

import { SUITE_DEADLINE } from "../server.mjs";
import { CLIENT, startIssuer } from "./issuer.mjs";

const CALLBACK = "http://127.0.0.1:1/callback";
const VERIFIER = "a-verifier-of-at-least-forty-three-characters";

/** Follows redirects with cookies until one leaves the issuer. */
async function browse(origin, url) {
  const cookies = new Map();
  for (let hops = 0; hops < 10; hops += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(url, { redirect: "manual", headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      cookies.set(name, value);
    }
    assert.ok([302, 303].includes(response.status), `${response.status}: ${await response.text()}`);
    url = new URL(response.headers.get("location"), url);
    if (url.origin !== origin) return url;
  }
  assert.fail("the issuer goes round in circles");
}

test("a browser is logged in without a page", { timeout: SUITE_DEADLINE }, async (t) => {
  const issuer = await startIssuer(t, [CALLBACK], { accounts: ["one", "two"], claims: { email: "a@example.com" } });
  for (const account of ["one", "two", "two"]) {
    const url = new URL("/auth", issuer.url);
    url.search = new URLSearchParams({
      client_id: CLIENT.id,
      response_type: "code",
      redirect_uri: CALLBACK,
      scope: "openid email",
      state: "of the client",
      nonce: "of the login",
      code_challenge: createHash("sha256").update(VERIFIER).digest("base64url"),
      code_challenge_method: "S256",
    });
    const back = await browse(issuer.url, url);
    assert.equal(back.origin + back.pathname, CALLBACK);
    assert.equal(back.searchParams.get("state"), "of the client");
    const answer = await fetch(new URL("/token", issuer.url), {
      method: "POST",
      headers: {
        authorization: `Basic ${btoa(`${CLIENT.id}:${encodeURIComponent(CLIENT.secret)}`)}`,
      },
      body: new URLSearchParams({
        grant_type: "authorization_code",
        code: back.searchParams.get("code"),
        redirect_uri: CALLBACK,
        code_verifier: VERIFIER,
      }),
    });
    assert.equal(answer.status, 200, await answer.clone().text());
    const { id_token: token } = await answer.json();
    const keys = createRemoteJWKSet(new URL("/jwks", issuer.url));
    const { payload } = await jwtVerify(token, keys, { issuer: issuer.url, audience: CLIENT.id });
    assert.equal(payload.sub, account);
    assert.equal(payload.nonce, "of the login");
    assert.equal(payload.email, "a@example.com");
  }
  assert.ok(issuer.requests.includes("POST /token"));
});
