// What realm-web shows of a user's document.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as Realm from "realm-web";

import { call, SUITE_DEADLINE } from "../kit/server.mjs";
import { startPasserby } from "../kit/upstream.mjs";

describe("custom user data", { timeout: SUITE_DEADLINE }, () => {
  test("realm-web shows the configured part of the document", async (t) => {
    const server = await startPasserby(t, { PASSERBY_DATA_TOKEN_FIELDS: "plan,name" });
    const app = new Realm.App({ id: "passerby", baseUrl: server.url, skipLocationRequest: true });
    const user = await app.logIn(Realm.Credentials.anonymous());
    assert.deepEqual(user.customData, {});
    const data = { plan: "free", name: "Zoë", diary: "nobody's business" };
    assert.equal((await call(server.url, "PUT", "/v1/data", user.accessToken, data)).status, 200);
    assert.deepEqual(await user.refreshCustomData(), { plan: "free", name: "Zoë" });
    assert.deepEqual(user.customData, { plan: "free", name: "Zoë" });
  });
});
