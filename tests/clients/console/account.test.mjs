// One's own account at the console: a second factor, and sessions that somebody else ends.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { ADMINS, Console, named, PASSWORD, withAdmins } from "../kit/console.mjs";
import { startServer, SUITE_DEADLINE } from "../kit/server.mjs";
import { codeOf } from "../kit/totp.mjs";

/** Six digits that are not this code. */
const otherThan = (code) => (code === "000000" ? "000001" : "000000");

describe("the own account", { timeout: SUITE_DEADLINE }, () => {
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

  test("a second factor is set up, asked for at the login, and removed", async (t) => {
    const console = await Console.of(t, browser, server, "operate");
    const { tab } = console;
    await console.go("account", ".factor .badge::-p-text(Disabled)");
    await console.press("Set up");
    const secret = await tab.read("dialog .copyable code");
    assert.match(await tab.evaluate(() => document.querySelector("dialog a").href), new RegExp(`^otpauth://totp/passerby:olga\\?secret=${secret}&`));
    assert.equal(await tab.evaluate(() => document.activeElement.name), "code");
    await tab.keys(otherThan(codeOf(secret)));
    await tab.press("Tab");
    await tab.keys(PASSWORD);
    await tab.press("Enter");
    assert.match(await tab.read("dialog .failed"), /The code is not right/);
    await tab.type("dialog input[name=code]", codeOf(secret));
    await tab.press("Enter");
    await console.said("From now on each login asks for a code.");
    await tab.see(".factor .badge::-p-text(Enabled)");

    await tab.click("#log-out");
    await tab.type("input[name=name]", ADMINS.operate);
    await tab.type("input[name=password]", PASSWORD);
    await tab.press("Enter");
    assert.match(await tab.read("[role=alert]"), /second factor/);
    assert.equal(await tab.evaluate(() => document.activeElement.name), "code");
    await tab.keys(otherThan(codeOf(secret, 1)));
    await tab.press("Enter");
    await tab.see("[role=alert] ::-p-text(the code is not right)");
    // a code is taken once, and the first was taken when it was set up
    await tab.type("input[name=code]", codeOf(secret, 1));
    await tab.press("Enter");
    await tab.see(".factor .badge::-p-text(Enabled)");

    await console.press("Remove");
    assert.match(await console.dialog(), /the password alone/);
    assert.equal(await console.focused(), "Cancel");
    await tab.type("dialog input[name=password]", "not this one at all");
    await console.decide("Remove");
    assert.match(await tab.read("dialog .failed"), /password is not right/);
    await tab.type("dialog input[name=password]", PASSWORD);
    await console.decide("Remove");
    await console.said("The second factor is removed.");
    await tab.see(".factor .badge::-p-text(Disabled)");
    await tab.click("#log-out");
    await console.logIn(ADMINS.operate);
    console.done();
  });

  test("an owner ends the session of another admin, whose browser is at the login then and goes on from there", async (t) => {
    const [console, other] = [await Console.of(t, browser, server), await Console.of(t, browser, server, "read")];
    await other.go("audit", ".entries");
    await console.go("admins", "table");
    await console.press("End session of rob");
    assert.match(await console.dialog(), /rob has to log in again/);
    assert.equal(await console.focused(), "Cancel");
    await console.cancel();
    await other.tab.evaluate(() => void (location.hash = "#/live"));
    await other.tab.see(".feed");

    await console.press("End session of rob");
    await console.decide("End");
    await console.said("The session has ended.");
    await other.press("Networks", "link");
    assert.match(await other.tab.read("[role=alert]"), /session has ended/);
    await other.logIn(ADMINS.read);
    assert.equal(await other.tab.read("main h1"), "Networks");
    await console.go("account", "table");
    await console.tab.click("td.end button");
    assert.match(await console.dialog(), /this browser: you have to log in again/);
    await console.decide("End");
    await console.tab.see("form.login");
    console.done();
    other.done();
  });

  test("an owner removes the second factor of an admin who lost it", async (t) => {
    const [console, other] = [await Console.of(t, browser, server), await Console.of(t, browser, server, "read")];
    await other.go("account", ".factor");
    await other.press("Set up");
    const secret = await other.tab.read("dialog .copyable code");
    await other.tab.type("dialog input[name=code]", codeOf(secret));
    await other.tab.type("dialog input[name=password]", PASSWORD);
    await other.tab.press("Enter");
    await other.said("From now on each login asks for a code.");
    await other.tab.click("#log-out");
    await console.go("admins", "table");
    await console.press("Remove second factor of rob");
    assert.match(await console.dialog(), /rob can then log in with the password alone/);
    assert.equal(await console.focused(), "Cancel");
    await console.decide("Remove second factor");
    await console.said("Changed.");
    await other.logIn(ADMINS.read);
    await other.tab.see(named("Log out"));
    console.done();
    other.done();
  });
});
