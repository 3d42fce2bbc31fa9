// The pictures of the console in docs/ are taken here.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { startBrowser } from "../kit/browser.mjs";
import { Credentials, newApp } from "../kit/client.mjs";
import { Console, withAdmins } from "../kit/console.mjs";
import { call, startServerWithApp, SUITE_DEADLINE } from "../kit/server.mjs";

const provider = (name, more = {}) => ({ [name]: { name, type: name, disabled: false, ...more } });
const PROVIDERS = { ...provider("anon-user"), ...provider("local-userpass", { config: { autoConfirm: true } }), ...provider("api-key") };
const PEOPLE = ["ines", "jonas", "mara", "tom"];

/** A new one whenever the page changes, by whoever changes it: each has other ids in it. */
async function keep(name, picture) {
  assert.ok(picture.length > 20_000, "something is to be seen");
  if (process.env.PASSERBY_PICTURES) await writeFile(fileURLToPath(new URL(`../../../docs/${name}`, import.meta.url)), picture);
}

describe("pictures of the console", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;

  before(async () => {
    browser = await startBrowser();
    server = await withAdmins(await startServerWithApp(undefined, PROVIDERS));
    const visitor = async () => (await call(server.url, "POST", "/v1/sessions")).body;
    for (let made = 0; made < 24; made += 1) await visitor();
    for (const name of PEOPLE) {
      const { access_token: token } = await visitor();
      await call(server.url, "PATCH", "/v1/data", token, { theme: "dark" });
      const [email, password] = [`${name}@people.example`, "correct horse"];
      await newApp(server.url).emailPasswordAuth.registerUser({ email, password });
      await newApp(server.url).logIn(Credentials.emailPassword(email, password));
    }
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test("users look as in docs/console-users.png", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("users", "#users table");
    await keep("console-users.png", await console.tab.picture(1400, 780));
  });

  test("authentication looks as in docs/console-authentication.png", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("authentication/anon-user", "form");
    await console.press("Provider Enabled", "switch");
    await console.press("Save");
    await console.said("Saved into the draft");
    await console.press("Review & Deploy");
    await console.tab.see("dialog .diff .after");
    await keep("console-authentication.png", await console.tab.picture(1400, 780));
  });
});
