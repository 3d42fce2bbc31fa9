// The socket below the WebSocket layer: frames that no honest client sends.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import { assertHeard } from "../kit/asyncapi.mjs";
import { all, generator, range } from "../kit/many.mjs";
import { frame, OPCODE } from "../kit/raw-socket.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { assertWell, Device, MOST_FRAME, SEND_WITHIN, startPasserby } from "../kit/socket.mjs";
import { DEADLINE, within } from "../kit/wait.mjs";

describe("the socket", { timeout: SUITE_DEADLINE }, () => {
  let server;
  before(async () => {
    server = await startPasserby(null);
  });
  after(() => server?.close());

  describe("below the WebSocket layer", () => {
    const TEXT = OPCODE.text;
    const request = (type, fields = {}, id = randomUUID()) => ({ id, type, ...fields });
    const PROTOCOL_ERROR = 1002;
    const BINARY = 1003;
    const NO_OBJECT = 1007;
    const TOO_LARGE = 1009;
    const NOT_UTF8 = Buffer.from([0x22, 0xc3, 0x28, 0x22]);

    /** This text in so many frames, with others of the same connection between them. */
    function fragments(text, number, between = () => []) {
      const bytes = Buffer.from(text);
      const length = Math.ceil(bytes.length / number);
      return range(number, (n) => {
        const part = bytes.subarray(n * length, (n + 1) * length);
        const last = n === number - 1;
        return Buffer.concat([
          frame(n === 0 ? TEXT : OPCODE.continuation, part, { fin: last }),
          ...(last ? [] : between()),
        ]);
      });
    }

    /** What ends a connection, by the code with which it does. */
    const ENDS = [
      [BINARY, "a binary frame", ({ bytes, below }) => frame(OPCODE.binary, bytes(below(300)))],
      [BINARY, "an empty binary frame", () => frame(OPCODE.binary)],
      [
        BINARY,
        "a binary message in fragments",
        () => Buffer.concat([frame(OPCODE.binary, "{", { fin: false }), frame(OPCODE.continuation, "}")]),
      ],
      [NO_OBJECT, "text that is not UTF-8", () => frame(TEXT, NOT_UTF8)],
      [NO_OBJECT, "the same in fragments", () => Buffer.concat(fragments(NOT_UTF8, 2))],
      [NO_OBJECT, "half a surrogate", () => frame(TEXT, Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))],
      [NO_OBJECT, "an empty text", () => frame(TEXT)],
      [
        NO_OBJECT,
        "no JSON",
        ({ pick }) => frame(TEXT, pick(["get", "{", "{}{}", '{"id":}', "\0", "{'id': 1}", '{"a":NaN}', "\ufeff{}"])),
      ],
      [NO_OBJECT, "another JSON value", ({ pick }) => frame(TEXT, pick(["[]", "[{}]", "null", "1", "true", '"{}"']))],
      [NO_OBJECT, "JSON that is too deep", () => frame(TEXT, "[".repeat(10_000))],
      [TOO_LARGE, "a frame over the limit", ({ below }) => frame(TEXT, " ".repeat(MOST_FRAME + 1 + below(1000)))],
      [
        TOO_LARGE,
        "fragments over the limit",
        ({ below }) => Buffer.concat(fragments(" ".repeat(MOST_FRAME + 1 + below(1000)), 2 + below(9))),
      ],
      [
        PROTOCOL_ERROR,
        "a frame without a mask",
        () => frame(TEXT, JSON.stringify(request("get")), { masked: false }),
      ],
      [
        PROTOCOL_ERROR,
        "an unknown opcode",
        ({ pick, bytes, below }) => frame(pick([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), bytes(below(20))),
      ],
      [PROTOCOL_ERROR, "a continuation of nothing", () => frame(OPCODE.continuation, "{}")],
      [
        PROTOCOL_ERROR,
        "a message within a message",
        () => Buffer.concat([frame(TEXT, "{", { fin: false }), frame(TEXT, "}")]),
      ],
      [PROTOCOL_ERROR, "a ping in fragments", () => frame(OPCODE.ping, "", { fin: false })],
      [PROTOCOL_ERROR, "a long ping", () => frame(OPCODE.ping, "x".repeat(126))],
      [
        PROTOCOL_ERROR,
        "a long close frame",
        () => frame(OPCODE.close, Buffer.concat([Buffer.from([3, 232]), Buffer.alloc(124, 0x78)])),
      ],
      [PROTOCOL_ERROR, "half a close code", () => frame(OPCODE.close, Buffer.from([3]))],
      [
        PROTOCOL_ERROR,
        "a close code that is none",
        ({ pick }) =>
          frame(
            OPCODE.close,
            Buffer.from(
              pick([
                [0, 0],
                [3, 231],
                [3, 237],
                [3, 238],
              ]),
            ),
          ),
      ],
    ];

    /** A frame with a random head and random bytes, and the code that answers it; undefined: it may go on. */
    function randomFrame({ below, bytes }) {
      const [opcode, fin, masked, payload] = [below(16), below(4) > 0, below(8) > 0, bytes(below(140))];
      const code = () => {
        if (!masked || ![0, 1, 2, 8, 9, 10].includes(opcode) || opcode === OPCODE.continuation) return PROTOCOL_ERROR;
        if (opcode >= OPCODE.close && (!fin || payload.length > 125)) return PROTOCOL_ERROR;
        if (opcode === OPCODE.ping || opcode === OPCODE.pong || !fin) return undefined;
        if (opcode === OPCODE.binary) return BINARY;
        if (opcode === OPCODE.text) return NO_OBJECT;
        // A close frame: of a random code and random bytes there is hardly one that is right.
        return payload.length === 0 ? null : PROTOCOL_ERROR;
      };
      return [
        code(),
        `opcode ${opcode}, fin ${fin}, masked ${masked}, ${payload.length} bytes`,
        () => frame(opcode, payload, { fin, masked }),
      ];
    }

    /** What does not: each with what is to come back, requests and pings. */
    const GOES_ON = [
      () => {
        const asked = request("get");
        return { bytes: frame(TEXT, JSON.stringify(asked)), answers: [asked] };
      },
      ({ below }) => {
        const asked = request("increment", { path: "/n", by: below(9) });
        return { bytes: frame(TEXT, `\n ${JSON.stringify(asked)} `), answers: [asked] };
      },
      ({ below }) => {
        const asked = request("patch", { patch: { fragments: "ä€😀".repeat(below(40)) } });
        const pongs = [];
        const between = () => {
          if (below(2)) return [];
          pongs.push(`between ${below(1000)}`);
          return [frame(OPCODE.ping, pongs.at(-1))];
        };
        return {
          bytes: Buffer.concat(fragments(JSON.stringify(asked), 1 + below(20), between)),
          answers: [asked],
          pongs,
        };
      },
      ({ below }) => {
        const asked = request("get");
        const padded = JSON.stringify(asked).padEnd(MOST_FRAME);
        return { bytes: below(2) ? frame(TEXT, padded) : Buffer.concat(fragments(padded, 3)), answers: [asked] };
      },
      ({ below }) => {
        const pong = "p".repeat(below(126));
        return { bytes: frame(OPCODE.ping, pong), pongs: [pong] };
      },
      ({ below, bytes }) => ({ bytes: frame(OPCODE.pong, bytes(below(126))) }),
      ({ pick }) => {
        const asked = request("put");
        const half = JSON.stringify("\ud83d");
        const data = pick([half, `{"half":${half}}`, '{"n":1e400}', `${'{"a":'.repeat(1000)}1${"}".repeat(1000)}`]);
        const text = `${JSON.stringify(asked).slice(0, -1)},"data":${data}}`;
        return { bytes: frame(TEXT, text), answers: [asked] };
      },
      ({ pick }) => ({
        bytes: frame(TEXT, pick(["{}", '{"id":1}', '{"type":[]}', '{"":{}}'])),
        answers: [{ id: null }],
      }),
      ({ pick }) => {
        const asked = request(pick(["", "reply", "hello", "GET"]), { data: pick([1, [], {}]) });
        return { bytes: frame(TEXT, JSON.stringify(asked)), answers: [asked] };
      },
    ];

    for (const [code, what, make] of ENDS) {
      test(`${what} is answered with ${code}`, async () => {
        const device = await Device.anonymous(server);
        const [raw, other] = [await device.raw(), await device.open()];
        raw.write(make(generator(1)));
        assert.equal(await raw.closeCode(), code);
        await other.does("get");
        await other.close();
      });
    }

    test("reserved bits are answered with 1002", async () => {
      const device = await Device.anonymous(server);
      for (const reserved of [1, 2, 4, 7]) {
        const raw = await device.raw();
        raw.write(frame(TEXT, JSON.stringify(request("get")), { reserved }));
        assert.equal(await raw.closeCode(), PROTOCOL_ERROR, `${reserved}`);
      }
    });

    test("a frame that says it is over the limit is answered with 1009, however little of it comes", async () => {
      const device = await Device.anonymous(server);
      for (const claimed of [MOST_FRAME + 1, 2 ** 40, 2 ** 62]) {
        const raw = await device.raw();
        raw.write(frame(TEXT, "{", { claimed }));
        assert.equal(await raw.closeCode().catch((error) => error.message), TOO_LARGE, `${claimed} bytes`);
      }
    });

    test("and no more of it is kept than a message may have", async (t) => {
      const own = await startPasserby(t);
      const memory = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${own.pid}/status`, "utf8"))[1]);
      const raw = await (await Device.anonymous(own)).raw();
      const before = memory();
      raw.write(frame(TEXT, "{", { claimed: 2 ** 40 }));
      const megabyte = Buffer.alloc(2 ** 20, 0x20);
      for (const _ of range(64)) {
        if (!raw.tcp.write(megabyte))
          await within(DEADLINE, "it is read", Promise.race([once(raw.tcp, "drain"), raw.closed]));
        if (raw.tcp.destroyed) break;
      }
      const grown = memory() - before;
      raw.drop();
      assert.ok(grown < 16 * 1024, `${grown} kB more memory`);
    });

    test("ten thousand random frames do no harm", async (t) => {
      const [lanes, frames] = [40, 10_000];
      const bystander = await (await Device.anonymous(server)).open();
      let [sent, connections, slowest, going] = [0, 0, 0, true];
      const watching = (async () => {
        while (going) {
          const began = Date.now();
          await bystander.does("increment", { path: "/n" });
          slowest = Math.max(slowest, Date.now() - began);
        }
      })();
      await all(lanes, async (lane) => {
        const random = generator(lane);
        const { below, pick, bytes } = random;
        const device = await Device.anonymous(server);
        while (sent < frames) {
          connections += 1;
          const raw = await device.raw();
          const turns = range(1 + below(12), () => pick(GOES_ON)(random));
          const [code, what, make] = below(3)
            ? pick([
                ...ENDS,
                [null, "a close frame", () => frame(OPCODE.close)],
                [undefined, "any bytes", () => bytes(1 + below(200))],
              ])
            : randomFrame(random);
          sent += turns.length + 1;
          for (const { bytes } of turns) raw.write(bytes);
          const [answers, pongs] = ["answers", "pongs"].map((name) => turns.flatMap((turn) => turn[name] ?? []));
          raw.write(make(random));
          if (code === undefined) {
            // Whatever it is to the server: it is over when the client goes.
            if (below(2)) raw.tcp.end();
            else raw.drop();
            await within(DEADLINE, "the end of the connection", raw.closed);
            continue;
          }
          assert.equal(await raw.closeCode(), code, `${what} in lane ${lane}`);
          // What breaks the protocol may overtake what came before it; nothing else does, and order is kept.
          const replies = raw.frames.filter(({ type }) => type === "reply" || type === "error").map(({ id }) => id);
          const isBroken = code !== null && code !== BINARY;
          const until = (told) => (isBroken ? told.length : undefined);
          assert.deepEqual(replies, answers.map(({ id }) => id).slice(0, until(replies)), `${what} in lane ${lane}`);
          assert.deepEqual(raw.pongs, pongs.slice(0, until(raw.pongs)), `${what} in lane ${lane}`);
        }
      }).finally(() => {
        going = false;
      });
      await watching;
      t.diagnostic(`${sent} frames on ${connections} connections; a bystander waited ${slowest} ms at most`);
      assert.ok(slowest < SEND_WITHIN, `a bystander waited ${slowest} ms`);
      const { version } = await bystander.does("get");
      assert.equal(bystander.frames.length, 1 + version + 1, "it was told nothing else");
      await bystander.close();
      await assertWell(server);
    });
  });

  test("says what asyncapi.json has", () => assertHeard("wire"));
});
