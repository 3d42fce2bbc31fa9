// The way that an operator goes to switch a way to log in off and on: saved into a draft, looked at line by line, deployed; and what
// a second admin is told.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Credentials, newApp } from "../kit/client.mjs";
import { Console, withAdmins } from "../kit/console.mjs";
import { startServer, SUITE_DEADLINE } from "../kit/server.mjs";

const ANONYMOUS = "Allow users to log in anonymously";
const SCREENS = [[1440, "light"], [1440, "dark"], [390, "light"], [390, "dark"]];

describe("authentication in the console", { timeout: SUITE_DEADLINE }, () => {
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

  const logIn = () => newApp(server.url).logIn(Credentials.anonymous());
  /** Switches anonymous login, saves it, and deploys it. */
  async function switchAnonymous(console, note) {
    await console.press("Authentication", "link");
    await console.press(ANONYMOUS, "link");
    await console.press("Provider Enabled", "switch");
    await console.press("Save");
    await console.tab.see("#draft ::-p-text(There are changes that are not deployed)");
    await console.press("Review & Deploy");
    await console.tab.see("dialog .diff .after");
    if (note) await console.tab.type("dialog input", note);
    await console.decide("Deploy");
    await console.said("is in force.");
    await console.tab.see("#draft:empty");
  }

  test("anonymous login switched off, reviewed and deployed is refused to an SDK, and switched on it is back", async (t) => {
    const known = await logIn();
    const console = await Console.of(t, browser, server);
    await switchAnonymous(console, "Closed for the weekend");
    await assert.rejects(logIn(), ({ statusCode, errorCode }) => {
      assert.ok(statusCode >= 400 && statusCode < 500 && typeof errorCode === "string", `${statusCode} ${errorCode}`);
      return true;
    });
    await known.refreshAccessToken?.();
    await console.tab.see(".badge::-p-text(Disabled)");
    await switchAnonymous(console);
    await logIn();

    await console.press("Deployments", "link");
    await console.tab.see("main ::-p-text(Closed for the weekend)");
    await console.press("Deployment 2", "link");
    await console.tab.see(".page .diff .before");
    await console.press("Deploy again");
    assert.match(await console.dialog(), /becomes what it was in deployment 2/);
    assert.equal(await console.focused(), "Cancel");
    await console.decide("Deploy");
    await console.said("Deployment 4 is in force.");
    await assert.rejects(logIn());
    await console.go("deployments/3", ".diff");
    await console.press("Deploy again");
    await console.decide("Deploy");
    await console.said("Deployment 5 is in force.");
    await logIn();
    console.done();
  });

  test("of two admins with one draft the second is told who moved it, and when", async (t) => {
    const [first, second] = [await Console.of(t, browser, server), await Console.of(t, browser, server)];
    for (const console of [first, second]) await console.go("authentication/anon-user", "form");
    await first.press("Provider Enabled", "switch");
    await first.press("Save");
    await first.said("Saved into the draft");
    await second.press("Provider Enabled", "switch");
    await second.press("Save");
    assert.match(await second.dialog(), /ada changed the draft .+Your change is not saved/s);
    await second.decide("Show the draft");
    await second.tab.see("#draft ::-p-text(There are changes that are not deployed)");
    await second.press("Review & Deploy");
    await second.tab.see("dialog .diff .after");
    await second.decide("Discard draft");
    assert.equal(await second.focused(), "Cancel");
    await second.decide("Discard draft");
    await second.said("The draft was discarded.");
    await second.tab.see("#draft:empty");
    await first.press("Review & Deploy");
    await first.tab.see("dialog ::-p-text(There is no draft any more)");
    first.done();
    second.done();
  });

  test("options are saved, and a fault is told in a sentence", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("authentication/custom-token", "form");
    await console.press("Provider Enabled", "switch");
    await console.press("Save");
    assert.match(await console.tab.read(".page [role=alert]"), /custom-token/);
    await console.go("authentication/local-userpass", "form");
    await console.press("autoConfirm", "switch");
    await console.press("Provider Enabled", "switch");
    await console.press("Save");
    await console.said("Saved into the draft");
    await console.press("Review & Deploy");
    await console.tab.see("dialog .diff .after");
    await console.decide("Deploy");
    await console.said("is in force.");
    await newApp(server.url).emailPasswordAuth.registerUser({ email: "ada@people.example", password: "correct horse" });
    console.done();
  });

  test("who may not deploy sees it all and is told why", async (t) => {
    const console = await Console.of(t, browser, server, "operate");
    await console.go("authentication/anon-user", "form");
    await console.press("Save");
    await console.said("needs the role owner");
    console.done();
  });

  test("its pages can be read in light and dark and on a phone", async (t) => {
    const console = await Console.of(t, browser, server);
    const pages = { authentication: "table", "authentication/local-userpass": "form", "authentication/custom-token": "form", deployments: "table", "deployments/1": ".diff, .empty, .facts" };
    for (const [path, wanted] of Object.entries(pages)) {
      await console.go(path, wanted);
      for (const [width, scheme] of SCREENS) {
        await console.tab.show(width, scheme);
        assert.ok((await console.overflow()) <= 0, `${path} at ${width} pixels`);
        assert.deepEqual(await console.faults(), [], `${path}, ${scheme}, ${width} pixels`);
      }
    }
    console.done();
  });
});
