// How a socket is opened, and by whom.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { assertHeard, PROTOCOL } from "../kit/asyncapi.mjs";
import { range } from "../kit/many.mjs";
import { call, SUITE_DEADLINE } from "../kit/server.mjs";
import { Client, Device, plain, refusal, SOON, startPasserby, startTalkative } from "../kit/socket.mjs";
import { spoil } from "../kit/tokens.mjs";

describe("the socket", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startPasserby(null);
  });
  after(() => server?.close());

  describe("is opened", () => {
    const own = () => ({ origin: server.url });
    const newReader = async () => {
      const response = await fetch(`${server.url}/v1/sessions`, {
        method: "POST",
        headers: own(),
        body: '{"mode":"cookie"}',
      });
      assert.equal(response.status, 201);
      return { cookie: response.headers.get("set-cookie").split(";")[0], ...(await response.json()) };
    };

    test("by a ticket", async () => {
      const device = await Device.anonymous(server);
      const { status, body } = await device.call("POST", "/v1/socket-ticket");
      assert.equal(status, 201);
      assert.match(body.ticket, /^psbs_[\w-]{20,}$/);
      assert.equal(body.expires_in, 30);
      const client = await Client.open(server, { ticket: body.ticket });
      assert.deepEqual(client.hello, {
        type: "hello",
        user_id: device.user,
        session_id: device.session,
        anonymous: true,
        version: 0,
        data: null,
      });
      await client.close();
    });

    test("by a ticket once", async () => {
      const device = await Device.anonymous(server);
      const ticket = await device.ticket();
      const client = await Client.open(server, { ticket });
      assert.deepEqual(await refusal(Client.open(server, { ticket })), [401, "invalid-ticket"]);
      await client.close();
      assert.deepEqual(await refusal(Client.open(server, { ticket })), [401, "invalid-ticket"]);

      const both = await device.ticket();
      const opened = await Promise.allSettled(range(8, () => Client.open(server, { ticket: both })));
      assert.equal(opened.filter(({ status }) => status === "fulfilled").length, 1, "of eight at once");
      for (const { value } of opened) await value?.close();
    });

    test("by nothing that is no ticket", async () => {
      const device = await Device.anonymous(server);
      const ticket = await device.ticket();
      const { body: transfer } = await device.call("POST", "/v1/session/transfer");
      const forged = ticket.slice(0, -1) + (ticket.endsWith("A") ? "B" : "A");
      for (const wrong of [forged, transfer.code, device.token, `psbs_${"A".repeat(32)}`, "psbs_", ""]) {
        assert.deepEqual(await refusal(Client.open(server, { protocols: [PROTOCOL, `ticket.${wrong}`] })), [
          401,
          "invalid-ticket",
        ]);
      }
      // It is not used up by that, nor by what is refused for a different reason.
      assert.deepEqual(await refusal(Client.open(server, { ticket, query: "?since=x" })), [400, "bad-query"]);
      assert.deepEqual(await refusal(Client.open(server, { protocols: [`ticket.${ticket}`] })), [
        400,
        "unknown-protocol",
      ]);
      await (await Client.open(server, { ticket })).close();
      // Nor is a ticket a code or a token.
      const other = await device.ticket();
      const asCode = { provider: "transfer", code: other };
      assert.equal((await call(server.url, "POST", "/v1/sessions", undefined, asCode)).status, 401);
      assert.equal((await call(server.url, "GET", "/v1/session", other)).status, 401);
    });

    test("by no ticket of a session that ended", async () => {
      for (const end of [
        (device) => device.call("DELETE", "/v1/session"),
        (device) => device.call("DELETE", "/v1/user"),
      ]) {
        const device = await Device.anonymous(server);
        const ticket = await device.ticket();
        assert.equal((await end(device)).status, 204);
        const [status, code] = await refusal(Client.open(server, { ticket }));
        assert.equal(status, 401);
        assert.ok(["session-ended", "invalid-ticket"].includes(code), code);
        assert.equal((await device.call("POST", "/v1/socket-ticket")).status, 401);
      }
      const device = await Device.anonymous(server);
      const other = await device.another();
      const ticket = await other.ticket();
      assert.equal((await device.call("DELETE", `/v1/user/sessions/${other.session}`)).status, 204);
      assert.equal((await refusal(Client.open(server, { ticket })))[0], 401);
      await (await device.open()).close();
    });

    test("by an access token in a header, as programs send it", async () => {
      const device = await Device.anonymous(server);
      const headers = { authorization: `Bearer ${device.token}` };
      const client = await Client.open(server, { headers });
      assert.equal(client.hello.user_id, device.user);
      assert.equal(client.hello.session_id, device.session);
      await client.close();
      await device.call("DELETE", "/v1/session");
      assert.deepEqual(await refusal(Client.open(server, { headers })), [401, "session-ended"]);
    });

    test("by no token in the query, and by none that is spoiled", async () => {
      const { token } = await Device.anonymous(server);
      for (const query of [
        `?access_token=${token}`,
        `?token=${token}`,
        `?ticket=${token}`,
        `?since=0&access_token=${token}`,
      ]) {
        assert.deepEqual(await refusal(Client.open(server, { query })), [400, "bad-query"]);
      }
      const headers = { authorization: `Bearer ${spoil(token)}` };
      assert.deepEqual(await refusal(Client.open(server, { headers })), [401, "invalid-token"]);
      assert.deepEqual(await refusal(Client.open(server, {})), [401, "no-reader"]);
      assert.equal((await call(server.url, "POST", "/v1/socket-ticket")).status, 401);
    });

    test("by a reader's cookie from a page of the site itself", async () => {
      const { cookie, user_id, session_id } = await newReader();
      for (const page of [own(), { "sec-fetch-site": "same-origin" }]) {
        const client = await Client.open(server, { headers: { cookie, ...page } });
        assert.equal(client.hello.user_id, user_id);
        assert.equal(client.hello.session_id, session_id);
        await client.close();
      }
    });

    test("by no cookie from anywhere else", async () => {
      const { cookie } = await newReader();
      for (const page of [
        {},
        { origin: "https://elsewhere.example" },
        { origin: "null" },
        { "sec-fetch-site": "cross-site", ...own() },
        { "sec-fetch-site": "same-site" },
        { "sec-fetch-site": "none" },
      ]) {
        assert.deepEqual(await refusal(Client.open(server, { headers: { cookie, ...page } })), [403, "cross-site"]);
      }
    });

    test("by no cookie of a reader who is not stored yet, or is gone", async () => {
      const visit = await fetch(`${server.url}/verify?create=auto`, {
        headers: { "user-agent": "Mozilla/5.0 Firefox/140.0" },
      });
      const lazy = visit.headers.get("set-cookie").split(";")[0];
      assert.deepEqual(await refusal(Client.open(server, { headers: { cookie: lazy, ...own() } })), [
        401,
        "no-reader",
      ]);
      assert.deepEqual(await refusal(Client.open(server, { headers: own() })), [401, "no-reader"]);

      const { cookie } = await newReader();
      const headers = { cookie, ...own() };
      const client = await Client.open(server, { headers });
      assert.equal((await fetch(`${server.url}/v1/session`, { method: "DELETE", headers })).status, 204);
      await client.isTold({ type: "session.ended", reason: "logged-out" }, SOON);
      assert.equal((await refusal(Client.open(server, { headers })))[0], 401);
    });

    test("on pages of allowed_origins, and there alone where they are listed", async (t) => {
      const listed = await startPasserby(t, { PASSERBY_ALLOWED_ORIGINS: "https://app.example" });
      const device = await Device.anonymous(listed);
      const from = async (origin) => Client.open(listed, { ticket: await device.ticket(), headers: { origin } });
      assert.deepEqual(await refusal(from("https://elsewhere.example")), [403, "cross-site"]);
      await (await from("https://app.example")).close();
      await (await from(listed.url)).close();
      await (await device.open()).close();
    });

    test("as a WebSocket of this protocol alone", async () => {
      const ticket = await (await Device.anonymous(server)).ticket();
      const without = await plain(server, "/v1/socket");
      assert.deepEqual([without.status, without.body.code], [400, "no-websocket"]);
      assert.match(without.headers["content-type"], /^application\/problem\+json/);
      for (const protocols of [[], ["passerby.v2"], ["passerby.v2", `ticket.${ticket}`], [`ticket.${ticket}`]]) {
        assert.deepEqual(await refusal(Client.open(server, { protocols })), [400, "unknown-protocol"]);
      }
      await (await Client.open(server, { protocols: [`ticket.${ticket}`, "passerby.v2", PROTOCOL] })).close();
      const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-protocol": PROTOCOL };
      const key = "dGhlIHNhbXBsZSBub25jZQ==";
      for (const headers of [
        { ...upgrade, "sec-websocket-version": "13" },
        { ...upgrade, "sec-websocket-key": key },
        { ...upgrade, "sec-websocket-version": "8", "sec-websocket-key": key },
        { ...upgrade, "sec-websocket-version": "13", "sec-websocket-key": key, connection: "close" },
      ]) {
        const { status, body } = await plain(server, "/v1/socket", headers);
        assert.deepEqual([status, body.code], [400, "no-websocket"], JSON.stringify(headers));
      }
      assert.equal((await call(server.url, "POST", "/v1/socket")).status, 405);
      assert.equal((await call(server.url, "GET", "/v1/socket-ticket")).status, 405);
    });

    test("and nothing of it is in the log", async (t) => {
      const { url, stop } = await startTalkative(t);
      const device = await Device.anonymous({ url });
      const ticket = await device.ticket();
      const client = await Client.open({ url }, { ticket });
      await client.does("put", { data: { secret: "a-thing-of-theirs" } });
      await refusal(Client.open({ url }, { ticket }));
      await refusal(Client.open({ url }, { query: `?access_token=${device.token}` }));
      const unused = await device.ticket();
      await device.call("DELETE", "/v1/session");
      await client.endsWith(4001);
      const log = await stop();
      assert.ok(log.length > 1000, "it said something");
      for (const secret of [ticket, unused, device.token, device.token.split(".")[2], "a-thing-of-theirs"]) {
        assert.ok(
          !log.includes(secret),
          log.split("\n").find((line) => line.includes(secret)),
        );
      }
    });
  });

  test("says what asyncapi.json has", () => assertHeard("opening"));
});
