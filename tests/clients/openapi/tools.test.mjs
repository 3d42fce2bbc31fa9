// What people make of the description of the API: the linter and the generators of clients take it, and what they write works.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { startServer, SUITE_DEADLINE } from "../kit/server.mjs";

const NODE_MODULES = fileURLToPath(new URL("../node_modules", import.meta.url));
const bin = (name) => join(NODE_MODULES, ".bin", name);

/** With which everything that is generated has to compile. */
const COMPILERS = ["typescript", "typescript-7"];
const OPTIONS = {
  strict: true,
  target: "es2022",
  module: "esnext",
  moduleResolution: "bundler",
  lib: ["es2022", "dom", "dom.iterable"],
  types: [],
  skipLibCheck: true,
};

describe("tools that read the description of the API", { timeout: SUITE_DEADLINE }, () => {
  let server;
  let home;
  before(async () => {
    server = await startServer(null);
    home = await mkdtemp(join(tmpdir(), "passerby-openapi-"));
    // what is generated may import what is installed here
    await symlink(NODE_MODULES, join(home, "node_modules"));
    await writeFile(join(home, "package.json"), JSON.stringify({ type: "module" }));
    const answer = await fetch(`${server.url}/openapi.json`);
    await writeFile(join(home, "openapi.json"), await answer.text());
  });
  after(async () => {
    await server?.close();
    if (home) await rm(home, { recursive: true, force: true });
  });

  /** Runs a program in the folder; its output is the message if it fails. */
  async function run(program, ...args) {
    const environment = { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true", NO_COLOR: "1" };
    const ran = promisify(execFile)(program, args, { cwd: home, env: environment, maxBuffer: 1 << 24 });
    const { stdout } = await ran.catch((error) => assert.fail(`${error.message}\n${error.stdout}`));
    return stdout;
  }

  /** Compiles files of a folder below. */
  async function compile(folder, compiler, emit = {}) {
    const config = join(home, folder, `tsconfig.${compiler}.json`);
    await writeFile(config, JSON.stringify({ compilerOptions: { noEmit: true, ...OPTIONS, ...emit }, include: ["**/*.ts"] }));
    await run(process.execPath, join(NODE_MODULES, compiler, "bin", "tsc"), "-p", config);
  }

  test("redocly finds no error, and warns of what is meant so alone", async () => {
    const { totals, problems } = JSON.parse(await run(bin("redocly"), "lint", "openapi.json", "--format=json"));
    assert.equal(totals.errors, 0, JSON.stringify(problems, null, 1));
    const rules = new Set(problems.map(({ ruleId }) => ruleId));
    // redirects, a socket, a refusal and the public keys
    assert.deepEqual([...rules].sort(), ["operation-2xx-response", "operation-4xx-response"]);
    assert.equal(totals.warnings, problems.length);
  });

  for (const [name, generate] of [
    ["orval", async (folder) => {
      const config = { passerby: { input: "./openapi.json", output: { target: `./${folder}/client.ts`, client: "fetch" } } };
      await writeFile(join(home, "orval.config.mjs"), `export default ${JSON.stringify(config)}`);
      await run(bin("orval"), "--config", "orval.config.mjs");
    }],
    ["hey-api", (folder) => run(bin("openapi-ts"), "-i", "openapi.json", "-o", `./${folder}`)],
    ["openapi-typescript", (folder) => run(bin("openapi-typescript"), "openapi.json", "-o", `./${folder}/api.ts`)],
  ]) {
    test(`${name} writes what compiles`, async () => {
      const folder = `of-${name}`;
      await mkdir(join(home, folder), { recursive: true });
      await generate(folder);
      for (const compiler of COMPILERS) await compile(folder, compiler);
    });
  }

  test("a client of the generated types logs in, saves, and is told what is wrong", async () => {
    const folder = "client";
    await mkdir(join(home, folder));
    await run(bin("openapi-typescript"), "openapi.json", "-o", `./${folder}/api.ts`);
    await writeFile(join(home, folder, "client.ts"), `
      import createClient from "openapi-fetch";
      import type { components, paths } from "./api.js";

      type Tokens = components["schemas"]["SessionTokens"];

      export async function use(baseUrl: string) {
        const client = createClient<paths>({ baseUrl });
        const { data: begun, error } = await client.POST("/v1/sessions", { body: { mode: "bearer" } });
        if (error) throw new Error(error.code);
        const tokens = begun as Tokens;
        const headers = { Authorization: \`Bearer \${tokens.access_token}\` };
        await client.PUT("/v1/data", { headers, body: { visits: 3 } });
        const { data: changed } = await client.POST("/v1/data/increment", { headers, body: { path: "/visits" } });
        const { data: document } = await client.GET("/v1/data", { headers });
        const { data: session } = await client.GET("/v1/session", { headers });
        const refused = await client.POST("/v1/sessions", {
          body: { provider: "local-userpass", email: "ada@example.com", password: "wrong" },
        });
        return { tokens, changed, document, session, code: refused.error?.code };
      }

      // @ts-expect-error a field that is misspelled
      export const misspelled: components["schemas"]["LoginRequest"] = { mod: "bearer" };
    `);
    const emit = { noEmit: false, outDir: join(home, folder, "out"), rootDir: join(home, folder) };
    for (const compiler of COMPILERS) await compile(folder, compiler, emit);
    const { use } = await import(pathToFileURL(join(home, folder, "out", "client.js")));
    const { tokens, changed, document, session, code } = await use(server.url);
    assert.equal(changed.value, 4);
    assert.deepEqual(document, { visits: 4 });
    assert.equal(session.user_id, tokens.user_id);
    assert.equal(session.anonymous, true);
    assert.equal(code, "provider-disabled");
  });

  test("the client that hey-api writes logs in", async () => {
    const folder = "hey-client";
    await run(bin("openapi-ts"), "-i", "openapi.json", "-o", `./${folder}`);
    const emit = { noEmit: false, outDir: join(home, folder, "out"), rootDir: join(home, folder), module: "commonjs", moduleResolution: "node10" };
    await compile(folder, "typescript", emit);
    await writeFile(join(home, folder, "out", "package.json"), JSON.stringify({ type: "commonjs" }));
    const { createSession, getSession } = (await import(pathToFileURL(join(home, folder, "out", "index.js")))).default;
    const { data: tokens } = await createSession({ baseUrl: server.url, body: {}, throwOnError: true });
    const headers = { Authorization: `Bearer ${tokens.access_token}` };
    const { data: session } = await getSession({ baseUrl: server.url, headers, throwOnError: true });
    assert.equal(session.user_id, tokens.user_id);
  });
});
