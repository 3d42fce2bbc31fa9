// Logging in at the console, and what each role may do there.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { ADMINS, Console, named, newReader, PASSWORD, withAdmins } from "../kit/console.mjs";
import { startServer, SUITE_DEADLINE } from "../kit/server.mjs";

describe("logging in", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;

  before(async () => {
    browser = await startBrowser();
    server = await withAdmins(await startServer());
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test("the page loads nothing from elsewhere and runs nothing that stands in it", async () => {
    const page = await fetch(`${server.adminUrl}/`, { headers: { accept: "text/html" } });
    const policy = page.headers.get("content-security-policy");
    for (const wanted of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"]) {
      assert.ok(policy.includes(wanted), policy);
    }
    assert.equal(page.headers.get("x-content-type-options"), "nosniff");
    assert.equal(page.headers.get("cache-control"), "no-cache");
    const again = await fetch(`${server.adminUrl}/`, { headers: { accept: "text/html", "if-none-match": page.headers.get("etag") } });
    assert.equal(again.status, 304);
    const json = await fetch(`${server.adminUrl}/`);
    const told = await json.json();
    assert.deepEqual(Object.keys(told).sort(), ["deployment", "health", "metrics", "readiness", "status"]);
    assert.deepEqual([told.status, told.deployment], ["serving", 1]);
    assert.equal((await fetch(`${server.url}/console/main.js`)).status, 404, "not on the public listener");
  });

  test("a wrong password is told, a right one opens the page that was asked for, and logging out ends it", async (t) => {
    const console = await Console.open(t, browser, server, "#/audit");
    const { tab } = console;
    await tab.type("input[name=name]", ADMINS.owner);
    await tab.type("input[name=password]", "not that one at all");
    await tab.press("Enter");
    assert.match(await tab.read("[role=alert]"), /name or the password is not right/);
    await console.logIn(ADMINS.owner, PASSWORD);
    assert.equal(await tab.read("main h1"), "Audit");
    const [cookie] = (await tab.cookies()).filter(({ name }) => name === "passerby-admin");
    assert.ok(cookie.httpOnly && cookie.sameSite === "Strict");
    await tab.visit(`${server.adminUrl}/#/users`);
    await tab.see("#users");
    await tab.click("#log-out");
    await tab.see("form.login");
    assert.deepEqual((await tab.cookies()).filter(({ name }) => name === "passerby-admin"), []);
    console.done();
  });

  test("the keyboard alone is enough, and it begins where one reads", async (t) => {
    const console = await Console.open(t, browser, server);
    const { tab } = console;
    await tab.see("form.login");
    assert.equal(await tab.evaluate(() => document.activeElement.name), "name");
    await tab.keys(ADMINS.read);
    await tab.press("Tab");
    await tab.keys(PASSWORD);
    await tab.press("Enter");
    await tab.see("#nav");
    await tab.press("Tab");
    assert.equal(await console.focused(), "Skip to the page");
    await tab.press("Enter");
    assert.equal(await tab.evaluate(() => document.activeElement.id), "main");
    await tab.press("/");
    await tab.see("#find:focus");
    console.done();
  });

  test("what the role may not do says why, and the server refuses it too", async (t) => {
    const { user } = await newReader(server);
    const console = await Console.of(t, browser, server, "read");
    await console.go(`users/${user}`, ".columns");
    await console.press("Delete user");
    await console.said("needs the role operate, and yours is read");
    assert.equal(await console.tab.evaluate(() => document.querySelector("dialog")), null);
    const answer = await console.tab.evaluate(
      async (path) => (await fetch(path, { method: "DELETE", headers: { "x-passerby-admin": "1" } })).status,
      `/v1/admin/users/${user}`,
    );
    assert.equal(answer, 403);
    await console.go("admins");
    assert.match(await console.tab.read("main .note"), /needs the role owner/);
    await console.tab.see(named("Create admin"));
    console.done();
  });

  test("a session that ended elsewhere leads back to the login, and on to the same page", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("audit");
    await console.tab.evaluate(() => fetch("/v1/admin/logout", { method: "POST", headers: { "x-passerby-admin": "1" } }));
    await console.tab.evaluate(() => void (location.hash = "#/users"));
    assert.match(await console.tab.read("[role=alert]"), /session has ended/);
    await console.logIn(ADMINS.owner);
    await console.tab.see("#users nav, #users .paging, #users .empty");
    console.done();
  });

  test("while the server cannot be reached the console says so, and goes on by itself", async (t) => {
    const own = await withAdmins(await startServer(t));
    const console = await Console.of(t, browser, own);
    await console.go("audit", ".entries");
    await own.stop();
    await console.tab.evaluate(() => void (location.hash = "#/users"));
    assert.match(await console.tab.read("#waiting"), /cannot be reached/);
    await own.start();
    await console.tab.see("#users .empty");
    await console.tab.see("#waiting:empty");
  });
});
