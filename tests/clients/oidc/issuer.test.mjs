// The test issuer itself: a login by hand, as a browser and a client make it.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { createRemoteJWKSet, jwtVerify } from "jose";

import { CLIENT, startIssuer } from "../kit/oidc-issuer.mjs";
import { Visitor } from "../kit/oidc-visitor.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";

const CALLBACK = "http://127.0.0.1:1/callback";
const VERIFIER = "a-verifier-of-at-least-forty-three-characters";

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
    const back = await new Visitor().follow(url, ({ origin }) => origin !== issuer.url);
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
