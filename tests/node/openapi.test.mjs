// The description of the API is valid, complete and true.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Validator } from "@seriousme/openapi-schema-validator";

import { call, PATHS, startServer, SUITE_DEADLINE } from "./server.mjs";

// Each operation with the status of its success; null where only that there is one matters.
const OPERATIONS = [
  ["get", PATHS.location, "200"],
  ["post", PATHS.login, "200"],
  ["get", PATHS.profile, "200"],
  ["post", PATHS.session, "201"],
  ["delete", PATHS.session, "204"],
  ["delete", PATHS.delete, "204"],
  ["post", "/v1/sessions", null],
  ["get", "/v1/session", null],
  ["delete", "/v1/session", null],
  ["post", "/v1/session/refresh", null],
  ["delete", "/v1/user", null],
  ["get", "/.well-known/jwks.json", "200"],
];

/** Whether a path of the description, with its parameters, stands for this one. */
function covers(template, path) {
  const parts = template.split("/");
  const wanted = path.split("/");
  return parts.length === wanted.length && parts.every((part, i) => /^\{.+\}$/.test(part) || part === wanted[i]);
}

/** The operation as the description has it; a path without parameters goes before one with. */
function describedOperation(document, method, path) {
  return Object.entries(document.paths)
    .filter(([template]) => covers(template, path))
    .sort(([a], [b]) => a.split("{").length - b.split("{").length)
    .map(([, item]) => item[method])
    .find((operation) => operation !== undefined);
}

describe("the description of the API", { timeout: SUITE_DEADLINE }, () => {
  let server;
  let answer;
  let document;
  before(async () => {
    server = await startServer(null);
    answer = await call(server.url, "GET", "/openapi.json");
    document = answer.body;
  });
  after(() => server?.close());

  test("is served as JSON", () => {
    assert.equal(answer.status, 200);
    assert.equal(answer.contentType, "application/json");
  });

  test("is valid OpenAPI 3.1, and all it refers to is in it", async () => {
    const validator = new Validator();
    const result = await validator.validate(structuredClone(document));
    assert.equal(result.valid, true, JSON.stringify(result.errors, null, 2));
    assert.equal(validator.version, "3.1");
  });

  test("gives every operation an id of its own", () => {
    const methods = ["get", "put", "post", "delete", "patch"];
    const ids = Object.values(document.paths).flatMap((item) =>
      methods.filter((method) => method in item).map((method) => item[method].operationId),
    );
    assert.ok(ids.length >= OPERATIONS.length);
    for (const id of ids) assert.equal(typeof id, "string");
    assert.equal(new Set(ids).size, ids.length, "generated clients name their functions after them");
  });

  for (const [method, path, success] of OPERATIONS) {
    test(`has ${method.toUpperCase()} ${path}, and the server answers as it says`, async () => {
      const operation = describedOperation(document, method, path);
      assert.ok(operation, "it is described");

      const statuses = Object.keys(operation.responses);
      if (success !== null) assert.ok(statuses.includes(success), `${success} among ${statuses}`);
      assert.ok(statuses.some((status) => status.startsWith("2")), `a success among ${statuses}`);

      // A stranger asks, without a token and without a body.
      const { status } = await call(server.url, method.toUpperCase(), path);
      assert.ok(status !== 404 && status !== 405 && status < 500, `${status}: the server has this operation`);
      const covering = [String(status), `${String(status)[0]}XX`, "default"];
      assert.ok(covering.some((status) => statuses.includes(status)), `${status} among ${statuses}`);
    });
  }
});
