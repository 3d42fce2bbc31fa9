// What several people, or one with quick fingers, do at the same time: an act is done to whom it was shown for, and its end is told.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Console, tokenOf, withAdmins } from "../kit/console.mjs";
import { call, startServer, SUITE_DEADLINE } from "../kit/server.mjs";

const BULK = "/v1/admin/bulk";

/** Holds the requests that fit until it is told to let them go. */
async function hold(console, fits) {
  let letGo;
  let isAsked;
  const held = new Promise((resolve) => (letGo = resolve));
  const asked = new Promise((resolve) => (isAsked = resolve));
  await console.tab.meet(async (request) => {
    if (!fits(request)) return;
    isAsked();
    await held;
  });
  return { asked, letGo };
}

describe("races in the console", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;
  let token;

  before(async () => {
    browser = await startBrowser();
    server = await withAdmins(await startServer());
    token = await tokenOf(server);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  const newUser = async () => (await call(server.url, "POST", "/v1/sessions")).body.user_id;
  const admin = (method, path, body) => call(server.adminUrl, method, path, token, body);
  const statusOf = async (user) => (await admin("GET", `/v1/admin/users/${user}`)).status;

  test("a dialog is closed with its page, and says whom it is about", async (t) => {
    const [first, second] = [await newUser(), await newUser()];
    const console = await Console.of(t, browser, server);
    await console.go(`users/${first}`, ".columns");
    for (const name of ["Disable", "End all sessions", "Delete user"]) {
      await console.press(name);
      assert.match(await console.dialog(), new RegExp(first), name);
      await console.tab.press("Escape");
      await console.tab.see("body:not(:has(dialog))");
    }
    await console.tab.click("td.end button");
    assert.match(await console.dialog(), new RegExp(first), "End session");
    await console.tab.press("Escape");
    await console.go(`users/${second}`, ".columns");
    await console.press("Delete user");
    assert.match(await console.dialog(), new RegExp(second));
    await console.tab.back();
    await console.tab.see(`.page-head ::-p-text(${first})`);
    await console.tab.see("body:not(:has(dialog))");
    assert.deepEqual([await statusOf(first), await statusOf(second)], [200, 200]);
    console.done();
  });

  test("what is under way cannot be cancelled, and its end is told", async (t) => {
    const user = await newUser();
    const console = await Console.of(t, browser, server);
    await console.go(`users/${user}`, ".columns");
    const { asked, letGo } = await hold(console, ({ method }) => method === "DELETE");
    await console.press("Delete user");
    await console.decide("Delete user");
    await asked;
    await console.tab.evaluate(() => document.querySelector("dialog .cancel").click());
    await console.tab.evaluate(() => document.querySelector("dialog .icon-button").click());
    await console.tab.press("Escape", "Escape");
    await console.tab.evaluate(() => document.querySelector("dialog").dispatchEvent(new MouseEvent("mousedown", { bubbles: true })));
    await console.tab.see("dialog[open]");
    letGo();
    await console.said("The user is deleted.");
    await console.tab.see("#users");
    assert.equal(await statusOf(user), 404);
    console.done();
  });

  test("whoever leaves the page meanwhile is told the end, and stays where they went", async (t) => {
    const [done, refused] = [await newUser(), await newUser()];
    for (const user of [done, refused]) {
      const console = await Console.of(t, browser, server);
      await console.go("audit", ".entries");
      await console.go(`users/${user}`, ".columns");
      const { asked, letGo } = await hold(console, ({ method }) => method === "DELETE");
      await console.press("Delete user");
      await console.decide("Delete user");
      await asked;
      await console.tab.back();
      await console.tab.see("main .entries");
      if (user === refused) assert.equal((await admin("DELETE", `/v1/admin/users/${user}`)).status, 204);
      letGo();
      await console.said(user === done ? "The user is deleted." : "This user is not there.");
      assert.equal(await console.tab.read("main h1"), "Audit");
      console.done();
    }
  });

  test("what cannot be undone begins on Cancel, also where something is chosen first", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("keys", "table");
    await console.press("Rotate");
    await console.dialog();
    assert.equal(await console.focused(), "Cancel");
    console.done();
  });

  test("a count is of the action that is begun, and of no other admin's job", async (t) => {
    const own = await withAdmins(await startServer(t));
    const users = [];
    for (let made = 0; made < 3; made += 1) users.push((await call(own.url, "POST", "/v1/sessions")).body.user_id);
    const other = await tokenOf(own);
    const console = await Console.of(t, browser, own);
    await console.go("users", "#users table");
    const { asked, letGo } = await hold(console, ({ method, path }) => method === "GET" && path === BULK);
    await console.press("Bulk action");
    await console.tab.choose("dialog select", "delete");
    await console.decide("Count users");
    await asked;
    await console.tab.see("dialog select:disabled");
    await call(own.adminUrl, "POST", `/v1/admin/users/${users[0]}/disable`, other, {});
    const job = await call(own.adminUrl, "POST", BULK, other, { action: "enable", filter: { disabled: true }, dry_run: true });
    assert.equal(job.status, 202);
    letGo();
    assert.match(await console.tab.read("dialog .failed"), /Another bulk job was begun meanwhile.+Count again/);
    await console.decide("Count users");
    await console.tab.see("dialog ::-p-text(This deletes 3 users for good.)");
    await console.tab.choose("dialog select:not(:disabled)", "enable");
    await console.decide("Count users");
    await console.tab.see("dialog ::-p-text(This enables 1 user.)");
    console.done();
  });

  test("the second bulk job shows its own result, and the list what it did", async (t) => {
    const own = await withAdmins(await startServer(t));
    for (let made = 0; made < 2; made += 1) assert.equal((await call(own.url, "POST", "/v1/sessions")).status, 201);
    const console = await Console.of(t, browser, own);
    await console.go("users", "#users table");
    const act = async (action, label) => {
      await console.press("Bulk action");
      await console.tab.choose("dialog select", action);
      await console.decide("Count users");
      await console.decide(label);
      await console.tab.see("body:not(:has(dialog))");
    };
    await act("disable", "Disable 2 users");
    await console.tab.see("#users tr:nth-child(2) .badge.bad");
    await act("enable", "Enable 2 users");
    await console.tab.see("#users:not(:has(.badge.bad)) table");
    await act("delete", "Delete 2 users");
    await console.tab.see("main ::-p-text(2 users deleted.)");
    await console.tab.see("#users .empty");
    console.done();
  });
});
