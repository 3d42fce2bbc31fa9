// How a socket ends with its session.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { assertHeard } from "../kit/asyncapi.mjs";
import { all, range } from "../kit/many.mjs";
import { call, PATHS, SUITE_DEADLINE } from "../kit/server.mjs";
import { Device, merged, SOON, startPasserby } from "../kit/socket.mjs";

describe("the socket", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startPasserby(null);
  });
  after(() => server?.close());

  describe("ends with its session", () => {
    const ended = (reason) => ({ type: "session.ended", reason });

    test("and not when an e-mail address is linked", async () => {
      const device = await Device.anonymous(server);
      const client = await device.open();
      const elsewhere = await (await device.another()).open();
      await client.does("put", { data: { kept: true } });
      await elsewhere.push();
      const account = Device.newAccount();
      assert.ok((await call(server.url, "POST", "/v1/registrations", undefined, account)).status < 300);

      await device.link(account);

      await client.isTold({ type: "session.linked", session_id: device.session }, SOON);
      await elsewhere.isTold(ended("linked"), SOON);
      await elsewhere.endsWith(4001, SOON);
      assert.deepEqual(await client.does("get"), { version: 1, data: { kept: true } });
      assert.deepEqual(await client.does("increment", { path: "/n" }), { version: 2, value: 1 });
      await device.call("PATCH", "/v1/data", { m: 1 });
      assert.equal((await client.push()).version, 3);
      assert.equal((await device.call("GET", "/v1/session")).body.session_id, device.session);

      const again = await (await Device.logIn(server, account)).open();
      assert.deepEqual([again.hello.user_id, again.hello.anonymous], [device.user, false]);
      assert.deepEqual(again.hello.data, { kept: true, n: 1, m: 1 });
      // Its new session ends it too.
      assert.equal((await device.call("DELETE", "/v1/session")).status, 204);
      await client.isTold(ended("logged-out"), SOON);
      await client.endsWith(4001, SOON);
      await again.does("get");
      await again.close();
    });

    test("and on both sides of a merge says what became of whom", async () => {
      const account = Device.newAccount();
      const owner = await Device.account(server, account);
      const [ownerSocket, guest] = [await owner.open(), await Device.anonymous(server)];
      const [guestSocket, guestElsewhere] = [await guest.open(), await (await guest.another()).open()];
      await ownerSocket.does("put", { data: { of: "owner", a: 1 } });
      await guestSocket.does("put", { data: { of: "guest", b: 2 } });
      await guestElsewhere.push();
      const anonymous = guest.user;

      const { merged_user_id } = await guest.link(account, { on_conflict: "merge" });

      assert.equal(merged_user_id, anonymous);
      assert.equal(guest.user, owner.user);
      const said = { type: "session.merged", user_id: owner.user, merged_user_id: anonymous };
      for (const socket of [guestSocket, guestElsewhere]) {
        await socket.isTold(said, SOON);
        await socket.endsWith(4001, SOON);
      }
      const data = { of: "owner", a: 1, b: 2 };
      await ownerSocket.isTold(said, SOON);
      await ownerSocket.isTold({ type: "data.changed", version: 2, data }, SOON);
      assert.deepEqual(await ownerSocket.does("get"), { version: 2, data });
      const again = await guest.open();
      assert.deepEqual([again.hello.user_id, again.hello.data], [owner.user, data]);
      await again.does("increment", { path: "/a" });
      assert.equal((await ownerSocket.push()).version, 3);
      await Promise.all([again.close(), ownerSocket.close()]);
    });

    test("and not while one guest after another becomes part of its user", async () => {
      const account = Device.newAccount();
      const owner = await Device.account(server, account);
      const clients = await all(3, () => owner.open());
      let going = true;
      const writing = clients.map(async (client) => {
        while (going) await client.does("increment", { path: "/n" });
      });
      for (const n of range(8)) {
        const guest = await Device.anonymous(server);
        assert.equal((await guest.call("PUT", "/v1/data", { [`guest${n}`]: true })).status, 200);
        await guest.link(account, { on_conflict: "merge" });
      }
      going = false;
      await Promise.all(writing);
      const { version: last, data } = await clients[0].does("get");
      for (const n of range(8)) assert.equal(data[`guest${n}`], true);
      for (const client of clients) {
        await client.once("the last version", (frames) => frames.some(({ version }) => version === last));
        assert.equal(client.frames.filter(({ type }) => type === "session.merged").length, 8);
        const told = client.frames.filter(
          ({ type, value }) => type === "hello" || type === "data.changed" || value !== undefined,
        );
        const versions = told.map(({ version }) => version);
        assert.equal(new Set(versions).size, versions.length, "no version twice");
        let document = null;
        let known = -1;
        for (const { version, patch, data, value } of told.toSorted((a, b) => a.version - b.version)) {
          assert.ok(
            data || version === known + 1,
            `${version} after ${known}: a whole document alone leaves out versions`,
          );
          known = version;
          if (data !== undefined) document = data;
          else document = merged(document, patch ?? { n: value });
        }
        assert.deepEqual(document, data);
        await client.close();
      }
    });

    test("and a switch to a different user leaves it", async () => {
      const account = Device.newAccount();
      const owner = await Device.account(server, account);
      const guest = await Device.anonymous(server);
      const [client, { user, token }] = [await guest.open(), guest];
      await guest.link(account, { on_conflict: "switch" });
      assert.equal(guest.user, owner.user);
      assert.equal((await call(server.url, "GET", "/v1/session", token)).body.user_id, user);
      assert.deepEqual(await client.does("get"), { version: 0, data: null });
      await client.close();
    });

    for (const [what, end, reason] of [
      ["a logout", (device) => device.call("DELETE", "/v1/session"), "logged-out"],
      [
        "the end of its own session by name",
        (device) => device.call("DELETE", `/v1/user/sessions/${device.session}`),
        "logged-out",
      ],
      ["the user's deletion", (device) => device.call("DELETE", "/v1/user"), "deleted"],
    ]) {
      test(`by ${what}`, async () => {
        const device = await Device.anonymous(server);
        const clients = await all(3, () => device.open());
        assert.equal((await end(device)).status, 204);
        for (const client of clients) {
          await client.isTold(ended(reason), SOON);
          await client.endsWith(4001, SOON);
        }
        assert.equal((await device.call("GET", "/v1/data")).status, 401);
      });
    }

    test("by what realm-web does to it", async () => {
      const logIn = async () => {
        const { body } = await call(server.url, "POST", PATHS.login, undefined, {});
        return { device: new Device(server, body), refreshToken: body.refresh_token };
      };
      const one = await logIn();
      const client = await one.device.open();
      assert.equal(client.hello.user_id, one.device.user);
      assert.equal((await call(server.url, "DELETE", PATHS.session, one.refreshToken)).status, 204);
      await client.isTold(ended("logged-out"), SOON);
      await client.endsWith(4001, SOON);

      const other = await logIn();
      const second = await other.device.open();
      assert.equal((await call(server.url, "DELETE", PATHS.delete, other.device.token)).status, 204);
      await second.isTold(ended("deleted"), SOON);
      await second.endsWith(4001, SOON);
    });

    test("by its own end, and no other one's", async () => {
      const account = Device.newAccount();
      const one = await Device.account(server, account);
      const [two, three] = [await Device.logIn(server, account), await Device.logIn(server, account)];
      const [first, second, third] = [await one.open(), await two.open(), await three.open()];
      assert.equal((await one.call("DELETE", `/v1/user/sessions/${two.session}`)).status, 204);
      await second.isTold(ended("logged-out"), SOON);
      await second.endsWith(4001, SOON);
      await first.does("get");
      await third.does("get");
      assert.equal((await one.call("DELETE", "/v1/user/sessions")).status, 204);
      const { type } = await third.push(SOON);
      assert.equal(type, "session.ended");
      await third.endsWith(4001, SOON);
      await first.does("get");
      assert.equal((await one.call("DELETE", "/v1/user")).status, 204);
      await first.isTold(ended("deleted"), SOON);
      await first.endsWith(4001, SOON);
    });

    test("and answers what is asked for at that time in order, or not any more", async () => {
      for (const _ of range(10)) {
        const device = await Device.anonymous(server);
        const client = await device.open();
        const asked = range(20, () =>
          client.ask("increment", { path: "/n" }).then(
            ({ type, code }) => code ?? type,
            () => "no answer",
          ),
        );
        await device.call("DELETE", "/v1/session");
        await client.endsWith(4001, SOON);
        const answers = await Promise.all(asked);
        const firstOther = answers.findIndex((answer) => answer !== "reply");
        for (const answer of answers.slice(firstOther < 0 ? answers.length : firstOther)) {
          assert.ok(["session-ended", "no answer"].includes(answer), answer);
        }
      }
    });
  });

  test("does nothing for a session that a second device has ended, whatever is on its way", async () => {
    const account = Device.newAccount();
    const owner = await Device.account(server, account);
    let overtaken = 0;
    for (const _ of range(20)) {
      const thief = await Device.logIn(server, account);
      const client = await thief.open();
      await owner.call("PUT", "/v1/data", { n: 0 });
      // More than can be done before the session ends.
      for (const _ of range(300)) client.ask("increment", { path: "/n" }).catch(() => {});
      assert.equal((await owner.call("DELETE", `/v1/user/sessions/${thief.session}`)).status, 204);
      const { n } = await owner.data();
      await client.endsWith(4001, SOON);
      const after = (await owner.data()).n - n;
      assert.ok(after <= 1, `${n} before and ${after} after, of which one was under way`);
      if (n < 300) overtaken += 1;
    }
    assert.ok(overtaken > 0, "otherwise this says nothing");
  });

  test("says what asyncapi.json has", () => assertHeard("ending"));
});
