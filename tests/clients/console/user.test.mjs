// The page of one user: what each act there means to the user's own app or browser.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Console, named, newReader, withAdmins } from "../kit/console.mjs";
import { call, startServer, startServerWith, SUITE_DEADLINE } from "../kit/server.mjs";
import { Device, SOON } from "../kit/socket.mjs";

const METER = "[meter.articles]\nlimit = 2\n";
const HOUR = 3600;

describe("one user in the console", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;

  before(async () => {
    browser = await startBrowser();
    server = await withAdmins(await startServerWith(undefined, METER));
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test("a meter at its wall is granted more and reset, and the reader's next pages show it", async (t) => {
    const device = await Device.anonymous(server);
    let item = 0;
    const read = async () => {
      const response = await fetch(`${server.url}/verify?meter=articles&item=${(item += 1)}`, { headers: { authorization: `Bearer ${device.token}` } });
      await response.body?.cancel();
      return response.status;
    };
    assert.deepEqual([await read(), await read(), await read()], [204, 204, 402]);
    const console = await Console.of(t, browser, server, "operate");
    const { tab } = console;
    await console.go(`users/${device.user}`, ".columns");
    await tab.see("main td::-p-text(2 of 2)");
    await console.press("Grant more of articles");
    assert.match(await console.dialog(), /On top of the limit, in this period/);
    await tab.type("dialog input[name=amount]", "0");
    await tab.press("Enter");
    assert.ok(await tab.evaluate(() => document.querySelector("dialog input").matches(":invalid")));
    await tab.type("dialog input[name=amount]", "1");
    await tab.press("Enter");
    await console.said("Granted.");
    await tab.see("main td::-p-text(2 of 3)");
    assert.equal(await tab.evaluate(() => document.activeElement.getAttribute("aria-label")), "Grant more of articles", "the keyboard is where it was");
    await tab.see("main .badge::-p-text(1 granted)");
    assert.deepEqual([await read(), await read()], [204, 402]);

    await console.press("Reset articles");
    assert.match(await console.dialog(), /has the configured allowance again/);
    assert.equal(await console.focused(), "Cancel");
    await console.cancel();
    assert.equal(await read(), 402, "Escape changes nothing");
    await console.press("Reset articles");
    await console.decide("Reset");
    await console.said("The meter begins again.");
    await tab.see("main td::-p-text(0 of 2)");
    assert.deepEqual([await read(), await read(), await read()], [204, 204, 402]);
    await console.go(`users/${device.user}`, ".timeline");
    await tab.see(".timeline ::-p-text(More granted)");
    await tab.see(".timeline ::-p-text(by olga)");
    console.done();
  });

  test("ending a session closes its socket, and no other", async (t) => {
    const device = await Device.anonymous(server);
    const elsewhere = await device.another();
    const [socket, other] = [await device.open(), await elsewhere.open()];
    const console = await Console.of(t, browser, server, "operate");
    await console.go(`users/${device.user}`, ".columns");
    await console.press(`End session ${device.session}`);
    assert.match(await console.dialog(), /its socket closes/);
    await console.decide("End session");
    await console.said("The session has ended.");
    await socket.isTold({ type: "session.ended", reason: "ended" }, SOON);
    await socket.endsWith(4001, SOON);
    await other.does("get");
    assert.equal((await device.call("GET", "/v1/session")).status, 401);
    assert.equal((await elsewhere.call("GET", "/v1/session")).status, 200);
    await console.tab.see(`body:not(:has([aria-label="End session ${device.session}"]))`);
    assert.equal(await console.tab.evaluate(() => document.activeElement.tagName), "H1", "the keyboard is not lost with the row");
    await other.close();
    console.done();
  });

  test("disabled until a time for a reason, a user is refused, and enabled by itself when it has come", async (t) => {
    const own = await withAdmins(await startServer(t, "--test"));
    const { cookie, user } = await newReader(own);
    const asked = async (path) => {
      const response = await fetch(own.url + path, { headers: { cookie } });
      return { status: response.status, reason: response.headers.get("x-passerby-reason"), text: await response.text() };
    };
    const advance = async (seconds) => assert.equal((await call(own.adminUrl, "POST", "/test/clock", undefined, { advance: seconds })).status, 200);
    const console = await Console.of(t, browser, own, "operate");
    const { tab } = console;
    await console.go(`users/${user}`, ".columns");
    await console.press("Disable");
    const until = await tab.evaluate((ahead) => {
      const time = new Date(Date.now() + ahead);
      return new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
    }, 2 * HOUR * 1000);
    await tab.type("dialog input[name=until]", until);
    await tab.type("dialog input[name=reason]", "scraping, ticket 4711");
    await console.decide("Disable");
    await console.said("The user is disabled.");
    await tab.see(".page-head .badge::-p-text(Disabled until)");
    await tab.see(".facts ::-p-text(scraping, ticket 4711)");
    await tab.see(".timeline ::-p-text(reason: scraping, ticket 4711)");
    const refused = await asked("/v1/session");
    assert.deepEqual([refused.status, JSON.parse(refused.text).code], [403, "user-disabled"]);
    assert.ok(!refused.text.includes("4711"), "what was said of it is for admins");
    await advance(HOUR);
    const page = await asked("/verify?create=never");
    assert.deepEqual([page.status, page.reason], [403, "user-disabled"]);
    await console.go("users", "#users table");
    await tab.see("#users .badge::-p-text(Disabled)");

    await advance(HOUR);
    assert.equal((await asked("/verify?create=never")).status, 204);
    await console.go(`users/${user}`, ".columns");
    await tab.see(named("Disable"));
    await tab.see(".page-head:not(:has(.bad))");
    console.done();
  });

  test("the role read sees everything about a user and can do nothing", async (t) => {
    const device = await Device.anonymous(server);
    await device.call("PATCH", "/v1/data", { theme: "dark" });
    const console = await Console.of(t, browser, server, "read");
    const { tab } = console;
    await console.go(`users/${device.user}`, ".timeline");
    await tab.see(".json::-p-text(dark)");
    const acts = ["Disable", "End all sessions", "Delete user", `End session ${device.session}`, "Grant more of articles", "Reset articles"];
    for (const act of acts) {
      await console.press(act);
      await tab.see("#toasts .warn::-p-text(needs the role operate)");
      await tab.evaluate(() => document.getElementById("toasts").replaceChildren());
      assert.equal(await tab.evaluate(() => document.querySelector("dialog")), null, act);
    }
    const locked = await tab.evaluate(() => [...document.querySelectorAll("main button:not(.icon-button)")].map((one) => one.getAttribute("aria-disabled")));
    assert.deepEqual(locked, acts.map(() => "true"));
    console.done();
  });
});
