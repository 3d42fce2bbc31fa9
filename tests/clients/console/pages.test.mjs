// Every page of the console: what axe finds, in light and dark and on a phone, and that nothing is beside the screen. Then the pages
// of operators, with each act.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Console, named, newReader, withAdmins } from "../kit/console.mjs";
import { call, startServerWith, SUITE_DEADLINE } from "../kit/server.mjs";
import { until } from "../kit/wait.mjs";

const SETTINGS = "[meter.articles]\nlimit = 3\n";
/** Addresses, and what is there when they are loaded. */
const PAGES = {
  overview: ".trend",
  live: ".feed",
  users: "#users table",
  "users/USER": ".timeline",
  meters: "table",
  networks: "table, .empty",
  keys: "table",
  audit: ".entries",
  admins: "table",
  account: "table",
  settings: "table",
};
/** Each scheme and each layout. */
const SCREENS = [
  [1440, "light"],
  [390, "dark"],
  [3840, "light"],
];
/** What the role read may press on a page, beside what leads elsewhere: what looks, and what is its own. */
const LOOKS = new Set(["Find", "Apply", "Look up", "Pause", "Clear list", "Older entries", "Change password", "Set up", "End"]);

describe("pages of the console", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;
  let user;

  before(async () => {
    browser = await startBrowser();
    server = await withAdmins(await startServerWith(undefined, SETTINGS));
    ({ user } = await newReader(server));
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test("each can be read in light and dark, on a phone and on a large screen", async (t) => {
    const console = await Console.of(t, browser, server);
    for (const [path, wanted] of Object.entries(PAGES)) {
      await console.go(path.replace("USER", user), wanted);
      for (const [width, scheme] of SCREENS) {
        await console.tab.show(width, scheme);
        assert.ok((await console.overflow()) <= 0, `${path} at ${width} pixels`);
        if (width !== 3840) assert.deepEqual(await console.faults(), [], `${path}, ${scheme}, ${width} pixels`);
      }
      assert.equal((await console.tab.evaluate(() => document.querySelectorAll("h1").length)), 1, path);
    }
    console.done();
  });

  test("the role read sees each, and nothing on it can be changed", async (t) => {
    const console = await Console.of(t, browser, server, "read");
    let locked = 0;
    for (const [path, wanted] of Object.entries({ ...PAGES, admins: ".note", authentication: "table", "authentication/anon-user": "form", deployments: "table" })) {
      await console.go(path.replace("USER", user), wanted);
      const buttons = await console.tab.evaluate(() =>
        [...document.querySelectorAll("main button.button, main [role=switch]")].map((one) => [one.textContent, one.getAttribute("aria-disabled") === "true" || one.disabled]),
      );
      assert.deepEqual(buttons.filter(([name, isLocked]) => !isLocked && !LOOKS.has(name)), [], path);
      assert.equal(await console.tab.evaluate(() => document.querySelector("main [role=alert]")), null, path);
      locked += buttons.filter(([, isLocked]) => isLocked).length;
    }
    assert.ok(locked > 15, `${locked}`);
    console.done();
  });

  test("the login can be read as well, and so can a dialog", async (t) => {
    const console = await Console.open(t, browser, server);
    await console.tab.see("form.login");
    for (const scheme of ["light", "dark"]) {
      await console.tab.show(390, scheme);
      assert.deepEqual(await console.faults(), []);
    }
    await console.tab.show(1280, "light");
    await console.logIn("ada");
    await console.go(`users/${user}`, ".columns");
    await console.press("Disable");
    await console.dialog();
    for (const scheme of ["light", "dark"]) {
      await console.tab.show(1280, scheme);
      assert.deepEqual(await console.faults(), []);
    }
    console.done();
  });

  test("on a phone the pages are behind a button, and the chosen scheme stays", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.tab.show(390, "light");
    await console.press("Menu");
    await console.press("Audit", "link");
    await console.tab.see("body:not(.menu-open) .entries");
    const scheme = () => console.tab.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
    await console.press("Menu");
    await console.tab.click("#theme");
    await console.tab.click("#theme");
    assert.equal(await scheme(), "dark");
    await console.tab.visit(`${server.adminUrl}/#/users`);
    await console.tab.evaluate(() => location.reload());
    await console.tab.see("#users");
    assert.equal(await scheme(), "dark");
    console.done();
  });

  test("the overview counts what happens, and the feed shows it, still while it is paused", async (t) => {
    const console = await Console.of(t, browser, server, "read");
    await console.go("live", "[role=status]::-p-text(Connected)");
    await call(server.url, "POST", "/v1/sessions");
    await console.tab.see(".feed > li .badge");
    await console.press("Pause");
    const shown = () => console.tab.evaluate(() => document.querySelectorAll(".feed > li").length);
    const before = await shown();
    await call(server.url, "POST", "/v1/sessions");
    await console.tab.see("main [role=status]::-p-text(1 new)");
    assert.equal(await shown(), before);
    await console.press("Go on");
    await until("what came meanwhile", async () => ((await shown()) > before ? true : undefined));
    await console.go("overview", ".trend");
    await until("the new users", async () => {
      const figure = await console.tab.evaluate(() => document.querySelector(".trend .figure").textContent);
      return Number(figure) >= 2 ? true : undefined;
    });
    console.done();
  });

  test("a network is blocked with a reason, and lifted", async (t) => {
    const console = await Console.of(t, browser, server, "operate");
    await console.go("networks", ".card");
    await console.press("Block network");
    assert.match(await console.dialog(), /are refused \(403\)/);
    await console.tab.type("dialog input[name=network]", "203.0.113.0/24");
    await console.tab.type("dialog input[name=reason]", "scraping");
    await console.decide("Block network");
    await console.said("The network is blocked.");
    await console.tab.see("main ::-p-text(scraping)");
    await console.tab.click("td.end button");
    assert.equal(await console.focused(), "Cancel");
    await console.decide("Lift");
    await console.said("Lifted.");
    await console.tab.see("main ::-p-text(No network is blocked.)");
    console.done();
  });

  test("signing keys are published, rotated and retired, and what ends is said before", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("keys", "table");
    await console.press("Publish next");
    await console.decide("Publish next");
    await console.said("Done.");
    await console.tab.see("main .badge::-p-text(published)");
    await console.press("Rotate");
    await console.decide("Rotate");
    await console.tab.see("main .badge::-p-text(accepted)");
    await console.tab.click("td.end button");
    assert.match(await console.dialog(), /stop working at once.+What ends/s);
    assert.equal(await console.focused(), "Cancel");
    await console.decide("Retire");
    await until("it is gone", async () =>
      (await console.tab.evaluate(() => [...document.querySelectorAll("main .badge")].every(({ textContent }) => textContent !== "accepted"))) ? true : undefined);
    console.done();
  });

  test("an API key is shown once and deleted", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("keys", ".empty");
    await console.press("Create API key");
    await console.tab.type("dialog input[name=name]", "nightly");
    await console.decide("Create");
    const token = await console.tab.read("dialog .copyable code");
    const me = () => call(server.adminUrl, "GET", "/v1/admin/me", token).then(({ status }) => status);
    assert.equal(await me(), 200);
    await console.decide("Done");
    await console.press("Delete the key “nightly”");
    assert.match(await console.dialog(), /refused from now on/);
    await console.decide("Delete");
    await console.said("The key is deleted.");
    assert.equal(await me(), 401);
    console.done();
  });

  test("an admin is created, changed, disabled and deleted", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("admins", "table");
    await console.press("Create admin");
    await console.tab.type("dialog input[name=name]", "eve");
    await console.tab.type("dialog input[name=password]", "correct horse battery");
    await console.decide("Create");
    await console.said("The admin was created.");
    const other = await Console.open(t, browser, server);
    await other.logIn("eve");
    await console.go("audit", ".entries");
    await console.go("admins", "table");
    await console.press("Change eve");
    await console.tab.choose("dialog select", "operate");
    await console.decide("Save");
    await console.said("Changed.");
    await console.press("Disable eve");
    assert.equal(await console.focused(), "Cancel");
    await console.decide("Disable");
    await console.tab.see(named("Enable eve"));
    await other.tab.evaluate(() => void (location.hash = "#/users"));
    await other.tab.see("form.login");
    await console.press("Delete eve");
    assert.match(await console.dialog(), /sessions end at once/);
    await console.decide("Delete");
    await console.said("The admin is deleted.");
    await console.press("Delete ada");
    await console.said("Your own account");
    console.done();
  });

  test("one changes one's own password", async (t) => {
    const own = await Console.of(t, browser, server, "read");
    await own.go("account", "table");
    await own.press("Change password");
    await own.tab.type("dialog input[name=current]", "not the current one");
    await own.tab.type("dialog input[name=password]", "another horse battery");
    await own.decide("Change password");
    assert.match(await own.tab.read("dialog .failed"), /current password is not right/);
    await own.tab.type("dialog input[name=current]", "correct horse battery");
    await own.decide("Change password");
    await own.said("The password is changed");
    own.done();
  });

  test("settings say where they come from, and the audit log who did what", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("settings", "table");
    await console.tab.type("#filter", "meter.articles.limit");
    await console.tab.see("main ::-p-text(passerby.toml)");
    await console.go("audit?what=login", ".entries");
    const what = await console.tab.evaluate(() => [...document.querySelectorAll(".entry .what")].map(({ textContent }) => textContent));
    assert.ok(what.length > 1 && what.every((text) => text === "login"), what.join());
    const lines = await console.tab.evaluate(async () => (await fetch(document.querySelector("a[download]").href)).text());
    assert.equal(JSON.parse(lines.split("\n")[0]).what, "login");
    console.done();
  });
});
