// Sockets and what was asked by them, over ends and kills of the server.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { assertHeard } from "../kit/asyncapi.mjs";
import { all, generator, range } from "../kit/many.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { assertWell, Device, startPasserby } from "../kit/socket.mjs";
import { DEADLINE, until, within } from "../kit/wait.mjs";

const LIVES = 15;

describe("the socket", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startPasserby(null);
  });
  after(() => server?.close());

  describe("survives", () => {
    test("the end of the server: its clients are told to come back", async (t) => {
      const own = await startPasserby(t);
      const devices = await all(5, () => Device.anonymous(own));
      const clients = await Promise.all(range(20, (n) => devices[n % 5].open()));
      const raw = await devices[0].raw();
      const python = await devices[1].python();
      await python.event();
      await python.frame();
      await Promise.all(clients.map((client, n) => client.does("put", { data: { n } })));
      const busy = clients.map((client) => all(50, () => client.ask("increment", { path: "/n" })).catch(() => {}));
      const stopped = own.stop();
      for (const client of clients) await client.endsWith(1012);
      assert.equal(await raw.closeCode(), 1012);
      await until("Python's end", async () => ("closed" in (await python.event()) ? true : undefined));
      await Promise.all([stopped, ...busy]);

      await own.restart();
      for (const [n, device] of devices.entries()) {
        const client = await device.open();
        assert.equal(client.hello.user_id, device.user);
        const acknowledged = Math.max(
          ...range(4, (k) => Math.max(...clients[n + 5 * k].frames.map(({ version }) => version ?? 0))),
        );
        assert.ok(client.hello.version >= acknowledged, "what was answered is there");
        await client.close();
      }
    });

    test(`${LIVES} kills: what was answered is there, and what is asked for again is done once`, async (t) => {
      const own = await startPasserby(t);
      const random = generator(7);
      const devices = await all(2, () => Device.anonymous(own));
      const PARALLEL = 4;

      /** A client that comes back until all that it ever asked for is answered. */
      class Stubborn {
        answered = 0;
        isOpen = false;
        known = 0;
        open = new Set();
        constructor(device) {
          this.device = device;
          this.asked = 0;
        }

        /** Until the server is gone, or nothing is left to ask for again. */
        async live({ goesOn }) {
          this.isOpen = false;
          const client = await this.device.open({ since: this.known });
          this.isOpen = true;
          assert.ok(client.hello.version >= this.known, `${client.hello.version}, ${this.known} was answered`);
          const ask = async (id) => {
            this.open.add(id);
            const { version } = await client.does("increment", { path: "/n" }, id);
            this.open.delete(id);
            this.answered += 1;
            this.known = Math.max(this.known, version);
          };
          const again = [...this.open].map(ask);
          const more = async () => {
            while (goesOn) {
              this.asked += 1;
              await ask(randomUUID());
            }
          };
          const ends = await Promise.allSettled([...again, ...range(PARALLEL, more)]);
          if (goesOn) await within(DEADLINE, "the end", client.closed);
          else for (const { reason } of ends) assert.equal(reason, undefined);
          // Each version is one more, whoever made it: what was missed came, and nothing was counted twice.
          for (const { version, patch, data, value } of client.frames) {
            const n = value ?? patch?.n ?? data?.n;
            if (n !== undefined) assert.equal(n, version);
            if (patch) this.known = Math.max(this.known, version);
          }
          client.drop();
        }
      }
      const clients = devices.flatMap((device) => range(3, () => new Stubborn(device)));
      const total = (what) => clients.reduce((sum, client) => sum + client[what], 0);
      for (const _ of range(LIVES)) {
        const enough = total("answered") + 20 + random.below(150);
        const lives = Promise.all(clients.map((client) => client.live({ goesOn: true })));
        // A client that is still connecting when the server goes cannot know what was answered.
        const isTime = () => clients.every(({ isOpen }) => isOpen) && total("answered") >= enough;
        await Promise.race([lives, until("some answers", () => (isTime() ? true : undefined))]);
        await own.kill();
        await lives;
        await own.restart();
      }
      const lost = clients.reduce((sum, { open }) => sum + open.size, 0);
      t.diagnostic(`${total("asked")} increments, of which ${lost} had no answer at the last kill`);
      await Promise.all(clients.map((client) => client.live({ goesOn: false })));
      for (const device of devices) {
        const asked = clients
          .filter((client) => client.device === device)
          .reduce((sum, client) => sum + client.asked, 0);
        assert.deepEqual(await device.data(), { n: asked });
      }
      await assertWell(own);
    });
  });

  test("says what asyncapi.json has", () => assertHeard("survival"));
});
