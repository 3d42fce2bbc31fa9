// OpenID Connect at an issuer that knows the callback which all providers had in common before.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";

import { newHome } from "../kit/cleanup.mjs";
import { PROVIDER } from "../kit/oidc-app.mjs";
import { CLIENT, Issuer } from "../kit/oidc-issuer.mjs";
import {
  answerOf,
  CALLBACK,
  callbackOf,
  challengeOf,
  newSecret,
  OTHER,
  SESSIONS,
  SHARED_CALLBACK,
} from "../kit/oidc-login.mjs";
import { Visitor } from "../kit/oidc-visitor.mjs";
import { assertProblem, call, Server, SUITE_DEADLINE } from "../kit/server.mjs";

describe("a login in the browser whose issuer knows the callback of before", { timeout: SUITE_DEADLINE }, () => {
  test("is begun and ends there, for the provider that the settings name and no other", async (t) => {
    const home = await newHome();
    const server = new Server(home, [], { PASSERBY_SECRET_ISSUER: CLIENT.secret });
    t.after(() => server.close());
    await server.start();
    const page = "https://app.example/back";
    const issuers = [];
    for (const [host, path] of [["127.0.0.2", SHARED_CALLBACK], ["127.0.0.3", callbackOf(OTHER)]]) {
      const issuer = await new Issuer({ host }).listen([server.url + path]);
      t.after(() => issuer.close());
      issuers.push(issuer);
    }
    const provider = ({ url }) => `
      issuer = "${url}"
      client_id = "${CLIENT.id}"
      client_secret = "issuer"
      redirect_uris = ["${page}"]
    `;
    const settings = `
      public_url = "${server.url}"
      outbound.allow = [${issuers.map(({ url }) => `"${url}"`)}]
      auth.shared_callback = "${PROVIDER}"
      [provider.oidc.test]
      ${provider(issuers[0])}
      [provider.oidc.other]
      ${provider(issuers[1])}
    `;
    await writeFile(join(home, "passerby.toml"), settings);
    await server.restart();
    for (const [name, path, other] of [
      [PROVIDER, SHARED_CALLBACK, CALLBACK],
      [OTHER, callbackOf(OTHER), SHARED_CALLBACK],
    ]) {
      const toCallback = async (visitor, secret) =>
        visitor.follow(
          `${server.url}/v1/providers/${name}/login?code_challenge=${challengeOf(secret)}`,
          (url) => url.origin + url.pathname === server.url + path,
        );
      const [visitor, secret] = [new Visitor(), newSecret()];
      const answer = await visitor.fetch(await toCallback(visitor, secret));
      assert.equal(answer.status, 302);
      const code = new URL(answer.headers.get("location")).searchParams.get("code");
      const { status } = await call(server.url, "POST", SESSIONS, undefined, {
        provider: name,
        code,
        code_verifier: secret,
      });
      assert.equal(status, 201);
      const again = await toCallback(visitor, newSecret());
      const elsewhere = await visitor.fetch(new URL(again.href.replace(path, other)));
      assertProblem(await answerOf(elsewhere), 400, "unknown-login");
    }
    await writeFile(join(home, "passerby.toml"), settings.replace(`= "${PROVIDER}"`, '= "oidc-corp"'));
    await assert.rejects(server.restart(), /auth\.shared_callback.*"oidc-corp".*only oidc-other, oidc-test/s);
  });
});
