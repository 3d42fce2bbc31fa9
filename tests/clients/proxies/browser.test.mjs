// A reader's cookie in a real browser, behind a proxy with TLS.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { addressOf, startFront } from "../kit/proxies.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { startPasserby, startSite, storedUsers } from "../kit/upstream.mjs";
import { HOSTS, shownReader, startBrowser, Visitor } from "../kit/visitor.mjs";

describe("a reader's cookie in a real browser, behind nginx with TLS", { timeout: SUITE_DEADLINE }, () => {
  const [news, portal, otherPortal] = HOSTS;

  /** nginx before a Passerby with these settings, a browser, and the addresses of pages there. */
  async function startAll(t, settings) {
    const [server, site, page] = await Promise.all([startPasserby(t, settings), startSite(t), startBrowser(t)]);
    const front = await startFront(t, "nginx", { passerby: addressOf(server), site: site.address });
    const frame = `https://${news}:${front.port}/frame`;
    const framedBy = (host) => `https://${host}:${front.port}/portal?of=${encodeURIComponent(frame)}`;
    return { server, page, frame, framedBy };
  }

  const cookiesOf = async (page, host) =>
    (await page.browser().cookies()).filter(({ domain, name }) => domain === host && name.endsWith("passerby"));

  test("is a __Host- cookie that the browser keeps and sends, and no foreign frame gets", async (t) => {
    const { server, page, frame, framedBy } = await startAll(t);
    const user = await shownReader(page, frame);
    for (let i = 0; i < 3; i += 1) assert.equal(await shownReader(page, frame), user);
    assert.equal(await storedUsers(server), 1);

    const cookies = await cookiesOf(page, news);
    assert.equal(cookies.length, 1);
    const [{ name, secure, httpOnly, sameSite, path, partitionKey }] = cookies;
    assert.deepEqual(
      { name, secure, httpOnly, sameSite, path, partitionKey },
      { name: "__Host-passerby", secure: true, httpOnly: true, sameSite: "Lax", path: "/", partitionKey: undefined },
    );

    const framed = await shownReader(page, framedBy(portal));
    assert.notEqual(framed, user);
    assert.notEqual(await shownReader(page, framedBy(portal)), framed, "and a frame keeps none");
    assert.equal(await shownReader(page, frame), user);
  });

  test("is kept apart for each site that has a frame of ours, with cookie.partitioned (CHIPS)", async (t) => {
    const { page, frame, framedBy } = await startAll(t, { PASSERBY_COOKIE_PARTITIONED: "true" });
    const addresses = [frame, framedBy(portal), framedBy(otherPortal)];
    const users = [];
    for (const address of addresses) users.push(await shownReader(page, address));
    assert.equal(new Set(users).size, 3);
    for (let i = 0; i < 2; i += 1) {
      for (const [n, address] of addresses.entries()) assert.equal(await shownReader(page, address), users[n]);
    }
    const cookies = await cookiesOf(page, news);
    assert.equal(cookies.length, 3);
    for (const { name, secure, httpOnly, sameSite, partitionKey } of cookies) {
      assert.deepEqual([name, secure, httpOnly, sameSite], ["__Host-passerby", true, true, "None"]);
      assert.ok(partitionKey);
    }
  });

  test("is written as both want it", async (t) => {
    const partitioned = await startPasserby(t, { PASSERBY_COOKIE_PARTITIONED: "true" });
    const site = await startSite(t);
    const front = await startFront(t, "nginx", { passerby: addressOf(partitioned), site: site.address });
    const { setCookie } = await new Visitor(front).visit();
    assert.equal(setCookie.length, 1);
    assert.match(
      setCookie[0],
      /^__Host-passerby=[\w-]+; HttpOnly; SameSite=None; Secure; Path=\/; Max-Age=7776000; Partitioned$/,
    );
  });
});
