// Commands on a real pseudo-terminal: what is asked before something that cannot be taken back, Ctrl-C, and what is drawn.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { call, startServer, SUITE_DEADLINE } from "../kit/server.mjs";

const CTRL_C = "\x03";

describe("commands on a terminal", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.close());

  const env = { PATH: process.env.PATH, TERM: "xterm" };
  const ofServer = () => ["--data-dir", join(server.home, "data")];

  /** What a command writes and how it ends; `keys` are pressed once it asks. */
  function ended(child, keys) {
    return new Promise((resolve, reject) => {
      let [out, asked] = ["", false];
      const read = (bytes) => {
        out += bytes;
        if (!asked && out.includes("[y/N]")) {
          asked = true;
          child.stdin.write(keys);
        }
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.on("error", reject);
      child.on("close", (code) => resolve({ out, code }));
    });
  }

  /** On a pseudo-terminal, which `script` (util-linux) lays. */
  function onTerminal(keys, ...args) {
    const quoted = [process.env.PASSERBY_BIN, ...args, ...ofServer()].map((arg) => `'${arg}'`).join(" ");
    return ended(spawn("script", ["-qefc", quoted, "/dev/null"], { cwd: server.home, env }), keys);
  }

  function throughPipes(...args) {
    const child = spawn(process.env.PASSERBY_BIN, [...args, ...ofServer()], { cwd: server.home, env });
    child.stdin.end();
    return ended(child, "");
  }

  async function newUser() {
    const { body } = await call(server.url, "POST", "/v1/sessions");
    return { token: body.access_token, id: body.user_id };
  }

  const isThere = async ({ token }) => (await call(server.url, "GET", "/v1/session", token)).status === 200;

  test("a no and Ctrl-C at the question do nothing, and a yes deletes", async () => {
    const user = await newUser();
    for (const what of [[user.id], ["--anonymous"]]) {
      const no = await onTerminal("n\n", "users", "delete", ...what);
      assert.match(no.out, /Go on\? \[y\/N\][^]*nothing was done/);
      assert.notEqual(no.code, 0);
      const broken = await onTerminal(CTRL_C, "users", "delete", ...what);
      assert.equal(broken.code, 130, broken.out);
      assert.ok(await isThere(user));
    }
    const yes = await onTerminal("y\n", "users", "delete", user.id);
    assert.equal(yes.code, 0, yes.out);
    assert.ok(!(await isThere(user)));
  });

  test("what many users become is drawn on a terminal, with what Ctrl-C leaves, and written in plain lines elsewhere", async () => {
    const [one, two] = [await newUser(), await newUser()];
    const drawn = await onTerminal("y\n", "users", "disable", "--anonymous");
    assert.equal(drawn.code, 0, drawn.out);
    assert.match(drawn.out, /2 users fit: this disables 2 users\. Go on\? \[y\/N\]/);
    assert.match(drawn.out, /the server goes on with it also if this command ends; `passerby users job --stop` stops it/);
    assert.ok(drawn.out.includes("\x1b["), "the bar moves the cursor");
    assert.match(drawn.out, /2 users fit, 2 changed/);

    const asked = await throughPipes("users", "delete", "--anonymous");
    assert.notEqual(asked.code, 0);
    assert.match(asked.out, /there is no terminal to ask on whether to do this: say --yes to do it unasked/);
    const written = await throughPipes("users", "delete", "--anonymous", "--yes");
    assert.equal(written.code, 0, written.out);
    assert.match(written.out, /^job \d+, delete: done; 2 users fit, 0 changed, 2 deleted, 0 were so already, 0 busy\n$/);
    for (const user of [one, two]) assert.ok(!(await isThere(user)));
  });
});
