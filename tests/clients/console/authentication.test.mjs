// The way that an operator goes to switch a way to log in off and on: saved into a draft, looked at line by line, deployed; and what
// a second admin is told.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Credentials, newApp } from "../kit/client.mjs";
import { Console, withAdmins } from "../kit/console.mjs";
import { call, startServer, startServerWith, startServerWithApp, SUITE_DEADLINE } from "../kit/server.mjs";

const ANONYMOUS = "Allow users to log in anonymously";
const SCREENS = [[1440, "light"], [390, "dark"]];

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
    // that the page knows of the draft is not that somebody has seen it in the form
    await second.tab.evaluate(() => void document.dispatchEvent(new Event("visibilitychange")));
    await second.tab.see("#draft .banner");
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

  test("the second of two admins saves on top of the first, and nothing of either is lost", async (t) => {
    const [first, second] = [await Console.of(t, browser, server), await Console.of(t, browser, server)];
    for (const console of [first, second]) await console.go("authentication", "table");
    await second.press("Edit Allowed request origins");
    await second.tab.type("dialog textarea", "https://second.example");
    await first.go("authentication/anon-user", "form");
    await first.press("Provider Enabled", "switch");
    await first.press("Save");
    await first.said("Saved into the draft");

    await second.decide("Save");
    await second.tab.see("dialog ::-p-text(The draft has moved)");
    await second.decide("Cancel");
    await second.tab.see("dialog h2::-p-text(Allowed request origins)");
    assert.equal(await second.tab.evaluate(() => document.querySelector("dialog textarea").value), "https://second.example", "what was typed is still there");
    await second.decide("Save");
    await second.tab.see("dialog ::-p-text(The draft has moved)");
    await second.decide("Save mine on top");
    await second.said("Saved into the draft");
    await second.press("Review & Deploy");
    const sentences = await second.tab.read("dialog .sentences");
    assert.match(sentences, /anon-user/);
    assert.match(sentences, /https:\/\/second\.example/);

    // the first deploys what is not what was looked at any more
    await first.press("Review & Deploy");
    await first.tab.see("dialog ::-p-text(https://second.example)");
    await second.cancel();
    await second.press("Edit Allowed request origins");
    await second.tab.type("dialog textarea", "https://second.example\nhttps://third.example");
    await second.decide("Save");
    await second.said("Saved into the draft");
    await first.decide("Deploy");
    await first.tab.see("dialog .note::-p-text(The difference below is the new one)");
    await first.tab.see("dialog ::-p-text(https://third.example)");
    await first.decide("Discard draft");
    await first.decide("Discard draft");
    await first.said("The draft was discarded.");
    first.done();
    second.done();
  });

  test("origins and the expiration of sessions change by a draft, at once and without a restart", async (t) => {
    const own = await withAdmins(await startServerWith(t, "[provider.local_userpass.config]\nautoConfirm = true\n", {}, "--test"));
    const account = { email: "ines@people.example", password: "correct horse" };
    await newApp(own.url).emailPasswordAuth.registerUser(account);
    const session = async () => (await call(own.url, "POST", "/v1/sessions", undefined, { provider: "local-userpass", ...account })).body;
    const refreshed = async ({ refresh_token: token }) => (await call(own.url, "POST", "/v1/session/refresh", token)).status;
    const allowed = async (origin) => (await fetch(`${own.url}/v1/session`, { headers: { origin } })).headers.get("access-control-allow-origin");
    const [news, other] = ["https://news.example", "https://other.example"];
    const [known, kept] = [await session(), await session()];
    assert.deepEqual([await allowed(news), await allowed(other)], ["*", "*"]);
    const console = await Console.of(t, browser, own);
    const { tab } = console;
    await console.go("authentication", "table");
    await tab.see(".facts ::-p-text(browsers let every page call the API)");
    await console.press("Edit Allowed request origins");
    await tab.see("dialog textarea:focus");
    await tab.keys("no origin");
    await console.decide("Save");
    assert.match(await tab.read("dialog .failed"), /origin/);
    await tab.type("dialog textarea", news);
    await console.decide("Save");
    await console.said("Saved into the draft");
    await tab.see(`.in-draft ::-p-text(${news})`);
    assert.equal(await allowed(other), "*", "a draft changes nothing");
    await console.press("Edit Refresh token expiration");
    await tab.see("dialog input:focus");
    await tab.keys("60");
    await tab.press("Enter");
    assert.ok(await tab.evaluate(() => document.querySelector("dialog input").matches(":invalid")));
    await tab.type("dialog input", "3600");
    await tab.press("Enter");
    await tab.see("#draft ::-p-text(2 changes saved by ada.)");
    await console.press("Review & Deploy");
    await tab.see("dialog .diff .after");
    await console.decide("Deploy");
    await console.said("Deployment 2 is in force.");
    await tab.see("main ::-p-text(1 h)");
    assert.deepEqual([await allowed(news), await allowed(other)], [news, null]);
    assert.equal(await refreshed(known), 200);
    assert.equal((await call(own.adminUrl, "POST", "/test/clock", undefined, { advance: 3601 })).status, 200);
    assert.equal(await refreshed(kept), 401);
    console.done();
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

  test("an audience that an app folder says without brackets is shown, and stays as it is", async (t) => {
    const jwt = {
      name: "custom-token",
      type: "custom-token",
      disabled: false,
      config: { signingAlgorithm: "HS256", audience: "readers" },
      secret_config: { signingKeys: ["jwt"] },
    };
    const own = await withAdmins(await startServerWithApp(t, { "custom-token": jwt }, { jwt: "a secret of at least 32 characters" }));
    const console = await Console.of(t, browser, own);
    await console.go("authentication/custom-token", "form");
    assert.equal(await console.tab.evaluate(() => document.querySelector('textarea[name="config.audience"]').value), "readers");
    await console.press("requireAnyAudience", "switch");
    await console.press("Save");
    await console.said("Saved into the draft");
    await console.press("Review & Deploy");
    await console.tab.see("dialog .diff .after");
    const changed = await console.tab.evaluate(() => [...document.querySelectorAll("dialog .diff .after, dialog .diff .before")].map(({ textContent }) => textContent));
    assert.ok(changed.some((line) => line.includes("requireAnyAudience")) && !changed.some((line) => line.includes("readers")), changed.join("\n"));
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
