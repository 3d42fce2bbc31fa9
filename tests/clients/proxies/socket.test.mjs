// A reader's socket behind each proxy.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, describe, test } from "node:test";

import { faults } from "../kit/asyncapi.mjs";
import { PROXIES, startFront } from "../kit/proxies.mjs";
import { SOCKET, spoofedOf, SPOOFS } from "../kit/readers.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { startPasserby, startSite, startWire } from "../kit/upstream.mjs";
import { Visitor } from "../kit/visitor.mjs";

/** For the first ping of the server, which comes after 20 s; a deadline and not a pause. */
const PING_DEADLINE = 60_000;

// All at once, since each waits for a ping.
describe("a reader's socket", { concurrency: true, timeout: SUITE_DEADLINE }, () => {
  for (const name of PROXIES) {
    test(`is open behind ${name}, for as long as the page is`, async (t) => {
      const [server, site] = await Promise.all([startPasserby(t), startSite(t)]);
      const wire = await startWire(t, server);
      const front = await startFront(t, name, { passerby: wire.address, site: site.address });
      const visitor = new Visitor(front);
      const headers = { origin: front.url, "content-type": "application/json" };
      const made = await visitor.visit("/v1/sessions", { method: "POST", headers, body: '{"mode":"cookie"}' });
      assert.equal(made.status, 201, made.text);
      const { user_id: user } = JSON.parse(made.text);

      wire.clear();
      const socket = await visitor.socket(SPOOFS);
      const pinged = once(socket.ws, "ping", { signal: AbortSignal.timeout(PING_DEADLINE) });
      assert.deepEqual(wire.lines, [`GET ${SOCKET}`]);
      assert.deepEqual(spoofedOf(wire), []);
      const { type, user_id, anonymous, version, data } = await socket.push();
      assert.deepEqual([type, user_id, anonymous, version, data], ["hello", user, true, 0, null]);

      assert.deepEqual(await socket.does("put", { data: { read: 1 } }), { version: 1 });
      const [, patch] = await Promise.all([
        socket.isTold({ type: "data.changed", version: 2, patch: { saved: true } }),
        visitor.visit("/v1/data", { method: "PATCH", headers, body: '{"saved":true}' }),
      ]);
      assert.deepEqual([patch.status, JSON.parse(patch.text)], [200, { version: 2 }]);

      await pinged;
      assert.deepEqual(await socket.does("get"), { version: 2, data: { read: 1, saved: true } });
      assert.deepEqual(site.requests, []);
      const ended = socket.endsWith(1012);
      await server.stop();
      await ended;
    });
  }

  after(() => assert.deepEqual(faults, [], "what asyncapi.json does not have"));
});
