// The page at "/" in a browser, as whoever opens the printed address sees it. The picture of it in docs/ is taken here.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { startBrowser } from "../kit/browser.mjs";
import { startServer, startServerWith, startServerWithApp, SUITE_DEADLINE } from "../kit/server.mjs";
import { Site } from "../kit/site.mjs";
import { ANON_USER } from "../kit/userpass.mjs";

const PICTURE = fileURLToPath(new URL("../../../docs/index.png", import.meta.url));
const READY = "#buttons:not([hidden])";
const ID = "#answer code";

/** How many users the server has stored. */
async function storedUsers(server) {
  const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text();
  return Number(/^passerby_users (\d+)$/m.exec(metrics)[1]);
}

/** A proxy in front of a server. */
async function startSite(t, options) {
  const site = await new Site(options).listen();
  t.after(() => site.close());
  return site;
}

/** In the page: each text with less contrast to what is behind it than WCAG 2.2 asks for (1.4.3), and that contrast. */
function faintTexts() {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const [red, green, blue] = channels(colour).map((value) => linear(value / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    const { backgroundColor } = getComputedStyle(element);
    return channels(backgroundColor)[3] === 0 ? behind(element.parentElement) : backgroundColor;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const faint = [];
  let shown = 0;
  while (texts.nextNode()) {
    const { parentElement, textContent } = texts.currentNode;
    if (textContent.trim() === "" || !parentElement.checkVisibility()) continue;
    shown += 1;
    const both = [getComputedStyle(parentElement).color, behind(parentElement)].map(luminance).sort((a, b) => b - a);
    const contrast = (both[0] + 0.05) / (both[1] + 0.05);
    if (contrast < 4.5) faint.push({ text: textContent, contrast });
  }
  return { shown, faint };
}

describe("the page at /", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;

  before(async () => {
    browser = await startBrowser();
    server = await startServer();
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  const open = async (t, url = `${server.url}/`) => {
    const device = await browser.newDevice(t);
    const tab = await device.open(url);
    await tab.see(READY);
    return { device, tab };
  };

  test("creates nobody until the button is pressed, and loads nothing from elsewhere", async (t) => {
    const before = await storedUsers(server);
    const { device, tab } = await open(t);
    const loaded = ["/", "/index.js", "/passerby.js"].map((path) => server.url + path);
    assert.deepEqual(tab.requested.filter((url) => !url.startsWith("data:")), loaded);
    assert.deepEqual(await device.cookies(), []);
    assert.equal(await storedUsers(server), before);
    assert.deepEqual(tab.complaints, []);
  });

  test("who asks by the keyboard is the same at the next visit, and somebody else once forgotten", async (t) => {
    const before = await storedUsers(server);
    const { device, tab } = await open(t);
    const focused = () => tab.evaluate(() => document.activeElement.id);
    while ((await focused()) !== "enter") await tab.press("Tab");
    await tab.press("Enter");
    const id = await tab.read(ID);
    assert.match(await tab.read("#answer"), /You are .+Known since .+ forgotten after .+ unless you come back/);
    assert.equal(await storedUsers(server), before + 1);
    assert.deepEqual((await device.cookies()).map(({ name, httpOnly }) => ({ name, httpOnly })), [
      { name: "passerby", httpOnly: true },
    ]);

    await tab.visit(`${server.url}/`);
    await tab.see(READY);
    await tab.click("#enter");
    assert.equal(await tab.read(ID), id);
    assert.equal(await storedUsers(server), before + 1);

    await tab.press("Tab");
    assert.equal(await focused(), "leave");
    await tab.press("Enter");
    await tab.see("#leave[hidden]");
    assert.match(await tab.read("#answer"), /The user is deleted/);
    assert.equal(await focused(), "enter", "the keyboard is not lost with the button");
    assert.equal(await storedUsers(server), before);
    assert.deepEqual(await device.cookies(), []);

    await tab.press("Enter");
    assert.notEqual(await tab.read(ID), id);
    assert.deepEqual(tab.complaints, []);
  });

  test("works for the user where its network has created many, as other pages do", async (t) => {
    const strict = await startSite(t, { client: "203.0.113.7" });
    const settings = 'trusted_proxies = ["127.0.0.1"]\nbudget = { create = 1, create_burst = 1 }\n';
    strict.passerby = await startServerWith(t, settings);
    assert.equal((await fetch(`${strict.url}/v1/sessions`, { method: "POST" })).status, 201);
    const { tab } = await open(t, `${strict.url}/`);
    await tab.click("#enter");
    await tab.read(ID);
    assert.ok(tab.requested.includes(`${strict.url}/v1/challenge`), tab.requested.join("\n"));
    assert.ok(tab.requested.some((url) => url.startsWith("blob:")), "the work is done beside the page");
    assert.deepEqual(tab.complaints.filter((text) => text.includes("Content Security Policy")), []);
  });

  test("says why where anonymous users are switched off", async (t) => {
    const off = await startServerWithApp(t, { "anon-user": { ...ANON_USER, disabled: true } });
    const { tab } = await open(t, `${off.url}/`);
    await tab.click("#enter");
    assert.equal(await tab.read("#answer"), "That did not work: anonymous logins are switched off.");
    await tab.see("#leave[hidden]");
  });

  test("says so where the browser does not keep the cookie, and creates no second user", async (t) => {
    const site = await startSite(t);
    site.passerby = server;
    site.answerNext("POST /v1/sessions", (request, response) =>
      site.passOn(request, response, (answer) => {
        const { connection, "set-cookie": cookie, ...headers } = answer.headers;
        assert.match(cookie[0], /^passerby=/);
        answer.pipe(response.writeHead(answer.statusCode, headers));
      }),
    );
    const { tab } = await open(t, `${site.url}/`);
    await tab.click("#enter");
    assert.match(await tab.read("#answer"), /^The server created .+, and this browser did not keep the cookie/);
    await tab.see("#enter[hidden]");
  });

  test("can be read in both schemes, on a phone, and by a screen reader", async (t) => {
    const { tab } = await open(t);
    await tab.click("#enter");
    await tab.read(ID);
    for (const scheme of ["light", "dark"]) {
      for (const width of [320, 1280]) {
        await tab.show(width, scheme);
        const { shown, faint } = await tab.evaluate(faintTexts);
        assert.ok(shown > 40, `${shown} texts`);
        assert.deepEqual(faint, [], `${scheme}, ${width} pixels`);
        assert.equal(await tab.evaluate(() => document.documentElement.scrollWidth), width);
      }
    }
    const spoken = [];
    const collect = ({ role, name, children = [] }) => {
      spoken.push(`${role}: ${name}`);
      children.forEach(collect);
    };
    collect(await tab.spoken());
    for (const wanted of ["heading: Passerby runs here", "heading: Try it in this browser", "button: Who am I?", "button: Forget me"]) {
      assert.ok(spoken.includes(wanted), `${wanted} in ${spoken.join("\n")}`);
    }
  });

  test("looks as in docs/index.png", async (t) => {
    const { tab } = await open(t);
    await tab.click("#enter");
    await tab.read(ID);
    const picture = await tab.picture(1000, 620);
    assert.ok(picture.length > 20_000, "something is to be seen");
    // A new one whenever the page changes, by whoever changes it: each has another id in it.
    if (process.env.PASSERBY_PICTURES) await writeFile(PICTURE, picture);
  });
});
