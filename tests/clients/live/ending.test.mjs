// /passerby-live.js against a server that fails on purpose: how it ends, or goes on as a different user.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { pathToFileURL } from "node:url";

import { WebSocket } from "ws";

import { files, heard, importLive, startStub, until } from "../kit/live.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";

describe("/passerby-live.js", { timeout: SUITE_DEADLINE }, () => {
  let live, remove;
  before(async () => {
    ({ live, remove } = await importLive());
  });
  after(() => remove?.());

  describe("with a server that fails on purpose", () => {
    let all, stub, pauses, connections, connect, reopened;
    beforeEach(async () => {
      all = await startStub(live);
      ({ stub, pauses, connections, connect, reopened } = all);
    });
    afterEach(() => all.close());

    describe("the end", () => {
      /** How a connection ended: its events, and what became of a request on the way and of one after it. */
      const ended = async (connection, end) => {
        const news = heard(connection, "ended", "status");
        stub.instead = () => {};
        const waiting = connection.set({}).catch(({ code }) => code);
        await until(() => stub.frames.length > 0);
        await end();
        await until(() => connection.status === "closed");
        await until(() => stub.sockets.size === 0);
        assert.equal(pauses.length, 0);
        const codes = [await waiting, await connection.increment("/n").catch(({ code }) => code)];
        return { codes, news: news.map(([type, fact]) => [type, fact.code ?? fact]) };
      };
      const asEnded = (code, ...before) => {
        const news = [...before, ["status", "closed"], ["ended", code]];
        return { codes: [code, code], news };
      };

      for (const reason of ["logged-out", "expired", "deleted", "disabled", "linked", "ended"]) {
        test(`of a session that is ${reason} is for good`, async () => {
          const connection = await connect();
          const end = () => {
            stub.tell({ type: "session.ended", reason });
            stub.cut(4001);
          };
          assert.deepEqual(await ended(connection, end), asEnded(reason));
        });
      }

      test("may come without a reason", async () => {
        assert.deepEqual(await ended(await connect(), () => stub.cut(4001)), asEnded("session-ended"));
      });

      for (const status of [401, 403]) {
        test(`is also what a refusal with ${status} means later`, async () => {
          const connection = await connect();
          const end = async () => {
            stub.answers.push([status, { code: "no" }]);
            stub.cut();
            await pauses.next();
          };
          assert.deepEqual(await ended(connection, end), asEnded("no", ["status", "connecting"]));
        });
      }

      test("comes with a merge, if there is a token", async () => {
        const connection = await connect();
        const news = heard(connection, "merged");
        const end = () => {
          stub.tell({ type: "session.merged", user_id: "another", merged_user_id: stub.user });
          stub.cut(4001);
        };
        assert.deepEqual(await ended(connection, end), asEnded("merged"));
        assert.deepEqual(news, [["merged", "another", "a user"]]);
      });

      test("comes with a token of a different user", async () => {
        const connection = await connect();
        const end = async () => {
          stub.user = "another";
          stub.cut();
          await pauses.next();
        };
        assert.deepEqual(await ended(connection, end), asEnded("other-user", ["status", "connecting"]));
        assert.equal(connection.user, "a user");
      });

      test("is not told to the page that closed it", async () => {
        const connection = await connect();
        const end = async () => {
          await connection.close();
          stub.change({ late: true });
        };
        const outcome = await ended(connection, end);
        assert.deepEqual(outcome, { codes: ["closed", "closed"], news: [["status", "closed"]] });
        assert.equal(connection.data, null);
      });

      test("may come while it waits to come back", async () => {
        const connection = await connect();
        stub.cut();
        await until(() => pauses.length === 1);
        await connection.close();
        await pauses.next();
        await until(() => stub.requests.length === 3);
        assert.deepEqual(stub.requests.slice(2), ["POST /v1/socket-ticket"]);
        assert.equal(connection.status, "closed");
      });

      test("may be asked for by a listener that hears of a change", async () => {
        const connection = await connect();
        stub.cut();
        stub.change({ a: 1 }, { told: false });
        connection.on("data", () => connection.close());
        await pauses.next();
        await until(() => connection.status === "closed");
        assert.equal(pauses.length, 0);
      });
    });

    test("what happens to the session is told", async () => {
      const connection = await connect();
      const news = heard(connection, "linked", "merged", "expiring", "ended");
      stub.tell({ type: "session.linked", session_id: "a session" });
      stub.tell({ type: "session.merged", user_id: stub.user, merged_user_id: "another" });
      stub.tell({ type: "expiring", at: "2026-01-31T12:00:00Z" });
      stub.tell({ type: "of a later version" });
      await until(() => news.length === 3);
      assert.deepEqual(news, [["linked"], ["merged", "a user", "another"], ["expiring", "2026-01-31T12:00:00Z"]]);
      assert.equal(connection.anonymous, false);
      assert.equal(connection.status, "open");
    });

    describe("by cookie", () => {
      let here;

      // Where the modules are from is where their Passerby is.
      beforeEach(async () => {
        here = await files((text) => text.replaceAll("import.meta.url", JSON.stringify(stub.url)));
        // Node 20 has none, and pages without TLS have one without locks.
        globalThis.navigator ??= {};
      });
      afterEach(() => here.remove());

      const connect = async () => {
        const { connect } = await import(pathToFileURL(join(here.home, "live.js")));
        const { setTimeout } = pauses;
        const connection = await connect({ WebSocket, setTimeout, random: () => 1 });
        connections.push(connection);
        return connection;
      };

      test("it creates a reader at first, and later asks whether it is the same", async () => {
        const connection = await connect();
        assert.deepEqual(stub.offered, [["passerby.v1"]]);
        stub.cut();
        assert.equal(await reopened(connection), 250);
        assert.deepEqual(stub.requests, [
          "POST /v1/sessions",
          "GET /v1/socket",
          "GET /v1/session",
          "GET /v1/socket?since=0",
        ]);
      });

      test("it goes on as the account that the reader became part of, once the browser has the cookie", async () => {
        Object.assign(stub, { data: { a: 1 }, version: 5 });
        const connection = await connect();
        const news = heard(connection, "merged", "ended", "data");
        stub.instead = () => {};
        const lost = connection.increment("/a").catch(({ code }) => code);
        await until(() => stub.frames.length > 0);
        stub.tell({ type: "session.merged", user_id: "another", merged_user_id: stub.user });
        stub.cut(4001);
        stub.answers.push([401, { code: "no-reader" }], [200, { user_id: "another", aliases: ["a user"] }]);
        Object.assign(stub, { user: "another", anonymous: false, data: { b: 2 }, version: 5, instead: null });
        assert.equal(await pauses.next(), 250);
        assert.equal(await reopened(connection), 500);
        assert.equal(await lost, "merged");
        assert.deepEqual(news, [["merged", "another", "a user"], ["data", { b: 2 }, 5]]);
        assert.deepEqual([connection.user, connection.anonymous], ["another", false]);
        assert.equal(stub.requests.at(-1), "GET /v1/socket");
        assert.equal(stub.requests.filter((line) => line === "POST /v1/sessions").length, 1);
      });

      test("it notices a merge that it was not told of", async () => {
        const connection = await connect();
        const news = heard(connection, "merged", "ended");
        stub.cut();
        stub.user = "another";
        stub.answers.push([200, { user_id: "another", aliases: ["a user"] }]);
        await reopened(connection);
        assert.deepEqual(news, [["merged", "another", "a user"]]);
        assert.equal(connection.user, "another");
      });

      test("it ends if the cookie of a merge never comes", async () => {
        const connection = await connect();
        const news = heard(connection, "ended");
        stub.tell({ type: "session.merged", user_id: "another", merged_user_id: stub.user });
        stub.cut(4001);
        stub.answers = Array.from({ length: 6 }, () => [401, { code: "no-reader" }]);
        for (const pause of [250, 500, 1000, 2000, 4000, 8000]) assert.equal(await pauses.next(), pause);
        await until(() => connection.status === "closed");
        assert.deepEqual(news.map(([, { code }]) => code), ["no-reader"]);
      });

      test("it ends if a different reader is here now", async () => {
        const connection = await connect();
        const news = heard(connection, "ended");
        stub.cut();
        stub.user = "somebody else";
        await pauses.next();
        await until(() => connection.status === "closed");
        assert.deepEqual(news.map(([, { code }]) => code), ["other-user"]);
      });
    });
  });
});
