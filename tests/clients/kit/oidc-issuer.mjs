// A real OpenID Connect issuer on loopback (oidc-provider) in which everyone is logged in at once, or fills in a form.

import assert from "node:assert/strict";
import http from "node:http";
import { text } from "node:stream/consumers";

import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

import { close, listen } from "./listen.mjs";

/** The client that passerby is to this issuer. */
export const CLIENT = { id: "passerby", secret: "a secret that only this test issuer knows" };

const FORM = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Log in</title>
<form method="post">
  <label>Account <input name="account"></label>
  <button name="choice" value="log-in">Log in</button>
  <button name="choice" value="cancel">Cancel</button>
</form></html>`;

/**
 * An issuer with one confidential client, which must use PKCE.
 *
 * A browser that comes to it is logged in as the next account of `accounts` (the last one again, if there is no other),
 * with no page in between. With `form` it gets a page instead, on which people say who they are, or that they would
 * rather not. `host` is a loopback address; to a browser each is a site of its own. `claims` are what each account is
 * known by beside `sub`; scopes `email` and `profile` put them into the ID token.
 */
export class Issuer {
  #form;
  #host;
  #http;
  #provider;

  /** Its URL, and the origin that `outbound.allow` has to name. */
  url = null;
  /** Accounts in the order in which browsers become them. */
  accounts;
  /** Requests as lines "METHOD /path". */
  requests = [];

  constructor({ accounts = ["somebody"], claims = {}, form = false, host = "127.0.0.1" } = {}) {
    assert.ok(accounts.length > 0, "an issuer needs an account");
    this.accounts = [...accounts];
    this.claims = claims;
    this.#form = form;
    this.#host = host;
  }

  async listen(redirectUris) {
    this.#http = http.createServer((request, response) => this.#handle(request, response));
    this.url = `http://${this.#host}:${await listen(this.#http, this.#host)}`;
    const { privateKey } = await generateKeyPair("RS256", { extractable: true });
    this.#provider = new Provider(this.url, {
      clients: [
        {
          client_id: CLIENT.id,
          client_secret: CLIENT.secret,
          redirect_uris: redirectUris,
          grant_types: ["authorization_code"],
          response_types: ["code"],
        },
      ],
      claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
      conformIdTokenClaims: false,
      cookies: { keys: ["a key for cookies of a test"] },
      features: { devInteractions: { enabled: false } },
      findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, ...this.claims }) }),
      interactions: { url: (_, { uid }) => `/interaction/${uid}` },
      jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: "test", alg: "RS256", use: "sig" }] },
      // Whoever has logged in has agreed to everything that the client asks for.
      loadExistingGrant: async ({ oidc }) => {
        const grant = new oidc.provider.Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
        grant.addOIDCScope("openid email profile");
        await grant.save();
        return grant;
      },
      pkce: { required: () => true },
    });
    return this;
  }

  close() {
    return close(this.#http);
  }

  async #handle(request, response) {
    this.requests.push(`${request.method} ${request.url.replace(/\?.*/, "")}`);
    if (!request.url.startsWith("/interaction/")) return this.#provider.callback()(request, response);
    if (this.#form && request.method === "GET") {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(FORM);
      return;
    }
    try {
      const outcome = this.#form ? await filledIn(request) : { login: { accountId: this.#nextAccount() } };
      await this.#provider.interactionFinished(request, response, outcome);
    } catch (error) {
      response.writeHead(400, { "content-type": "text/plain" }).end(error.message);
    }
  }

  #nextAccount() {
    return this.accounts.length > 1 ? this.accounts.shift() : this.accounts[0];
  }
}

/** What a person chose on the form. */
async function filledIn(request) {
  const fields = new URLSearchParams(await text(request));
  if (fields.get("choice") === "cancel") return { error: "access_denied", error_description: "cancelled" };
  assert.notEqual(fields.get("account") ?? "", "", "the form was sent without an account");
  return { login: { accountId: fields.get("account") } };
}

/** An issuer that is closed with the test; `redirectUris` are the client's. */
export async function startIssuer(t, redirectUris, options) {
  const issuer = await new Issuer(options).listen(redirectUris);
  t?.after(() => issuer.close());
  return issuer;
}
