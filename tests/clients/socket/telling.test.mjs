// What a socket tells of changes that others make.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { assertHeard } from "../kit/asyncapi.mjs";
import { all, range } from "../kit/many.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { Client, Device, merged, refusal, startPasserby } from "../kit/socket.mjs";

describe("the socket", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startPasserby(null);
  });
  after(() => server?.close());

  describe("tells", () => {
    const versionsOf = ({ frames }, which = () => true) =>
      frames.filter((frame) => frame.version !== undefined && which(frame)).map(({ version }) => version);

    test("of every change but its own", async () => {
      const device = await Device.anonymous(server);
      const [one, other] = [await device.open(), await device.open()];
      const far = await (await device.another()).open();
      const padding = "p".repeat(100);
      await one.does("put", { data: { padding, n: 1 } });
      for (const socket of [other, far])
        await socket.isTold({ type: "data.changed", version: 1, data: { padding, n: 1 } });
      await device.call("PATCH", "/v1/data", { m: 2 });
      for (const socket of [one, other, far])
        await socket.isTold({ type: "data.changed", version: 2, patch: { m: 2 } });
      await far.does("increment", { path: "/n" });
      for (const socket of [one, other]) await socket.isTold({ type: "data.changed", version: 3, patch: { n: 2 } });
      await device.call("POST", "/v1/data/increment", { path: "/n", by: 5 });
      for (const socket of [one, other, far])
        await socket.isTold({ type: "data.changed", version: 4, patch: { n: 7 } });
      await other.does("delete");
      for (const socket of [one, far]) await socket.isTold({ type: "data.changed", version: 5, data: null });
      // A patch that changes nothing is a version all the same.
      await device.call("PATCH", "/v1/data", {});
      for (const socket of [one, other, far]) assert.equal((await socket.push()).version, 6);
      // Nothing of any other user's.
      const stranger = await Device.anonymous(server);
      await stranger.call("PUT", "/v1/data", { theirs: true });
      await device.call("PUT", "/v1/data", { last: true });
      for (const socket of [one, other, far])
        await socket.isTold({ type: "data.changed", version: 7, data: { last: true } });
      await Promise.all([one, other, far].map((socket) => socket.close()));
    });

    test("every socket each version exactly once and in order, whoever writes", async () => {
      const [sockets, writers, changes] = [8, 4, 60];
      const device = await Device.anonymous(server);
      const clients = await all(sockets, () => device.open());
      const byHttp = range(writers, async (writer) => {
        for (const n of range(changes)) {
          const { status } = await device.call("PATCH", "/v1/data", {
            [`http${writer}`]: n,
            [`gone${n % 7}`]: n % 2 ? null : n,
          });
          assert.equal(status, 200);
        }
      });
      // Several at a time on each socket.
      const bySocket = clients.map((client, writer) =>
        all(changes, (n) =>
          n % 2
            ? client.does("increment", { path: "/sum" })
            : client.does("patch", { patch: { [`socket${writer}`]: n } }),
        ),
      );
      await Promise.all([...byHttp, ...bySocket]);
      const last = (sockets + writers) * changes;
      const end = await device.data();
      assert.equal(end.sum, (sockets * changes) / 2);
      for (const client of clients) {
        await client.once("the last version", () => versionsOf(client).includes(last));
        const pushed = versionsOf(client, ({ type }) => type === "data.changed");
        assert.deepEqual(
          pushed,
          pushed.toSorted((a, b) => a - b),
          "pushes",
        );
        const replied = versionsOf(client, ({ type }) => type === "reply");
        assert.deepEqual(
          replied,
          replied.toSorted((a, b) => a - b),
          "own replies",
        );
        assert.deepEqual(
          [0, ...pushed, ...replied].toSorted((a, b) => a - b),
          range(last + 1),
          "each of them once",
        );
        await client.close();
      }
    });

    test("of each change between the answers before and after it", async () => {
      const device = await Device.anonymous(server);
      const clients = await all(4, () => device.open());
      await Promise.all(clients.map((client) => all(100, () => client.does("increment", { path: "/n" }))));
      for (const client of clients) {
        await client.once("the last version", () => versionsOf(client).includes(400));
        // A client that applies its own changes when they are answered has the same document as all others.
        assert.deepEqual(versionsOf(client), range(401), "hello, pushes and replies as they came");
        await client.close();
      }
    });

    test("of no change again that an answer had", async () => {
      const device = await Device.anonymous(server);
      const client = await device.open();
      let writing = true;
      const writers = range(3, async () => {
        while (writing) await device.call("POST", "/v1/data/increment", { path: "/n" });
      });
      for (const _ of range(200)) await client.does("get");
      writing = false;
      await Promise.all(writers);
      const last = (await device.data()).n;
      const told = () => client.frames.filter(({ type }) => type === "data.changed").map(({ version }) => version);
      await client.once("the last version", () => told().at(-1) === last);
      assert.deepEqual(
        told(),
        range(last, (n) => n + 1),
      );
      const versions = client.frames.map(({ version }) => version);
      const back = versions.findIndex((version, n) => n > 0 && version < versions[n - 1]);
      assert.equal(
        back,
        -1,
        `${JSON.stringify(client.frames[back - 1])} and then ${JSON.stringify(client.frames[back])}`,
      );
      await client.close();
    });

    test("a client that comes back what was missed", async () => {
      const device = await Device.anonymous(server);
      const padding = "p".repeat(200);
      await device.call("PUT", "/v1/data", { padding, n: 0 });
      const first = await device.open();
      assert.deepEqual([first.hello.version, first.hello.data], [1, { padding, n: 0 }]);
      await first.close();

      const same = await device.open({ since: 1 });
      assert.ok(!("data" in same.hello), "nothing was missed");
      for (const n of [1, 2, 3]) await device.call("PATCH", "/v1/data", { n });
      for (const n of [1, 2, 3]) await same.isTold({ type: "data.changed", version: n + 1, patch: { n } });

      const behind = await device.open({ since: 2 });
      assert.deepEqual([behind.hello.version, "data" in behind.hello], [4, false]);
      for (const n of [2, 3]) await behind.isTold({ type: "data.changed", version: n + 1, patch: { n } });
      const current = await device.open({ since: 4 });
      assert.ok(!("data" in current.hello));

      for (const since of [0, 5, 1_000_000, "18446744073709551615"]) {
        const whole = await device.open({ since });
        assert.deepEqual([whole.hello.version, whole.hello.data], [4, { padding, n: 3 }], `since ${since}`);
        await whole.close();
      }
      // More than is kept.
      for (const n of range(70)) await device.call("PATCH", "/v1/data", { n });
      const old = await device.open({ since: 2 });
      assert.deepEqual([old.hello.version, old.hello.data], [74, { padding, n: 69 }]);
      const last = await device.open({ since: 70 });
      assert.ok(!("data" in last.hello));
      for (const n of [66, 67, 68, 69]) await last.isTold({ type: "data.changed", version: n + 5, patch: { n } });
      // A document that is gone is no reason to send all.
      await device.call("DELETE", "/v1/data");
      const gone = await device.open({ since: 74 });
      await gone.isTold({ type: "data.changed", version: 75, data: null });
      assert.deepEqual((await device.open()).hello.data, null);
      for (const since of ["-1", "1.5", "x", "", "1&more=1", "18446744073709551616"]) {
        const opening = Client.open(server, { ticket: await device.ticket(), query: `?since=${since}` });
        assert.deepEqual(await refusal(opening), [400, "bad-query"], since);
      }
    });

    test("a client that comes back while others write each version once", async () => {
      const device = await Device.anonymous(server);
      const writer = await device.open();
      let writing = true;
      const written = (async () => {
        let version = 0;
        while (writing) ({ version } = await writer.does("increment", { path: "/n" }));
        return version;
      })();
      let [since, coming] = [0, true];
      let document = {};
      for (const round of range(30)) {
        const client = await device.open({ since });
        const { hello } = client;
        await client.once("a change", (frames) => frames.length > 2);
        let version = "data" in hello ? hello.version : since;
        if ("data" in hello) document = hello.data ?? {};
        for (const told of client.frames.slice(1)) {
          assert.equal(told.version, version + 1, `round ${round}, since ${since}`);
          ({ version } = told);
          document = told.patch ? merged(document, told.patch) : told.data;
          assert.equal(document.n, version, "each version is one more");
        }
        since = version;
        if (coming) client.drop();
        coming = !coming;
      }
      writing = false;
      await written;
    });
  });

  test("says what asyncapi.json has", () => assertHeard("telling"));
});
