// The JavaScript in the documents: each example can be read, and the README's logs in as it stands.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { startServer, SUITE_DEADLINE } from "../kit/server.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** Runs a module, or only reads it; imports are looked for here. Answers what it prints. */
async function node(code, ...flags) {
  const run = promisify(execFile)(process.execPath, [...flags, "--input-type=module", "-"], { cwd: HERE });
  run.child.stdin.end(code);
  return (await run).stdout.trim();
}

/** The examples in a document; of a page, its scripts. */
async function examples(document) {
  const text = await readFile(`${ROOT}${document}`, "utf8");
  const blocks = [...text.matchAll(/^```(js|html)\n(.*?)^```$/gms)];
  return blocks.map(([, language, code]) => (language === "js" ? code : /<script.*?>(.*?)<\/script>/s.exec(code)[1]));
}

describe("the documents", { timeout: SUITE_DEADLINE }, () => {
  test("each example is a module", async () => {
    const names = (await readdir(`${ROOT}docs`)).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`);
    let count = 0;
    for (const document of ["README.md", ...names]) {
      for (const code of await examples(document)) {
        await assert.doesNotReject(node(code, "--check"), `${document}:\n${code}`);
        count += 1;
      }
    }
    assert.ok(count >= 6, `${count}`);
    await assert.rejects(node("const user = ;", "--check"));
  });

  test("the README's app logs in", async (t) => {
    const server = await startServer(t);
    const [code] = await examples("README.md");
    assert.match(code, /http:\/\/127\.0\.0\.1:8080/);
    const here = code.replace("http://127.0.0.1:8080", server.url);
    assert.match(await node(`${here}\nconsole.log(user.id);`), /^[0-9a-f]{24}$/);
  });
});
