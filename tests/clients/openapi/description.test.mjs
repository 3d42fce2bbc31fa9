// The description of the API is valid, complete and true.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Validator } from "@seriousme/openapi-schema-validator";

import { Description } from "../kit/description.mjs";
import { call, PATHS, startServerWithApp, SUITE_DEADLINE } from "../kit/server.mjs";

/** Everything on that can be. */
const PROVIDERS = {
  "anon-user": { name: "anon-user", type: "anon-user", disabled: false },
  "api-key": { name: "api-key", type: "api-key", disabled: false },
  "local-userpass": { name: "local-userpass", type: "local-userpass", disabled: false, config: { autoConfirm: true } },
};

/** A path with something in the place of its parameters. */
const filled = (path) => path.replace("{app}", "passerby").replace("{provider}", "oidc-none").replace(/\{\w+\}/g, "636aba021728b6c1c03db7f9");

describe("the description of the API", { timeout: SUITE_DEADLINE }, () => {
  let server;
  let answer;
  let description;
  before(async () => {
    server = await startServerWithApp(null, PROVIDERS);
    answer = await call(server.url, "GET", "/openapi.json");
    description = new Description(answer.body);
  });
  after(() => server?.close());

  test("is served as JSON", () => {
    assert.equal(answer.status, 200);
    assert.equal(answer.contentType, "application/json");
  });

  test("is valid OpenAPI 3.1, and all it refers to is in it", async () => {
    const validator = new Validator();
    const result = await validator.validate(structuredClone(description.document));
    assert.equal(result.valid, true, JSON.stringify(result.errors, null, 2));
    assert.equal(validator.version, "3.1");
  });

  test("gives every operation an id that generators make one name of", () => {
    const ids = description.operations.map(({ operation }) => operation.operationId);
    assert.ok(ids.length > 50);
    for (const id of ids) assert.match(id, /^[a-z][A-Za-z]+$/);
    // names of functions, and of the types of what they take and give
    const names = new Set([...ids, ...Object.keys(description.document.components.schemas)].map((name) => name.toLowerCase()));
    const shared = ids.length + Object.keys(description.document.components.schemas).length - names.size;
    assert.equal(new Set(ids.map((id) => id.toLowerCase())).size, ids.length);
    assert.equal(shared, 0, "an operation and a type have one name");
    for (const word of ["delete", "export", "open", "location", "default", "import"]) assert.ok(!ids.includes(word), word);
  });

  test("has examples that are what their schemas say", () => {
    const { document } = description;
    let seen = 0;
    const look = (value, ...place) => {
      const errors = description.errors(value, ...place, "schema");
      assert.equal(errors, null, `${place.join(" ")}: ${JSON.stringify(value)}`);
      seen += 1;
    };
    const resolved = (example) => (example.$ref ? document.components.examples[example.$ref.split("/").at(-1)] : example);
    for (const { method, path, operation } of description.operations) {
      const places = Object.entries(operation.responses).map(([status, response]) => [["responses", status], response]);
      if (operation.requestBody) places.push([["requestBody"], operation.requestBody]);
      for (const [way, { content = {} }] of places) {
        for (const [type, { example, examples = {} }] of Object.entries(content)) {
          const place = ["paths", path, method, ...way, "content", type];
          if (example !== undefined) look(example, ...place);
          for (const one of Object.values(examples)) look(resolved(one).value, ...place);
        }
      }
    }
    assert.ok(seen > 500, `${seen}`);
    const properties = Object.entries(document.components.schemas).flatMap(([name, schema]) =>
      Object.entries(schema.properties ?? {}).map(([field, { example }]) => [name, field, example]),
    );
    for (const [name, field, example] of properties) {
      if (example === undefined) continue;
      const errors = description.errors(example, "components", "schemas", name, "properties", field);
      assert.equal(errors, null, `${name}.${field}`);
    }
  });

  test("takes no field that is not in it, and the server none either", async () => {
    const { body: user } = await call(server.url, "POST", "/v1/sessions");
    for (const { method, path, operation } of description.operations) {
      const content = operation.requestBody?.content["application/json"];
      if (!content || !path.startsWith("/v1/") || path === "/v1/data") continue;
      const place = ["paths", path, method, "requestBody", "content", "application/json", "schema"];
      const misspelled = { ...content.example, no_such_field: 1 };
      assert.notEqual(description.errors(misspelled, ...place), null, `${method} ${path}`);
      const refused = await call(server.url, method.toUpperCase(), filled(path), user.access_token, misspelled);
      assert.deepEqual([refused.status, refused.body.code], [422, "unknown-field"], `${method} ${path}`);
      const { status, body } = await call(server.url, method.toUpperCase(), filled(path), user.access_token, content.example);
      assert.notEqual(status, 422, `${method} ${path}: ${body?.detail}`);
    }
  });

  // `call` holds each answer against the description.
  test("has what the server answers to a stranger, whatever is asked", async () => {
    for (const { method, path } of description.operations) {
      const { status } = await call(server.url, method.toUpperCase(), filled(path));
      assert.ok(status < 500, `${method} ${path}: ${status}`);
    }
  });

  test("has what the server answers to a user in all that a user can do", async () => {
    const ask = (...request) => call(server.url, ...request);
    const { body: user } = await ask("POST", "/v1/sessions", undefined, { mode: "bearer" });
    const token = user.access_token;
    const good = async (status, ...request) => {
      const { body, status: answered } = await ask(...request);
      assert.equal(answered, status, `${request[0]} ${request[1]}: ${JSON.stringify(body)}`);
      return body;
    };
    await good(200, "PUT", "/v1/data", token, { visits: 3 });
    await good(200, "PATCH", "/v1/data", token, { theme: "dark" });
    await good(200, "POST", "/v1/data/increment", token, { path: "/visits" });
    await good(200, "GET", "/v1/data", token);
    await good(200, "GET", "/v1/meters", token);
    await good(200, "GET", "/v1/challenge");
    await good(200, "GET", "/.well-known/jwks.json");
    await good(201, "POST", "/v1/socket-ticket", token);
    const { code } = await good(201, "POST", "/v1/session/transfer", token);
    await good(201, "POST", "/v1/sessions", undefined, { provider: "transfer", code });
    const identity = { provider: "local-userpass", email: "grace@example.com", password: "correct horse battery staple" };
    await good(202, "POST", "/v1/registrations", undefined, { email: identity.email, password: identity.password });
    await good(200, "POST", "/v1/user/identities", token, { ...identity, dry_run: true });
    const account = (await good(200, "POST", "/v1/user/identities", token, identity)).access_token;
    await good(201, "POST", "/v1/user/api-keys", account, { name: "nightly-backup" });
    for (const path of ["session", "user/identities", "user/sessions", "user/api-keys", "user/export"]) await good(200, "GET", `/v1/${path}`, account);
    // a second visitor, who turns out to be the same person
    const visitor = (await good(201, "POST", "/v1/sessions")).access_token;
    await good(200, "PUT", "/v1/data", visitor, { theme: "light", draft: 1 });
    const merge = { ...identity, on_conflict: "merge" };
    await good(200, "POST", "/v1/user/identities", visitor, { ...merge, dry_run: true });
    const merged = await good(200, "POST", "/v1/user/identities", visitor, merge);
    await good(200, "GET", "/v1/session", merged.access_token);
    await good(200, "POST", "/v1/session/refresh", merged.refresh_token);
    await good(204, "GET", "/verify", account);
    await good(200, "DELETE", "/v1/data", account);
    await good(204, "DELETE", "/v1/user", account);
  });

  test("has what the server answers to an SDK", async () => {
    const { body: user, status } = await call(server.url, "POST", PATHS.login);
    assert.equal(status, 200);
    assert.equal((await call(server.url, "GET", PATHS.location)).status, 200);
    assert.equal((await call(server.url, "GET", PATHS.profile, user.access_token)).status, 200);
    assert.equal((await call(server.url, "POST", PATHS.session, user.refresh_token)).status, 201);
    assert.equal((await call(server.url, "DELETE", PATHS.session, user.refresh_token)).status, 204);
    assert.equal((await call(server.url, "GET", PATHS.profile, user.access_token)).status, 401);
  });
});
