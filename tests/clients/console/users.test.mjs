// Users in the console: found by anything, listed, and each act on one or on many, which says before what it will do.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Console, named, newReader, readerOf, withAdmins } from "../kit/console.mjs";
import { call, startServer, SUITE_DEADLINE } from "../kit/server.mjs";
import { until } from "../kit/wait.mjs";

const SESSIONS = "/v1/sessions";
const ME = "/v1/session";

describe("users in the console", { timeout: SUITE_DEADLINE }, () => {
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

  const find = async (console, text) => {
    await console.go("users", "#find");
    await console.tab.type("#find", text);
    await console.press("Find");
  };

  test("a reader's cookie finds the reader, whose next page is a stranger's once the session is ended", async (t) => {
    const { cookie, user } = await newReader(server);
    assert.equal(await readerOf(server, cookie), user);
    const console = await Console.of(t, browser, server);
    await find(console, cookie);
    await console.said("Found by a reader’s cookie.");
    await console.tab.see(".columns");
    assert.equal(await console.tab.read("h1 code, .page-head code"), user);
    assert.ok(!console.tab.url.includes(cookie.split("=")[1]), "the cookie is in no address");

    await console.tab.click("td.end button");
    assert.match(await console.dialog(), /stop working at once.+user and all of its data are deleted/s);
    assert.equal(await console.focused(), "Cancel", "the safe way is the one at hand");
    await console.tab.press("Escape");
    await console.tab.see("body:not(:has(dialog))");
    assert.equal(await readerOf(server, cookie), user, "Escape changes nothing");

    await console.tab.click("td.end button");
    await console.decide("End session");
    await console.said("the anonymous user is deleted");
    assert.equal(await readerOf(server, cookie), null);
    console.done();
  });

  test("an id, an access token and a session's id find the same user; nothing finds nobody", async (t) => {
    const { body } = await call(server.url, "POST", SESSIONS);
    const console = await Console.of(t, browser, server);
    for (const text of [body.user_id, body.access_token, body.refresh_token, body.session_id]) {
      await find(console, text);
      await console.tab.see(".columns");
      assert.equal(await console.tab.read(".page-head code"), body.user_id);
    }
    await find(console, "nobody@nowhere.example");
    assert.match(await console.tab.read("#found .empty"), /Nobody here/);
    console.done();
  });

  test("disabled with a reason, a user is refused until enabled, and deleted is gone", async (t) => {
    const { body } = await call(server.url, "POST", SESSIONS);
    const status = async () => (await call(server.url, "GET", ME, body.access_token)).status;
    assert.equal(await status(), 200);
    const console = await Console.of(t, browser, server, "operate");
    await console.go(`users/${body.user_id}`, ".columns");
    await console.press("Disable");
    assert.match(await console.dialog(), /Every request of this user is refused/);
    await console.decide("Disable");
    await console.said("The user is disabled.");
    assert.equal(await status(), 403);
    await console.press("Enable");
    assert.equal(await console.focused(), "Cancel");
    await console.decide("Enable");
    await console.said("The user is enabled.");
    assert.equal(await status(), 200);
    await console.press("Delete user");
    assert.match(await console.dialog(), /deleted for good.+gets a new id/s);
    assert.equal(await console.focused(), "Cancel");
    await console.decide("Delete user");
    await console.said("The user is deleted.");
    assert.equal(await status(), 401);
    await console.go(`users/${body.user_id}`, ".empty");
    assert.match(await console.tab.read(".page .empty"), /not here/);
    console.done();
  });

  test("all sessions of a user end, and of an anonymous one the console says that it is deleted", async (t) => {
    const { body } = await call(server.url, "POST", SESSIONS);
    const console = await Console.of(t, browser, server);
    await console.go(`users/${body.user_id}`, ".columns");
    await console.press("End all sessions");
    assert.match(await console.dialog(), /1 session ends at once.+all of its data are deleted/s);
    await console.decide("End all sessions");
    await console.said("the anonymous user is deleted");
    assert.equal((await call(server.url, "GET", ME, body.access_token)).status, 401);
    console.done();
  });

  test("the list goes page by page, forward and back, with a filter in the address", async (t) => {
    const own = await withAdmins(await startServer(t));
    for (let made = 0; made < 120; made += 1) assert.equal((await call(own.url, "POST", SESSIONS)).status, 201);
    const console = await Console.of(t, browser, own);
    await console.go("users?anonymous=true", "#users table");
    const ids = () => console.tab.evaluate(() => [...document.querySelectorAll("#users .id")].map(({ textContent }) => textContent));
    const seen = [await ids()];
    for (const page of [2, 3]) {
      await console.press("Next", "link");
      await console.tab.see(`#users ::-p-text(Page ${page})`);
      seen.push(await ids());
    }
    assert.deepEqual(seen.map(({ length }) => length), [50, 50, 20]);
    assert.equal(new Set(seen.flat()).size, 120);
    await console.press("Back", "link");
    await console.tab.see("#users ::-p-text(Page 2)");
    assert.deepEqual(await ids(), seen[1]);
    assert.match(await console.tab.read(".chips [aria-current]"), /Anonymous\s+120/);
    await console.go("users?disabled=true", "#users .empty");
    assert.match(await console.tab.read("#users .empty"), /No user fits/);
    console.done();
  });

  test("a bulk job counts first, says how many, and acts when told to", async (t) => {
    const own = await withAdmins(await startServer(t));
    const tokens = [];
    for (let made = 0; made < 30; made += 1) tokens.push((await call(own.url, "POST", SESSIONS)).body.access_token);
    const console = await Console.of(t, browser, own, "operate");
    await console.go("users?anonymous=true", "#users table");
    await console.press("Bulk action");
    assert.match(await console.dialog(), /users who are anonymous/);
    await console.tab.choose("dialog select", "delete");
    await console.decide("Count users");
    await console.tab.see("dialog ::-p-text(This deletes 30 users for good.)");
    assert.equal(await console.focused(), "Cancel");
    assert.equal((await call(own.url, "GET", ME, tokens[0])).status, 200, "a count changes nothing");
    await console.decide("Delete 30 users");
    await console.tab.see("main ::-p-text(30 users deleted.)");
    await until("they are gone", async () => ((await call(own.url, "GET", ME, tokens[29])).status === 401 ? true : undefined));
    await console.tab.see("#users .empty");
    await console.go("audit", ".entries");
    await console.tab.see("main ::-p-text(bulk.begin)");
    console.done();
  });
});
