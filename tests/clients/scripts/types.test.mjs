// The types of the page scripts: they are those of the scripts, and what people write with them compiles.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { startServer, SUITE_DEADLINE } from "../kit/server.mjs";

const FILES = ["passerby.js", "passerby.d.ts", "passerby-live.js", "passerby-live.d.ts"];

describe("the types of the page scripts", { timeout: SUITE_DEADLINE }, () => {
  let server;
  let home;
  before(async () => {
    server = await startServer(null);
    home = await mkdtemp(join(tmpdir(), "passerby-types-"));
    for (const folder of ["scripts", "types"]) await mkdir(join(home, folder));
    for (const file of FILES) {
      const answer = await fetch(`${server.url}/${file}`);
      assert.equal(answer.status, 200, file);
      if (file.endsWith(".d.ts")) assert.equal(answer.headers.get("content-type"), "text/plain; charset=utf-8");
      await writeFile(join(home, file.endsWith(".js") ? "scripts" : "types", file), await answer.text());
    }
  });
  after(async () => {
    await server?.close();
    if (home) await rm(home, { recursive: true, force: true });
  });

  /** Compiles a text, with both compilers. */
  async function compile(source) {
    await writeFile(join(home, "use.ts"), source);
    const compilerOptions = {
      noEmit: true, strict: true, allowJs: true, target: "es2022", module: "esnext", moduleResolution: "bundler",
      lib: ["es2022", "dom"], types: [],
      paths: Object.fromEntries(["passerby", "passerby-live"].map((name) => [`https://id.news.example/${name}.js`, [`./types/${name}.d.ts`]])),
    };
    await writeFile(join(home, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["use.ts"] }));
    for (const compiler of ["typescript", "typescript-7"]) {
      const tsc = fileURLToPath(import.meta.resolve(`${compiler}/package.json`).replace(/package\.json$/, "bin/tsc"));
      const ran = promisify(execFile)(process.execPath, [tsc, "-p", home]);
      await ran.catch(({ stdout }) => assert.fail(`${compiler}: ${stdout}`));
    }
  }

  for (const file of ["passerby", "passerby-live"]) {
    test(`${file}.d.ts has what ${file}.js has, and nothing else`, async () => {
      await compile(`
        import type * as Declared from "./types/${file}.js";
        import * as real from "./scripts/${file}.js";

        export const declared: typeof Declared = real;
        type Missing = Exclude<keyof typeof real, keyof typeof Declared>;
        export const missing: [Missing] extends [never] ? true : Missing = true;
      `);
    });
  }

  test("what the guide shows compiles, and mistakes do not", async () => {
    await compile(`
      import { logout, meter, PasserbyError, reader, type Meter } from "https://id.news.example/passerby.js";
      import { connect, type Changed } from "https://id.news.example/passerby-live.js";

      export async function page() {
        const id: string = await reader();
        try {
          const { allowed, remaining }: Meter = await meter("articles", location.pathname);
          if (!allowed) console.log(id, remaining);
        } catch (error) {
          if (error instanceof PasserbyError && error.status === 0) console.log(error.code, error.retryAfter);
        }
        await logout();
      }

      export async function live() {
        const connection = await connect({ token: async () => "token", base: "https://id.news.example" });
        const stop = connection.on("data", (data, version) => console.log(data.theme, version.toFixed()));
        connection.on("ended", (error) => console.log(error.code));
        connection.on("merged", (user, mergedUser) => console.log(user, mergedUser));
        await connection.set({ visits: 0 });
        const { value, version }: Changed = await connection.increment("/visits");
        stop();
        await connection.close();
        return [value, version, connection.status === "open"];
      }

      // @ts-expect-error no number names a meter
      meter(5);
      // @ts-expect-error nothing is told of this kind
      connect().then((connection) => connection.on("date", () => {}));
      // @ts-expect-error it is told, not set
      connect().then((connection) => { connection.version = 5; });
    `);
  });
});
