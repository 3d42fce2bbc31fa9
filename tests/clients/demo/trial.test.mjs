// `passerby demo --trial` as somebody uses it, in a browser with two windows and a second device. The README's picture of
// it is taken here.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { startBrowser } from "../kit/browser.mjs";
import { newHome } from "../kit/cleanup.mjs";
import { Server, SUITE_DEADLINE } from "../kit/server.mjs";

const PICTURE = fileURLToPath(new URL("../../../docs/trial.png", import.meta.url));
const DEADLINE = 60_000;
/** Written by the page's script when it is done. */
const READY = "body[data-ready][data-status=open]";
const PASSWORD = "a long password";

describe("passerby demo --trial", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;

  before(async () => {
    browser = await startBrowser();
    const home = await newHome();
    server = await new Server(home, ["--trial"], { TMPDIR: home }, "demo").start();
  });
  after(async () => {
    await server?.close();
    await browser?.close();
  });

  const open = async (device, url = `${server.url}/`) => {
    const tab = await device.open(url);
    await tab.see(READY);
    return tab;
  };
  /** Waits until the tab shows this at the selector; nobody has to look at it for that. */
  const shows = async (tab, selector, text) => {
    const deadline = Date.now() + DEADLINE;
    for (;;) {
      const shown = await tab.read(selector);
      if (shown === text) return;
      assert.ok(Date.now() < deadline, `${selector} is '${shown}' and not '${text}'`);
    }
  };
  // Without pseudo-classes, for which a window that is not in front does not wait.
  const named = (what, text) => `#items [aria-label="${what}: ${text}"]`;
  const item = (text) => named("Done", text);
  const ticked = (text) => `#items .done [aria-label="Done: ${text}"]`;
  const ended = "body[data-status=closed]";
  const add = async (tab, ...texts) => {
    for (const text of texts) {
      await tab.type("#add input", text);
      await tab.click("#add button");
      await tab.see(item(text));
    }
  };
  const logIn = async (tab, email) => {
    await tab.type("input[name=email]", email);
    await tab.type("input[name=password]", PASSWORD);
    await tab.click("#account button");
  };
  const user = (tab) => tab.read("#user");

  test("what one window does is seen in the other, through sign-up and beyond", async (t) => {
    const device = await browser.newDevice(t);
    const [here, there] = [await open(device), await open(device)];
    const id = await user(here);
    assert.equal(await user(there), id);
    assert.equal(await here.read("#kind"), "trying out");
    assert.equal(await here.read("#status"), "live");

    await add(here, "bread", "stamps");
    await add(there, "a key");
    await shows(here, "#done", "0 of 3 done");
    await here.click(item("stamps"));
    await there.see(ticked("stamps"));
    await there.click(item("bread"));
    await shows(here, "#done", "2 of 3 done");
    await shows(here, "#ticked", "2 ticked off in all");
    await there.type(named("Edit", "a key"), "two keys");
    await there.click(named("Delete", "bread"));
    await here.see(item("two keys"));
    for (const tab of [here, there]) await shows(tab, "#done", "1 of 2 done");

    await logIn(here, "trial@example.com");
    for (const tab of [here, there]) {
      await shows(tab, "#kind", "account");
      assert.equal(await user(tab), id);
    }
    await add(there, "soap");
    await shows(here, "#done", "1 of 3 done");
    await here.visit(`${server.url}/`);
    await here.see(READY);
    await shows(here, "#done", "1 of 3 done");
    await shows(here, "#ticked", "2 ticked off in all");
  });

  test("a second device has the list by a code, which is not in its address any more", async (t) => {
    const [one, other] = [await browser.newDevice(t), await browser.newDevice(t)];
    const first = await open(one);
    await add(first, "tickets");
    await first.click("#second-device");
    await first.see("#qr[src^='blob:']");
    const url = await first.read("#link");
    assert.ok(url.startsWith(`${server.url}/#code=`), url);

    const second = await open(other, url);
    assert.equal(second.url, `${server.url}/`);
    assert.equal(await user(second), await user(first));
    await second.see(item("tickets"));
    await add(second, "milk");
    await first.see(item("milk"));

    // It works once: a third device has a list of its own, and is told why.
    const third = await open(await browser.newDevice(t), url);
    assert.notEqual(await user(third), await user(first));
    await third.read("#trouble");
    assert.equal(await third.read("#done"), "0 of 0 done");

    // Who signs up here ends there, and goes on there by logging in.
    await logIn(first, "devices@example.com");
    await shows(first, "#kind", "account");
    await second.see(ended);
    assert.equal(await second.read("#status"), "ended");
    await second.see("#main[hidden]");
    await second.see("#start-over[hidden]");
    assert.match(await second.read("#last"), /tickets/, "what stood there can still be read");
    assert.match(await second.read("body > :first-child"), /Go on with a new list/, "the one way on stands first");
    await second.click("#go-on");
    await second.see(READY);
    await add(second, "string");
    const beside = await open(other);
    await logIn(second, "devices@example.com");
    for (const tab of [second, beside]) {
      await tab.see(`${READY}[data-kind=member]`);
      assert.equal(await user(tab), await user(first));
    }
    for (const tab of [first, second, beside]) {
      for (const text of ["tickets", "milk", "string"]) await tab.see(item(text));
    }
  });

  test("who starts over has an empty list and is somebody else, in every window", async (t) => {
    const device = await browser.newDevice(t);
    const [here, there] = [await open(device), await open(device)];
    const id = await user(here);
    await add(here, "bread");
    await here.click("#start-over");
    await there.see(ended);
    await here.see(READY);
    await shows(here, "#done", "0 of 0 done");
    const next = await user(here);
    assert.notEqual(next, id);
    await there.click("#go-on");
    await there.see(READY);
    await shows(there, "#user", next);
  });

  test("it looks as in the README", async (t) => {
    const device = await browser.newDevice(t);
    const [here, there] = [await open(device), await open(device)];
    await add(here, "Return the library’s umbrella", "Bread, before four", "Ask who owns the orchard");
    await add(there, "Map of the harbour", "Stamps");
    for (const text of ["Bread, before four", "Stamps", "Map of the harbour"]) {
      await here.click(item(text));
      await there.see(ticked(text));
    }
    await there.click("#second-device");
    await there.see("#qr[src^='blob:']");
    for (const tab of [here, there]) await shows(tab, "#done", "3 of 5 done");
    const windows = [await here.picture(640, 620), await there.picture(640, 620)];
    const images = windows.map((png) => `<img src="data:image/png;base64,${Buffer.from(png).toString("base64")}">`);
    const style = "<style>body { margin: 0; display: flex; gap: 20px; background: #8b958f }</style>";
    await here.visit(`data:text/html,${encodeURIComponent(`<!doctype html>${style}${images.join("")}`)}`);
    const picture = await here.picture(1300, 620);
    assert.ok(picture.length > 20_000, "something is to be seen");
    // A new one whenever the demo changes, by whoever changes it: each has other ids in it.
    if (process.env.PASSERBY_PICTURES) await writeFile(PICTURE, picture);
  });
});
