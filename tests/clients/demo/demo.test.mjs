// `passerby demo` as somebody looks at it, in a browser. The README's picture is taken here.

import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { startBrowser } from "../kit/browser.mjs";
import { newHome } from "../kit/cleanup.mjs";
import { Server, SUITE_DEADLINE } from "../kit/server.mjs";
import { FIREFOX } from "../kit/visitor.mjs";

const PICTURE = fileURLToPath(new URL("../../../docs/demo.png", import.meta.url));
const SLUGS = ["harbour", "library", "market", "bakery"];
/** Written by the page's script when it is done. */
const READY = "body[data-ready]";

describe("passerby demo", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;

  before(async () => {
    browser = await startBrowser();
    // The folder that the demo makes shall be seen to go again.
    const home = await newHome();
    server = await new Server(home, [], { TMPDIR: home }, "demo").start();
  });
  after(async () => {
    await server?.close();
    await browser?.close();
  });

  const open = async (t) => {
    const device = await browser.newDevice(t, { userAgent: FIREFOX });
    const tab = await device.open(`${server.url}/`);
    await tab.see(READY);
    return { device, tab };
  };
  const go = async (tab, path) => {
    await tab.visit(server.url + path);
    await tab.see(READY);
  };
  const facts = async (tab) => ({ reader: await tab.read("#reader"), used: await tab.read("#used") });

  test("a reader reads three articles, meets the paywall, and is another reader for the asking", async (t) => {
    const { device, tab } = await open(t);
    const first = await facts(tab);
    assert.equal(first.used, "0 of 3 free articles today");
    for (const [n, slug] of SLUGS.slice(0, 3).entries()) {
      await go(tab, `/articles/${slug}`);
      const used = `${n + 1} of 3 free articles today`;
      assert.deepEqual(await facts(tab), { reader: first.reader, used });
    }
    // What was read already can be read again.
    await go(tab, `/articles/${SLUGS[0]}`);
    assert.deepEqual(await facts(tab), { reader: first.reader, used: "3 of 3 free articles today" });
    await go(tab, `/articles/${SLUGS[3]}`);
    await tab.see("#paywall");

    await tab.click("#new-reader");
    await tab.see(`${READY} .teasers`);
    const second = await facts(tab);
    assert.notEqual(second.reader, first.reader);
    assert.equal(second.used, "0 of 3 free articles today");
    const cookies = await device.cookies();
    assert.deepEqual(cookies.map(({ name, httpOnly }) => ({ name, httpOnly })), [{ name: "passerby", httpOnly: true }]);
  });

  test("who subscribes stays the same reader and reads on", async (t) => {
    const { tab } = await open(t);
    const { reader } = await facts(tab);
    for (const slug of SLUGS) await go(tab, `/articles/${slug}`);
    await tab.see("#paywall");
    await tab.click("#paywall a");
    await tab.type("input[name=email]", "reader@example.com");
    await tab.type("input[name=password]", "a long password");
    await tab.click("#account button");
    await tab.see("body[data-kind=member][data-ready]");
    assert.deepEqual(await facts(tab), { reader, used: "read as much as you like" });
    await go(tab, `/articles/${SLUGS[3]}`);
    await tab.see("article p:nth-of-type(3)");

    // On another device the same person comes back, and what was read there joins.
    const other = await open(t);
    await go(other.tab, "/subscribe");
    await other.tab.type("input[name=password]", "a long password");
    await other.tab.click("#account button");
    await other.tab.see("body[data-kind=member][data-ready]");
    assert.equal((await facts(other.tab)).reader, reader);
  });

  test("a browser that says it is headless is told why it gets no id and meets no wall", async (t) => {
    const device = await browser.newDevice(t, { userAgent: FIREFOX.replace("Firefox", "HeadlessChrome") });
    const tab = await device.open(`${server.url}/`);
    await tab.see(READY);
    assert.match(await tab.read("#note"), /says that it is a machine \(such as HeadlessChrome\).+no id.+no paywall/s);
    for (const slug of SLUGS) {
      await go(tab, `/articles/${slug}`);
      await tab.see("article p:nth-of-type(3)");
    }
    assert.deepEqual(await device.cookies(), []);

    const person = await open(t);
    await person.tab.see("main:not(:has(#note))");
  });

  test("it looks as in the README", async (t) => {
    const { tab } = await open(t);
    await go(tab, `/articles/${SLUGS[0]}`);
    await go(tab, `/articles/${SLUGS[1]}`);
    await go(tab, "/");
    assert.equal((await facts(tab)).used, "2 of 3 free articles today");
    const picture = await tab.picture(1000, 620);
    assert.ok(picture.length > 20_000, "something is to be seen");
    // A new one whenever the demo changes, by whoever changes it: each has other ids in it.
    if (process.env.PASSERBY_PICTURES) await writeFile(PICTURE, picture);
  });

  test("nothing is left when it ends", async () => {
    const made = async () => (await readdir(server.home)).filter((name) => name.startsWith("passerby-demo-"));
    assert.equal((await made()).length, 1);
    await server.stop();
    assert.deepEqual(await made(), []);
  });
});
