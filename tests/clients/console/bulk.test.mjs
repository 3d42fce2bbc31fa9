// Bulk jobs in the console: counted by a dry run, watched while they run, and stopped.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Console, tokenOf, withAdmins } from "../kit/console.mjs";
import { call, startServer, SUITE_DEADLINE } from "../kit/server.mjs";
import { until } from "../kit/wait.mjs";

/** So many that a job is watched before it is over. */
const BATCHES = 4;
const MANY = 1000;
const ALL = new Intl.NumberFormat("en").format(BATCHES * MANY);

describe("bulk jobs in the console", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;
  let token;

  before(async () => {
    browser = await startBrowser();
    server = await withAdmins(await startServer());
    token = await tokenOf(server);
    for (let made = 0; made < BATCHES; made += 1) {
      const { status } = await call(server.adminUrl, "POST", "/v1/admin/users/batch", token, { count: MANY });
      assert.equal(status, 201);
    }
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  const job = async () => (await call(server.adminUrl, "GET", "/v1/admin/bulk", token)).body;
  const disabled = async () => (await call(server.adminUrl, "GET", "/v1/admin/users/counts", token)).body.disabled;

  test("one is counted, watched by everybody, and stopped before it has changed all", async (t) => {
    const [console, other] = [await Console.of(t, browser, server, "operate"), await Console.of(t, browser, server, "read")];
    const { tab } = console;
    await console.go("users", "#users table");
    await console.press("Bulk action");
    assert.match(await console.dialog(), /This acts on all users/);
    await tab.choose("dialog select", "disable");
    await console.decide("Count users");
    await tab.see(`dialog ::-p-text(This disables ${ALL} users.)`);
    assert.equal(await console.focused(), "Cancel");
    assert.equal(await disabled(), 0, "a count changes nothing");
    // what was counted was the other action
    await tab.choose("dialog select", "enable");
    await tab.see("dialog footer ::-p-text(Count users)");
    await tab.choose("dialog select", "disable");
    await console.decide("Count users");
    await console.decide(`Disable ${ALL} users`);
    await tab.see(".job progress");
    await console.press("Stop");
    await console.said("It stops after the users whose change is under way.");
    await tab.see("main ::-p-text(The bulk job was stopped.)");
    const { state, users } = await job();
    assert.equal(state, "stopped");
    assert.ok(users.changed > 0 && users.changed < BATCHES * MANY, JSON.stringify(users));
    assert.equal(await disabled(), users.changed);
    await tab.see(`main ::-p-text(${new Intl.NumberFormat("en").format(users.changed)} users changed.)`);
    await other.go("users", "#users table");
    await other.press("Bulk action");
    await other.said("needs the role operate");
    console.done();
    other.done();
  });

  test("whoever comes while one runs sees how far it is, and the list when it is done", async (t) => {
    const console = await Console.of(t, browser, server, "operate");
    const { tab } = console;
    assert.equal((await call(server.adminUrl, "POST", "/v1/admin/bulk", token, { action: "delete", filter: {} })).status, 202);
    await console.go("users", ".job progress");
    const share = () => tab.evaluate(() => { const bar = document.querySelector(".job progress"); return bar ? bar.value / bar.max : 1; });
    const first = await share();
    await until("it goes on", async () => ((await share()) > first ? true : undefined));
    await console.press("Bulk action");
    await console.decide("Count users");
    assert.match(await tab.read("dialog .failed"), /under way/);
    await console.cancel();
    await tab.see("main ::-p-text(The bulk job is done.)");
    await tab.see(`main ::-p-text(${ALL} users deleted.)`);
    await tab.see("#users .empty");
    console.done();
  });
});
