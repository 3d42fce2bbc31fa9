// A web app on loopback, as people would write one: it logs in by way of an issuer, and links if it has a user already.

import http from "node:http";

import { close, listen } from "./listen.mjs";

/** What the app's page calls the provider. */
export const PROVIDER = "oidc-test";

/**
 * The page keeps its secret and the user's tokens in `sessionStorage`, so each tab has its own. `#user` shows who is
 * logged in, `#error` why no one is.
 */
const page = (passerby) => `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>An app</title>
<button id="play">Play without an account</button>
<button id="log-in">Log in</button>
<label><input id="merge" type="checkbox"> add what I have to my account</label>
<output id="user"></output>
<output id="error"></output>
<script type="module">
  const PASSERBY = ${JSON.stringify(passerby)};
  const PROVIDER = ${JSON.stringify(PROVIDER)};
  const HERE = location.origin + "/back";
  const byId = (id) => document.getElementById(id);
  const base64url = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  async function logIn(path, body) {
    const tokens = JSON.parse(sessionStorage.tokens ?? "null");
    const response = await fetch(PASSERBY + path, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(tokens === null ? {} : { authorization: "Bearer " + tokens.access_token }),
      },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.code);
    sessionStorage.tokens = JSON.stringify(answer);
    byId("user").textContent = answer.user_id;
  }

  async function leave() {
    sessionStorage.secret = base64url(crypto.getRandomValues(new Uint8Array(32)));
    if (byId("merge").checked) sessionStorage.onConflict = "merge";
    const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(sessionStorage.secret));
    const query = new URLSearchParams({ code_challenge: base64url(hash), redirect_uri: HERE });
    location.assign(PASSERBY + "/v1/providers/" + PROVIDER + "/login?" + query);
  }

  async function comeBack(query) {
    history.replaceState(null, "", HERE);
    if (query.has("error")) throw new Error(query.get("error"));
    const { secret, onConflict, tokens } = sessionStorage;
    sessionStorage.removeItem("secret");
    const credential = { provider: PROVIDER, code: query.get("code"), code_verifier: secret };
    if (tokens === undefined) await logIn("/v1/sessions", credential);
    else await logIn("/v1/user/identities", { ...credential, on_conflict: onConflict });
  }

  const orShow = (doing) => doing.catch((error) => (byId("error").textContent = error.message));
  byId("play").onclick = () => orShow(logIn("/v1/sessions", {}));
  byId("log-in").onclick = () => orShow(leave());
  if (location.search !== "") orShow(comeBack(new URLSearchParams(location.search)));
</script></html>`;

/** The app's own web server. Its site is none of passerby's: `localhost` is a different one from any loopback address. */
export class App {
  #http;
  /** Where the page finds passerby. */
  passerby = null;

  url = null;
  /** Where logins in the browser end. */
  redirectUri = null;

  constructor() {
    this.#http = http.createServer((request, response) => {
      const known = ["/", "/back"].includes(request.url.replace(/\?.*/, ""));
      response.writeHead(known ? 200 : 404, { "content-type": "text/html; charset=utf-8" });
      response.end(known ? page(this.passerby) : "");
    });
  }

  async listen() {
    this.url = `http://localhost:${await listen(this.#http, "localhost")}`;
    this.redirectUri = `${this.url}/back`;
    return this;
  }

  close() {
    return close(this.#http);
  }
}
