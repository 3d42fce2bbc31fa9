// The console while its server restarts, and where the server speaks TLS itself.

import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Console, withAdmins } from "../kit/console.mjs";
import { testCertificate } from "../kit/proxies.mjs";
import { call, startServer, startServerWith, SUITE_DEADLINE } from "../kit/server.mjs";

describe("the console lives through", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let certificate;

  before(async () => {
    certificate = await testCertificate();
    const spki = new X509Certificate(readFileSync(certificate.cert)).publicKey.export({ type: "spki", format: "der" });
    browser = await startBrowser(`--ignore-certificate-errors-spki-list=${createHash("sha256").update(spki).digest("base64")}`);
  });
  after(() => browser?.close());

  /** What a tab does when one comes back to it: it looks at once and not when it is time. */
  const look = ({ tab }) => tab.evaluate(() => void document.dispatchEvent(new Event("visibilitychange")));

  test("a restart says so, goes on by itself, and loses nothing that was typed", async (t) => {
    const server = await withAdmins(await startServer(t));
    const [console, form] = [await Console.of(t, browser, server), await Console.of(t, browser, server)];
    await console.go("users", "#users .empty");
    await console.press("Create users");
    await console.tab.type("dialog input[name=user_id]", "0123456789abcdef01234567");
    await form.go("authentication/local-userpass", "form");
    await form.tab.type('input[name="config.confirmEmailSubject"]', "Welcome to the news");

    await server.stop();
    await look(form);
    assert.match(await form.tab.read("#waiting"), /cannot be reached. Trying again/);
    await form.press("Save");
    assert.match(await form.tab.read(".page [role=alert]"), /cannot be reached/);
    await console.decide("Create");
    assert.match(await console.tab.read("dialog .failed"), /cannot be reached/);

    await server.start();
    await form.tab.see("#waiting:empty");
    assert.equal(await form.tab.evaluate(() => document.querySelector('input[name="config.confirmEmailSubject"]').value), "Welcome to the news");
    await form.press("Save");
    await form.said("Saved into the draft");
    await console.decide("Create");
    await console.said("The user was created.");
    assert.equal(await console.tab.read(".page-head code"), "0123456789abcdef01234567");
    form.done();
    console.done();
  });

  test("the feed goes on after a restart", async (t) => {
    const server = await withAdmins(await startServer(t));
    const console = await Console.of(t, browser, server);
    await console.go("live", "[role=status]::-p-text(Connected)");
    await server.stop();
    await console.tab.see("main [role=status]::-p-text(Connecting)");
    await server.start();
    await console.tab.see("main [role=status]::-p-text(Connected)");
    await call(server.url, "POST", "/v1/sessions");
    await console.tab.see(".feed > li .badge");
  });

  test("TLS of the server's own, with a cookie that goes nowhere else", async (t) => {
    const { cert, key } = certificate;
    const server = await withAdmins(await startServerWith(t, `[admin.tls]\ncert = "${cert}"\nkey = "${key}"\n`));
    assert.match(server.adminUrl, /^https:/);
    const console = await Console.of(t, browser, server);
    const [cookie] = await console.tab.cookies();
    assert.deepEqual([cookie.name, cookie.secure, cookie.httpOnly, cookie.sameSite, cookie.path], ["__Host-passerby-admin", true, true, "Strict", "/"]);
    await console.go("live", "[role=status]::-p-text(Connected)");
    await call(server.url, "POST", "/v1/sessions");
    await console.tab.see(".feed > li .badge");
    await console.go("users", "#users table");
    await console.press("Create users");
    await console.decide("Create");
    await console.said("The user was created.");
    console.done();
  });
});
