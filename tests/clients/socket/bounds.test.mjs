// How much a socket, a user and a network may have, and how many are held at once.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { assertHeard } from "../kit/asyncapi.mjs";
import { all, range } from "../kit/many.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { assertWell, Device, metric, refusal, SOON, startPasserby, untilSockets } from "../kit/socket.mjs";
import { until } from "../kit/wait.mjs";

const MOST_SOCKETS = 1024;

describe("the socket", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startPasserby(null);
  });
  after(() => server?.close());

  describe("holds", () => {
    test("increments of a hundred clients, each of them once", async (t) => {
      // A thousand of each take a debug build on two cores about a minute; these are a fifth of them.
      const [sockets, others, each] = [20, 80, 200];
      // it writes far more than a network may
      const own = await startPasserby(t, { PASSERBY_LIMITS: "off" });
      const device = await Device.anonymous(own);
      const clients = await all(sockets, () => device.open());
      const began = Date.now();
      await Promise.all([
        ...clients.map(async (client) => {
          for (const _ of range(each)) await client.does("increment", { path: "/n" });
        }),
        ...range(others, async () => {
          for (const _ of range(each))
            assert.equal((await device.call("POST", "/v1/data/increment", { path: "/n" })).status, 200);
        }),
      ]);
      t.diagnostic(`${(sockets + others) * each} increments, ${Date.now() - began} ms`);
      const sum = (sockets + others) * each;
      assert.deepEqual(await device.data(), { n: sum });
      for (const client of clients) {
        const versions = () => client.frames.flatMap(({ version }) => version ?? []);
        await client.once("all of them", () => versions().length > sum);
        assert.deepEqual(
          versions().toSorted((a, b) => a - b),
          range(sum + 1),
        );
      }
      await Promise.all(clients.map((client) => client.close()));
    });

    test("a quiet user's sockets while others come and go", async (t) => {
      const own = await startPasserby(t, { PASSERBY_ACTORS_IDLE: 1, PASSERBY_ACTORS_MAX_LIVE: 4 });
      const quiet = await all(8, () => Device.anonymous(own));
      const clients = await Promise.all(quiet.map((device) => device.open()));
      const visitors = await all(12, () => Device.anonymous(own));
      for (const visitor of visitors)
        assert.equal((await visitor.call("PUT", "/v1/data", { here: true })).status, 200);
      await until("the visitors rest", async () =>
        (await metric(own, "live_users")) <= quiet.length ? true : undefined,
      );
      for (const [n, device] of quiet.entries()) {
        assert.equal((await device.call("PUT", "/v1/data", { n })).status, 200);
        await clients[n].isTold({ type: "data.changed", version: 1, data: { n } }, SOON);
      }
      assert.equal(await metric(own, "sockets"), quiet.length);
      await Promise.all(clients.map((client) => client.close()));
      await until("all rest", async () => ((await metric(own, "live_users")) === 0 ? true : undefined));
    });

    test("so many sockets of a network, and no more", async (t) => {
      const own = await startPasserby(t, { PASSERBY_BUDGET_SOCKETS: "2", PASSERBY_TRUSTED_PROXIES: "127.0.0.1" });
      const device = await Device.anonymous(own);
      const from = (address) => ({ headers: { "x-forwarded-for": address } });
      const open = [await device.open(from("2001:db8::1")), await device.open(from("2001:db8::2"))];
      const ticket = await device.ticket();
      assert.deepEqual(await refusal(device.open({ ticket, ...from("2001:db8::3") })), [429, "too-many-sockets"]);
      await open.pop().close();
      await untilSockets(own, 1);
      open.push(await device.open({ ticket, ...from("2001:db8::3") }), await device.open(from("2001:db8:0:1::1")));
      await untilSockets(own, 3);
      await Promise.all(open.map((client) => client.close()));
    });

    test(`${MOST_SOCKETS} sockets of a user, and no more`, async (t) => {
      const own = await startPasserby(t);
      const device = await Device.anonymous(own);
      const clients = [];
      while (clients.length < MOST_SOCKETS) clients.push(...(await all(64, () => device.open())));
      await untilSockets(own, MOST_SOCKETS);
      assert.deepEqual(await refusal(device.open()), [429, "too-many-sockets"]);
      const stranger = await (await Device.anonymous(own)).open();
      await device.call("PUT", "/v1/data", { of: "all" });
      await clients[0].does("increment", { path: "/n" });
      for (const [index, client] of clients.entries()) {
        await client.isTold({ type: "data.changed", version: 1, data: { of: "all" } });
        if (index > 0) assert.equal((await client.push()).version, 2);
      }
      // The place of one that went is free.
      clients[5].drop();
      await untilSockets(own, MOST_SOCKETS);
      await (await device.open()).close();
      // By a word or without one.
      for (const [index, client] of clients.entries()) {
        if (index % 2) client.drop();
        else client.ws.close();
      }
      await untilSockets(own, 1);
      await stranger.does("get");
      await stranger.close();
      await untilSockets(own, 0);
      await assertWell(own);
    });
  });

  test("says what asyncapi.json has", () => assertHeard("bounds"));
});
