// Users who are created by hand in the console: one, with an account or a session, and many for a test.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Credentials, newApp } from "../kit/client.mjs";
import { Console, withAdmins } from "../kit/console.mjs";
import { call, startServerWith, SUITE_DEADLINE } from "../kit/server.mjs";
import { until } from "../kit/wait.mjs";

const SETTINGS = "[provider.local_userpass.config]\nautoConfirm = true\n";
const ID = "0123456789abcdef01234567";

describe("creating users in the console", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;

  before(async () => {
    browser = await startBrowser();
    server = await withAdmins(await startServerWith(undefined, SETTINGS));
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test("one has the id and the document that were given, and its tokens are shown once", async (t) => {
    const console = await Console.of(t, browser, server, "operate");
    const { tab } = console;
    await console.go("users", "#users .empty");
    await console.press("Create users");
    // by keyboard alone: from how many to the id, e-mail address, password and document
    await tab.press("Tab");
    await tab.keys(ID);
    await tab.press("Tab", "Tab", "Tab");
    await tab.keys('{"theme": "dark"');
    await tab.press("Tab", "Space", "Tab", "Tab", "Enter");
    assert.match(await tab.read("dialog .failed"), /The document is not JSON/);
    await tab.type("dialog textarea", '{"theme": "dark"}');
    await console.decide("Create");
    await tab.see("dialog h2::-p-text(Tokens of the new session)");
    const [access, refresh] = await tab.evaluate(() => [...document.querySelectorAll("dialog .copyable code")].map(({ textContent }) => textContent));
    assert.deepEqual((await call(server.url, "GET", "/v1/data", access)).body, { theme: "dark" });
    assert.equal((await call(server.url, "POST", "/v1/session/refresh", refresh)).status, 200);
    await console.decide("Done");
    await tab.see(".columns");
    assert.equal(await tab.read(".page-head code"), ID);
    assert.ok(!(await tab.evaluate(() => document.body.textContent)).includes(access), "they are shown once");

    await console.go("users", "#users table");
    await console.press("Create users");
    await tab.type("dialog input[name=user_id]", ID);
    await console.decide("Create");
    assert.match(await tab.read("dialog .failed"), /\.$/);
    assert.equal(await tab.evaluate(() => document.querySelector("dialog input[name=user_id]").value), ID, "nothing that was typed is lost");
    await console.cancel();
    console.done();
  });

  test("one with an e-mail address and a password can log in with an SDK", async (t) => {
    const console = await Console.of(t, browser, server, "operate");
    const { tab } = console;
    await console.go("users", "#find");
    await console.press("Create users");
    await tab.type("dialog input[name=email]", "ines@people.example");
    await tab.type("dialog input[name=password]", "correct horse");
    await console.decide("Create");
    await console.said("The user was created.");
    await tab.see(".columns ::-p-text(ines@people.example)");
    const created = await tab.read(".page-head code");
    const user = await newApp(server.url).logIn(Credentials.emailPassword("ines@people.example", "correct horse"));
    assert.equal(user.id, created);
    console.done();
  });

  test("many are created at once, and their ids are shown", async (t) => {
    const console = await Console.of(t, browser, server, "operate");
    const { tab } = console;
    await call(server.url, "POST", "/v1/sessions");
    await console.go("users", "#users table");
    const counted = () => tab.evaluate(() => Number(document.querySelector(".chip .count").textContent));
    const before = await until("the count", async () => (await counted()) || undefined);
    await console.press("Create users");
    await tab.choose("dialog select[name=kind]", "many");
    await tab.type("dialog input[name=count]", "1001");
    await console.decide("Create");
    assert.ok(await tab.evaluate(() => document.querySelector("dialog input[name=count]").matches(":invalid")));
    await tab.type("dialog input[name=count]", "12");
    await console.decide("Create");
    await tab.see("dialog h2::-p-text(12 users created)");
    const ids = await tab.evaluate(() => document.querySelector("dialog textarea").value.split("\n"));
    assert.equal(new Set(ids).size, 12);
    await console.decide("Done");
    await tab.see(`#users a[href="#/users/${ids[7]}"]`);
    await tab.see(`.chip .count::-p-text(${before + 12})`);
    console.done();
  });
});
