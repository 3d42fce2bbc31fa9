// The admin API of App Services, asked as its own tools ask it: realm-js' importer and realm-cli, down to their headers.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import * as Realm from "realm-web";

import { startServer, SUITE_DEADLINE } from "../kit/server.mjs";
import { startMailServer } from "../kit/smtp.mjs";
import { CONFIRM_PAGE, mailed, newAddress, startServerWithMails } from "../kit/userpass.mjs";

const PASSWORD = "correct horse battery";

/** Runs `passerby admin` on the folder of a server that runs. */
function command(server, ...args) {
  return new Promise((resolve, reject) => {
    const all = ["admin", ...args, "--data-dir", join(server.home, "data")];
    const env = { PATH: process.env.PATH };
    const child = execFile(process.env.PASSERBY_BIN, all, { cwd: server.home, env }, (error, out, told) =>
      error ? reject(new Error(told)) : resolve(out),
    );
    child.stdin.end(`${PASSWORD}\n`);
  });
}

/** As the AdminApiClient of realm-js does it: a login, then the token; a 401 is answered by a new access token and another try. */
class AdminApiClient {
  #base;
  #tokens = null;

  constructor(origin) {
    this.#base = `${origin}/api/admin/v3.0`;
  }

  async #fetch(method, path, token, body) {
    const response = await fetch(this.#base + path, {
      method,
      headers: {
        "content-type": "application/json",
        "x-baas-request-origin": "mongodb-baas-cli",
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, type: response.headers.get("content-type"), body: text === "" ? null : JSON.parse(text) };
  }

  async logIn(provider, credentials) {
    const { status, body } = await this.#fetch("POST", `/auth/providers/${provider}/login`, null, credentials);
    assert.equal(status, 200, JSON.stringify(body));
    this.#tokens = body;
  }

  forgetAccessToken() {
    this.#tokens.access_token = "gone";
  }

  async send(method, path, body) {
    let answer = await this.#fetch(method, path, this.#tokens.access_token, body);
    if (answer.status === 401) {
      const refreshed = await this.#fetch("POST", "/auth/session", this.#tokens.refresh_token);
      assert.equal(refreshed.status, 201, JSON.stringify(refreshed.body));
      this.#tokens.access_token = refreshed.body.access_token;
      answer = await this.#fetch(method, path, this.#tokens.access_token, body);
    }
    return answer;
  }

  /** The path of the one app. */
  async app() {
    const { body: profile } = await this.send("GET", "/auth/profile");
    const group = profile.roles[0].group_id;
    const { body: apps } = await this.send("GET", `/groups/${group}/apps`);
    assert.equal(apps.length, 1);
    return `/groups/${group}/apps/${apps[0]._id}`;
  }
}

describe("the admin API of App Services", { timeout: SUITE_DEADLINE }, () => {
  let server;

  before(async () => {
    server = await startServer();
    await command(server, "create", "ada", "--password-stdin");
  });
  after(() => server.close());

  test("a script finds a user, disables and enables it, ends its sessions and deletes it", async () => {
    const admin = new AdminApiClient(server.adminUrl);
    await admin.logIn("local-userpass", { username: "ada", password: PASSWORD });
    const users = `${await admin.app()}/users`;
    const app = new Realm.App({ id: "passerby", baseUrl: server.url });
    const user = await app.logIn(Realm.Credentials.anonymous());

    const { body: seen } = await admin.send("GET", `${users}/${user.id}`);
    assert.deepEqual(Object.keys(seen).sort(), ["_id", "creation_date", "data", "disabled", "identities", "last_authentication_date", "type"]);
    assert.equal(seen._id, user.id);
    assert.equal(seen.identities[0].provider_type, "anon-user");
    assert.ok(Number.isInteger(seen.creation_date));

    admin.forgetAccessToken();
    const disabled = await admin.send("PUT", `${users}/${user.id}/disable`);
    assert.deepEqual(disabled, { status: 204, type: null, body: null });
    await assert.rejects(user.refreshProfile());
    assert.equal((await admin.send("PUT", `${users}/${user.id}/enable`)).status, 204);

    const again = await app.logIn(Realm.Credentials.anonymous(false));
    const verified = await admin.send("POST", `${users}/verify_token`, { token: again.accessToken });
    assert.equal(verified.body.sub, again.id);
    assert.equal((await admin.send("DELETE", `${users}/${again.id}`)).status, 204);
    const gone = await admin.send("GET", `${users}/${again.id}`);
    assert.deepEqual([gone.status, gone.body.error, gone.body.error_code], [404, "user not found", "UserNotFound"]);
  });

  test("a program logs in by its API key and is held to its role", async () => {
    const owner = await fetch(`${server.adminUrl}/v1/admin/login`, {
      method: "POST",
      body: JSON.stringify({ name: "ada", password: PASSWORD }),
    }).then((answer) => answer.json());
    const key = await fetch(`${server.adminUrl}/v1/admin/keys`, {
      method: "POST",
      headers: { authorization: `Bearer ${owner.token}` },
      body: JSON.stringify({ name: "reports", role: "read" }),
    }).then((answer) => answer.json());
    const admin = new AdminApiClient(server.adminUrl);
    await admin.logIn("mongodb-cloud", { username: key.id, apiKey: key.private_key });
    const app = await admin.app();
    const refused = await admin.send("DELETE", `${app}/users/636aba021728b6c1c03db7f9`);
    assert.deepEqual([refused.status, refused.body.error_code], [403, "InsufficientRole"]);
  });

  test("the e-mail that confirms an address is sent again, and confirms it", async (t) => {
    const mails = await startMailServer(t);
    const server = await startServerWithMails(t, mails);
    await command(server, "create", "ada", "--password-stdin");
    const admin = new AdminApiClient(server.adminUrl);
    await admin.logIn("local-userpass", { username: "ada", password: PASSWORD });
    const registrations = `${await admin.app()}/user_registrations`;
    const { emailPasswordAuth } = new Realm.App({ id: "passerby", baseUrl: server.url });
    const email = newAddress();
    await emailPasswordAuth.registerUser({ email, password: PASSWORD });
    const first = await mailed(mails, email, CONFIRM_PAGE);
    const { body: waiting } = await admin.send("GET", `${registrations}/pending_users`);
    assert.deepEqual(waiting.map(({ login_ids: ids }) => ids), [[{ id_type: "email", id: email }]]);

    const sent = await admin.send("POST", `${registrations}/by_email/${encodeURIComponent(email)}/send_confirm`);
    assert.equal(sent.status, 200, JSON.stringify(sent.body));
    const second = await mailed(mails, email, CONFIRM_PAGE);
    await assert.rejects(emailPasswordAuth.confirmUser(first), { error: "invalid token data" });
    await emailPasswordAuth.confirmUser(second);
    assert.deepEqual((await admin.send("GET", `${registrations}/pending_users`)).body, []);
    const again = await admin.send("POST", `${registrations}/by_email/${encodeURIComponent(email)}/send_confirm`);
    assert.deepEqual([again.status, again.body.error_code], [400, "UserAlreadyConfirmed"]);
  });
});
