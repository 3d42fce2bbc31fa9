// asyncapi.json itself: valid, complete, and what these files hear of it.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";

import Ajv from "ajv";

import { ASYNCAPI, HEARD, isRequest, isValid } from "../kit/asyncapi.mjs";
import { call, SUITE_DEADLINE } from "../kit/server.mjs";
import { startPasserby } from "../kit/socket.mjs";

describe("the socket", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startPasserby(null);
  });
  after(() => server?.close());

  describe("its description", () => {
    test("is valid AsyncAPI 3.0.0", () => {
      const require = createRequire(import.meta.url);
      const schema = require("@asyncapi/specs").schemas["3.0.0"];
      // The schema has that of schemas in it, which Ajv brings too; and names formats that Ajv does not know.
      const ajv = new Ajv({ strict: false, meta: false, validateSchema: false, validateFormats: false });
      const validate = ajv.compile(schema);
      assert.equal(validate(ASYNCAPI), true, JSON.stringify(validate.errors, null, 2));
      assert.equal(ASYNCAPI.asyncapi, "3.0.0");
      assert.equal(ASYNCAPI.info.version, "1.0.0");
    });

    test("refers to nothing that it does not have", () => {
      const refer = (value) => {
        if (value === null || typeof value !== "object") return;
        if (typeof value.$ref === "string") {
          const parts = value.$ref.replace(/^#\//, "").split("/");
          assert.ok(
            parts.reduce((at, part) => at?.[part], ASYNCAPI),
            value.$ref,
          );
        }
        Object.values(value).forEach(refer);
      };
      refer(ASYNCAPI);
    });

    test("has examples that are what they are examples of", () => {
      for (const [name, { examples }] of Object.entries(ASYNCAPI.components.messages)) {
        assert.ok(examples.length > 0, name);
        for (const { payload } of examples) assert.ok(isValid(name, payload), `${name}: ${JSON.stringify(payload)}`);
      }
    });

    test("is the one that is served", async () => {
      const { status, contentType, body } = await call(server.url, "GET", "/asyncapi.json");
      assert.equal(status, 200);
      assert.equal(contentType, "application/json");
      assert.deepEqual(body, ASYNCAPI);
    });

    test("has no message of a server that no client in one of these files hears", async () => {
      const here = new URL(".", import.meta.url);
      const said = Object.keys(ASYNCAPI.components.messages).filter((name) => !isRequest(name));
      assert.deepEqual([...new Set(Object.values(HEARD).flat())].sort(), said.sort());
      const files = (await readdir(here)).map((name) => name.replace(".test.mjs", ""));
      assert.deepEqual(files.filter((name) => name !== "description").sort(), Object.keys(HEARD).sort());
      for (const name of Object.keys(HEARD)) {
        const text = await readFile(new URL(`${name}.test.mjs`, here), "utf8");
        assert.ok(text.includes(`assertHeard("${name}")`), name);
      }
    });
  });
});
