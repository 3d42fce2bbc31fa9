// A real OpenID Connect issuer on loopback (oidc-provider) in which everybody is logged in at once.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";

import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

/** The client that passerby is to this issuer. */
export const CLIENT = { id: "passerby", secret: "a secret that only this test issuer knows" };

/**
 * An issuer with one confidential client, which must use PKCE.
 *
 * A browser that comes to it is logged in as the next account of `accounts` (the last one again, if there is no other),
 * with no page in between. `claims` are what each account is known by beside `sub`; scopes `email` and `profile` put
 * them into the ID token.
 */
export class Issuer {
  #http;
  #provider;

  /** Its URL, and the origin that `outbound.allow` has to name. */
  url = null;
  /** Accounts in the order in which browsers become them. */
  accounts;
  /** Requests as lines "METHOD /path". */
  requests = [];

  constructor({ accounts = ["somebody"], claims = {} } = {}) {
    assert.ok(accounts.length > 0, "an issuer needs an account");
    this.accounts = [...accounts];
    this.claims = claims;
  }

  async listen(redirectUris) {
    this.#http = http.createServer((request, response) => this.#handle(request, response));
    // As for a server's process: an issuer that nobody closed must not keep this process alive.
    this.#http.unref();
    this.#http.on("connection", (socket) => socket.unref());
    this.#http.listen(0, "127.0.0.1");
    await once(this.#http, "listening");
    this.url = `http://127.0.0.1:${this.#http.address().port}`;
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

  async close() {
    const closed = once(this.#http, "close");
    this.#http.close();
    this.#http.closeAllConnections();
    await closed;
  }

  async #handle(request, response) {
    this.requests.push(`${request.method} ${request.url.replace(/\?.*/, "")}`);
    if (!request.url.startsWith("/interaction/")) return this.#provider.callback()(request, response);
    try {
      const accountId = this.accounts.length > 1 ? this.accounts.shift() : this.accounts[0];
      await this.#provider.interactionFinished(request, response, { login: { accountId } });
    } catch (error) {
      response.writeHead(400, { "content-type": "text/plain" }).end(error.message);
    }
  }
}

/** An issuer that is closed with the test; `redirectUris` are the client's. */
export async function startIssuer(t, redirectUris, options) {
  const issuer = await new Issuer(options).listen(redirectUris);
  t?.after(() => issuer.close());
  return issuer;
}
