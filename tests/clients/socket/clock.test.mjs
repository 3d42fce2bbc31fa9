// What a socket does by the clock: pings, ends of sessions, and who does not read.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";

import { assertHeard } from "../kit/asyncapi.mjs";
import { range } from "../kit/many.mjs";
import { frame, OPCODE } from "../kit/raw-socket.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { assertWell, Device, metric, SEND_WITHIN, startPasserby, untilSockets } from "../kit/socket.mjs";
import { DEADLINE, until, within } from "../kit/wait.mjs";

describe("the socket", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startPasserby(null);
  });
  after(() => server?.close());

  describe("by the clock", { concurrency: true }, () => {
    test("is pinged, answers pings, and says when an account's session ends soon", async (t) => {
      const own = await startPasserby(t, { PASSERBY_SESSION_LIFETIME: "1800" });
      const client = await (await Device.account(own)).open();
      const guest = await (await Device.anonymous(own)).open();
      client.ws.ping("are you there");
      const [pong] = await within(DEADLINE, "a pong", once(client.ws, "pong"));
      assert.equal(String(pong), "are you there");
      const { type, at } = await client.push(60_000);
      assert.equal(type, "expiring");
      const left = Date.parse(at) - Date.now();
      assert.ok(left > 1_700_000 && left < 1_800_000, at);
      await until("pings", () => (client.pings > 0 && guest.pings > 0 ? true : undefined));
      await Promise.all([client.does("get"), guest.does("get")]);
      assert.equal(guest.frames.length, 2, "an anonymous one has no such end");
      await Promise.all([client.close(), guest.close()]);
    });

    test("ends when an account's session has expired", async (t) => {
      const own = await startPasserby(t, { PASSERBY_SESSION_LIFETIME: "10" });
      const client = await (await Device.account(own)).open();
      await client.isTold({ type: "session.ended", reason: "expired" }, 60_000);
      await client.endsWith(4001);
    });

    test("is activity, without a word said; and a user without one expires", async (t) => {
      const own = await startPasserby(t, { PASSERBY_EXPIRY_WINDOW: 26, PASSERBY_EXPIRY_TOUCH_GRANULARITY: 1 });
      const [device, idle] = [await Device.anonymous(own), await Device.anonymous(own)];
      const client = await device.open();
      assert.equal(client.hello.user_id, device.user);
      await until("two pings", () => (client.pings > 1 ? true : undefined), 120_000);
      assert.deepEqual(await client.does("get"), { version: 0, data: null });
      assert.equal((await device.call("GET", "/v1/session")).status, 200);
      assert.equal((await idle.call("GET", "/v1/session")).status, 401);
      await client.close();
    });

    test("a client that sends pings and takes no pong is cut off", async (t) => {
      const own = await startPasserby(t);
      const device = await Device.anonymous(own);
      const [deaf, other] = [await device.raw(), await device.open()];
      deaf.tcp.pause();
      const pings = Buffer.concat(range(500, () => frame(OPCODE.ping, "p".repeat(125))));
      // Until neither side's buffers take any more.
      const fill = () => {
        while (!deaf.tcp.destroyed && deaf.tcp.write(pings));
        deaf.tcp.once("drain", fill);
      };
      fill();
      const oneIsLeft = async () => ((await metric(own, "sockets")) === 1 ? true : undefined);
      await until("one socket is left", oneIsLeft, 120_000).finally(() => deaf.drop());
      await other.does("get");
      await other.close();
      await untilSockets(own, 0);
    });

    test("ends with 4008 when pings are not answered", async () => {
      const device = await Device.anonymous(server);
      const [deaf, other] = [await device.raw({ pongs: false }), await device.raw()];
      assert.equal(await deaf.closeCode(120_000), 4008);
      assert.ok(deaf.pings > 0);
      assert.equal(other.code, undefined, "who answers stays");
      assert.ok(other.pings > 0);
      other.drop();
    });

    test("a client that does not read is cut off, and slows no other", async (t) => {
      const [body, document] = [262_144, 131_072];
      const own = await startPasserby(t, {
        PASSERBY_HTTP_MAX_BODY: body,
        PASSERBY_DATA_MAX_DOCUMENT: document,
        // it writes far more than a network may
        PASSERBY_LIMITS: "off",
      });
      const device = await Device.anonymous(own);
      const [stuck, slow, writer, reader] = [
        await device.raw(),
        await device.raw(),
        await device.open(),
        await device.open(),
      ];
      for (const { tcp } of [stuck, slow]) tcp.pause();
      // A bit now and then, so that each frame leaves in time.
      const pause = () => slow.tcp.pause();
      slow.tcp.on("data", pause);
      const reading = setInterval(() => slow.tcp.resume(), 150);
      let [slowest, written] = [0, 0];
      const began = Date.now();
      while ((await metric(own, "sockets")) > 2 || written < 200) {
        assert.ok(Date.now() - began < 300_000, `still there after ${written} changes`);
        for (const _ of range(10)) {
          const from = Date.now();
          const { version } = await writer.does("put", { data: { large: randomBytes(90_000).toString("base64") } });
          await reader.once("the change", (frames) => frames.at(-1).version === version);
          slowest = Math.max(slowest, Date.now() - from);
          written += 1;
        }
      }
      clearInterval(reading);
      const cut = Date.now() - began;
      assert.ok(slowest < SEND_WITHIN, `${slowest} ms: somebody waited for who does not read`);
      slow.tcp.removeListener("data", pause);
      for (const { tcp } of [stuck, slow]) tcp.resume();
      assert.equal(await slow.closeCode(120_000), 4002);
      await within(120_000, "the end of the connection", stuck.closed);
      assert.ok(stuck.code === undefined || stuck.code === 4002, `${stuck.code}`);
      t.diagnostic(
        `${written} changes of 120 kB in ${cut} ms, the slowest ${slowest} ms; cut off with 4002 and ${stuck.code}`,
      );
      for (const { frames } of [stuck, slow]) {
        assert.deepEqual(
          frames.map(({ version }) => version),
          range(frames.length),
          "until then it missed nothing",
        );
        assert.ok(frames.length < written);
      }
      await Promise.all([writer.does("get"), reader.does("get")]);
      await Promise.all([writer.close(), reader.close()]);
      await untilSockets(own, 0);
      await assertWell(own);
    });
  });

  test("says what asyncapi.json has", () => assertHeard("clock"));
});
