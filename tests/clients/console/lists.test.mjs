// Lists, figures and feeds that change while one looks at them: what was typed, chosen and focused stays, and so does the keyboard.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Console, tokenOf, withAdmins } from "../kit/console.mjs";
import { call, startServer, SUITE_DEADLINE } from "../kit/server.mjs";
import { until } from "../kit/wait.mjs";

const SESSIONS = "/v1/sessions";

describe("what changes in the console", { timeout: SUITE_DEADLINE }, () => {
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

  const newUser = async (on = server) => (await call(on.url, "POST", SESSIONS)).body.user_id;
  const hash = (console) => console.tab.evaluate(() => location.hash);

  test("counts that come late leave the filters as they are", async (t) => {
    await newUser();
    const console = await Console.of(t, browser, server);
    let letGo;
    const held = new Promise((resolve) => (letGo = resolve));
    await console.tab.meet(({ path }) => (path.endsWith("/users/counts") ? held : undefined));
    await console.go("users", "#users table");
    await console.tab.click(".more-filters summary");
    await console.tab.choose("#more-filters [name=anonymous]", "true");
    await console.tab.evaluate(() => document.querySelector("#more-filters [name=disabled]").focus());
    letGo();
    await console.tab.see(".chips a[aria-current] ::-p-text(1)");
    const now = await console.tab.evaluate(() => [
      document.querySelector(".more-filters").open,
      document.querySelector("#more-filters [name=anonymous]").value,
      document.activeElement.name,
    ]);
    assert.deepEqual(now, [true, "true", "disabled"]);
    console.done();
  });

  test("a date of a filter stays the same over summer time, to the second", async (t) => {
    const console = await Console.open(t, browser, server);
    await console.tab.live("Europe/Berlin");
    await console.logIn("ada");
    const [summer, winter] = ["2026-07-01T00:00:30.000Z", "2026-01-15T12:00:00.000Z"];
    const asked = new URLSearchParams({ created_from: winter, created_until: summer });
    await console.go(`users?${asked}`, "#more-filters");
    const values = () => console.tab.evaluate(() => ["created_from", "created_until"].map((name) => document.querySelector(`[name=${name}]`).value));
    assert.deepEqual(await values(), ["2026-01-15T13:00", "2026-07-01T02:00"]);
    await console.tab.choose("#more-filters [name=order]", "oldest");
    await console.press("Apply");
    await console.tab.see("#more-filters [name=order] option[value=oldest][selected]");
    assert.deepEqual(await values(), ["2026-01-15T13:00", "2026-07-01T02:00"]);
    const applied = new URLSearchParams((await hash(console)).split("?")[1]);
    assert.deepEqual([applied.get("created_from"), applied.get("created_until")], [winter, summer]);
    console.done();
  });

  test("a day of a chart is called as the server counts it", async (t) => {
    const console = await Console.open(t, browser, server);
    await console.tab.live("America/Los_Angeles");
    await console.logIn("ada");
    await console.go("overview?span=month", ".trend");
    const [shown, from] = await console.tab.evaluate(async () => {
      const { month } = await (await fetch("/v1/admin/overview")).json();
      return [[...document.querySelectorAll(".figures tbody tr")].at(-1).cells[0].textContent, month.from];
    });
    assert.equal(shown, new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" }).format(new Date(from)));
    console.done();
  });

  test("the keyboard keeps its place when figures are drawn again, and after an act", async (t) => {
    const user = await newUser();
    const console = await Console.of(t, browser, server);
    await console.go("overview", ".trend");
    for (const [place, focus] of [["a.tile", "a.tile[href='#/users?anonymous=true']"], [".figures summary", ".figures summary"]]) {
      await console.tab.evaluate((one, all) => {
        document.querySelectorAll(all).forEach((element) => (element.dataset.old = "yes"));
        document.querySelector(one).focus();
      }, focus, place);
      await console.tab.see(`${place}:not([data-old])`);
      assert.ok(await console.tab.evaluate((one) => document.activeElement === document.querySelector(one), focus), focus);
    }
    await console.go(`users/${user}`, ".columns");
    await console.press("Disable");
    await console.decide("Disable");
    await console.said("The user is disabled.");
    await console.tab.see(".page-head .badge.bad");
    assert.equal(await console.focused(), "Enable");
    console.done();
  });

  test("while the server is away one look is under way, however often somebody comes back", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("settings", "table");
    const asked = [];
    let letGo;
    const held = new Promise((resolve) => (letGo = resolve));
    let isAway = true;
    await console.tab.meet(async ({ path }) => {
      if (!path.startsWith("/v1/admin/") || !isAway) return undefined;
      asked.push(path);
      await held;
      return null;
    });
    for (let times = 0; times < 5; times += 1) await console.look();
    await console.tab.evaluate(() => fetch("/v1/admin/me").catch(() => {}) && undefined);
    assert.deepEqual(asked.filter((path) => path === "/v1/admin/app"), ["/v1/admin/app"]);
    letGo();
    await console.tab.see("#waiting .banner");
    isAway = false;
    await console.tab.see("#waiting:empty");
  });

  test("what a page asks by itself says that nobody was there", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("audit", ".entries");
    const asked = [];
    await console.tab.meet(({ path, headers }) => void asked.push([path, headers["x-passerby-unattended"]]));
    const marks = (path) => asked.filter(([one]) => one === path).map(([, mark]) => mark);
    await console.go("overview", ".trend");
    await until("the figures are looked at again", () => (marks("/v1/admin/overview").length > 1 ? true : undefined));
    await console.look();
    await until("the draft is looked at", () => (marks("/v1/admin/app").length > 0 ? true : undefined));
    assert.deepEqual(marks("/v1/admin/overview").slice(0, 2), [undefined, "1"]);
    assert.deepEqual(new Set(marks("/v1/admin/app")), new Set(["1"]));
    console.done();
  });

  test("a page that was left says nothing any more when its answer comes", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("audit", ".entries");
    let letGo;
    let isAsked;
    const held = new Promise((resolve) => (letGo = resolve));
    const asked = new Promise((resolve) => (isAsked = resolve));
    await console.tab.meet(({ path }) => (path === "/v1/admin/app" ? (isAsked(), held) : undefined));
    await console.tab.evaluate(() => void (location.hash = "#/authentication/anon-user"));
    await asked;
    await console.go("settings", "table");
    letGo();
    await console.look();
    await console.tab.evaluate(() => fetch("/v1/admin/app").then((answer) => answer.text()).then(() => undefined));
    assert.equal(await console.tab.evaluate(() => document.title), "Settings · Passerby");
    console.done();
  });

  test("a proxy that does not reach the server is waited for", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("settings", "table");
    let isBad = true;
    await console.tab.meet(({ path }) => (isBad && path.startsWith("/v1/admin/") ? { status: 502, contentType: "text/html", body: "<h1>Bad Gateway</h1>" } : undefined));
    await console.tab.evaluate(() => void (location.hash = "#/users"));
    assert.match(await console.tab.read("#waiting"), /cannot be reached/);
    isBad = false;
    await console.tab.see("#users table");
    await console.tab.see("#waiting:empty");
  });

  test("a link to a page in the middle says no number, and its Back leads to where one was", async (t) => {
    const own = await withAdmins(await startServer(t));
    const token = await tokenOf(own);
    await call(own.adminUrl, "POST", "/v1/admin/users/batch", token, { count: 210 });
    const list = async (after) => (await call(own.adminUrl, "GET", `/v1/admin/users?limit=50${after ? `&after=${after}` : ""}`, token)).body;
    const second = (await list()).next;
    const third = (await list(second)).next;
    const console = await Console.of(t, browser, own);
    await console.go(`users?after=${third}`, "#users table");
    const paging = () => console.tab.evaluate(() => document.querySelector("nav.paging").textContent);
    assert.equal(await paging(), "First pageNext");
    await console.press("Next", "link");
    await console.tab.see("nav.paging ::-p-text(Back)");
    assert.doesNotMatch(await paging(), /Page/);
    await console.press("Back", "link");
    await console.tab.see("nav.paging:not(:has(a:nth-of-type(3)))");
    assert.equal(await hash(console), `#/users?after=${third}`);
    await console.press("First page", "link");
    await console.tab.see("nav.paging ::-p-text(Page 1)");
    console.done();
  });

  test("what goes wrong before a dialog opens is told beside the page", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("account", "table");
    const answer = { status: 500, contentType: "application/problem+json", body: JSON.stringify({ code: "internal", detail: "the disk is full" }) };
    await console.tab.meet(({ path }) => (path === "/v1/admin/me/totp" ? answer : undefined));
    await console.press("Set up");
    await console.said("The disk is full.");
    console.done();
  });

  test("an address that is none says so", async (t) => {
    const console = await Console.of(t, browser, server);
    for (const path of ["users/%", "nowhere"]) {
      await console.go("audit", ".entries");
      await console.tab.evaluate((to) => void (location.hash = `#/${to}`), path);
      await console.tab.see("main ::-p-text(There is no such page.)");
    }
    console.done();
  });

  test("what is hidden is not asked for, and a password is taken as it was typed", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("users", "#users");
    await console.press("Create users");
    await console.tab.choose("dialog [name=kind]", "many");
    await console.tab.type("dialog [name=count]", "5000");
    await console.tab.choose("dialog [name=kind]", "one");
    await console.tab.type("dialog [name=email]", "spaces@people.example");
    await console.tab.type("dialog [name=password]", " spaces matter ");
    let sent = null;
    await console.tab.meet(({ method, path, body }) => {
      if (method !== "POST" || path !== "/v1/admin/users") return undefined;
      sent = JSON.parse(body);
      return { status: 400, contentType: "application/json", body: JSON.stringify({ code: "no", detail: "not this one" }) };
    });
    await console.decide("Create");
    await console.tab.see("dialog .failed");
    assert.deepEqual(sent, { email: "spaces@people.example", password: " spaces matter " });
    console.done();
  });
});

describe("the feed in the console", { timeout: SUITE_DEADLINE }, () => {
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

  test("filters can be changed as often as one likes, also to the ones that the field proposes", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("live", "[role=status]::-p-text(Connected)");
    const proposed = await console.tab.evaluate(() => document.querySelector("[name=type]").placeholder);
    for (let times = 0; times < 40; times += 1) {
      await console.tab.evaluate((type) => {
        document.querySelector("main [role=status]").dataset.old = "yes";
        location.hash = `#/live?${new URLSearchParams({ type })}`;
      }, times % 2 ? proposed : "created");
      await console.tab.see("main [role=status]:not([data-old])::-p-text(Connected)");
    }
    console.done();
  });

  test("when the connection was interrupted the list says that something may be missing", async (t) => {
    const own = await withAdmins(await startServer(t));
    const console = await Console.of(t, browser, own);
    await console.go("live", "[role=status]::-p-text(Connected)");
    await own.stop();
    await console.tab.see("main [role=status]::-p-text(Connecting)");
    await own.start();
    await console.tab.see("main .note::-p-text(The connection was interrupted)");
    await console.tab.see("main [role=status]::-p-text(Connected)");
  });

  test("a session that ended leads to the login", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("live", "[role=status]::-p-text(Connected)");
    await console.tab.evaluate(() => fetch("/v1/admin/logout", { method: "POST", headers: { "x-passerby-admin": "1" } }));
    // the stream ends before the next event
    await call(server.url, "POST", SESSIONS);
    assert.match(await console.tab.read("form.login [role=alert]"), /session has ended/);
  });
});
