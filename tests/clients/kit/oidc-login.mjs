// Logins by way of issuers: an app's page, Passerby and two issuers, each of them a different site.

import { createHash, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { newHome } from "./cleanup.mjs";
import { App, PROVIDER } from "./oidc-app.mjs";
import { CLIENT, Issuer } from "./oidc-issuer.mjs";
import { Server } from "./server.mjs";

export const SESSIONS = "/v1/sessions";
export const callbackOf = (provider) => `/v1/providers/${provider}/callback`;
export const CALLBACK = callbackOf(PROVIDER);
/** Where the issuer of `auth.shared_callback` sends browsers. */
export const SHARED_CALLBACK = "/v1/providers/callback";
/** The same issuer, which answers by a form here. */
export const BY_FORM = "oidc-form";
/** Another issuer. */
export const OTHER = "oidc-other";
/** An issuer at whose address nothing listens. */
export const GONE = "oidc-gone";

/** The name of a cookie of a login that is under way. */
export const COOKIE = /^passerby-login-/;

let accounts = 0;
/** A person of whom the issuer and the server have not heard. */
export const newAccount = () => `somebody-${(accounts += 1)}`;
export const newSecret = () => randomBytes(32).toString("base64url");
export const challengeOf = (secret) => createHash("sha256").update(secret).digest("base64url");

/** An answer to a plain browser, in the form of `call`'s. */
export async function answerOf(response) {
  return {
    status: response.status,
    contentType: response.headers.get("content-type"),
    body: await response.json().catch(() => null),
  };
}

/** { app, gone, issuer, otherIssuer, server, close }: the app's server, the address of no issuer, two issuers, Passerby. */
export async function startLogins() {
  const app = await new App().listen();
  const home = await newHome();
  const server = new Server(home, [], { PASSERBY_SECRET_ISSUER: CLIENT.secret });
  // Its own address belongs into its settings and is known once it has run; it keeps the port.
  await server.start();
  app.passerby = server.url;
  const callbacks = [CALLBACK, callbackOf(BY_FORM)].map((path) => server.url + path);
  const issuer = await new Issuer({ form: true, host: "127.0.0.2" }).listen(callbacks);
  const otherIssuer = await new Issuer({ form: true, host: "127.0.0.3" }).listen([server.url + callbackOf(OTHER)]);
  const closed = await new Issuer({ host: "127.0.0.4" }).listen([]);
  const gone = closed.url;
  await closed.close();
  const provider = ({ url }, more = "") => `
    issuer = "${url}"
    client_id = "${CLIENT.id}"
    client_secret = "issuer"
    redirect_uris = ["${app.redirectUri}"]
    ${more}
  `;
  const settings = `
    public_url = "${server.url}"
    allowed_origins = ["${app.url}"]
    outbound.allow = ["${issuer.url}", "${otherIssuer.url}", "${gone}"]
    [provider.oidc.test]
    ${provider(issuer)}
    [provider.oidc.form]
    ${provider(issuer, 'response_mode = "form_post"')}
    [provider.oidc.other]
    ${provider(otherIssuer)}
    [provider.oidc.gone]
    ${provider({ url: gone })}
  `;
  await writeFile(join(home, "passerby.toml"), settings);
  await server.restart();
  const close = () => Promise.all([server, issuer, otherIssuer, app].map((one) => one.close()));
  return { app, gone, issuer, otherIssuer, server, close };
}
