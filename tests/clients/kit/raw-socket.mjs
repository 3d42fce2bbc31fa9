// A client of the socket below the WebSocket layer, for what the others would never send.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import net from "node:net";

import { checkCode, checkFrame, faults, offer } from "./asyncapi.mjs";
import { DEADLINE, within } from "./wait.mjs";

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** A frame as RFC 6455 §5.2 has it, or with one thing wrong. */
export function frame(opcode, payload = "", { fin = true, masked = true, reserved = 0, claimed } = {}) {
  const bytes = Buffer.from(payload);
  const length = claimed ?? bytes.length;
  const head = [(fin ? 0x80 : 0) | (reserved << 4) | opcode];
  const mask = masked ? 0x80 : 0;
  if (length < 126) {
    head.push(mask | length);
  } else if (length < 65_536) {
    head.push(mask | 126, length >> 8, length & 255);
  } else {
    const long = Buffer.alloc(8);
    long.writeBigUInt64BE(BigInt(length));
    head.push(mask | 127, ...long);
  }
  if (!masked) return Buffer.concat([Buffer.from(head), bytes]);
  const key = randomBytes(4);
  return Buffer.concat([Buffer.from(head), key, bytes.map((byte, index) => byte ^ key[index % 4])]);
}

/** A socket on bare TCP. */
export class Raw {
  #received = Buffer.alloc(0);
  #watchers = new Set();
  #ended = false;

  /** Text frames, checked; pongs; the close frame's code (null: none in it). */
  frames = [];
  pongs = [];
  pings = 0;
  code = undefined;

  static async open(server, { ticket, pongs = true } = {}) {
    const { hostname, port, host } = new URL(server.url);
    const tcp = net.connect(Number(port), hostname);
    const key = randomBytes(16).toString("base64");
    const raw = new Raw(tcp, pongs);
    tcp.on("error", () => {});
    const head = await within(
      DEADLINE,
      "the handshake",
      new Promise((resolve) => {
        tcp.on("data", (bytes) => {
          raw.#received = Buffer.concat([raw.#received, bytes]);
          const end = raw.#received.indexOf("\r\n\r\n");
          if (end < 0) return;
          tcp.removeAllListeners("data");
          const head = raw.#received.subarray(0, end).toString();
          raw.#received = raw.#received.subarray(end + 4);
          tcp.on("data", (bytes) => raw.#take(bytes));
          resolve(head);
        });
        tcp.write(
          `GET /v1/socket HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
            `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n` +
            `Sec-WebSocket-Protocol: ${offer(ticket).join(", ")}\r\n\r\n`,
        );
      }),
    );
    assert.match(head, /^HTTP\/1\.1 101 /);
    const accept = createHash("sha1")
      .update(key + GUID)
      .digest("base64");
    assert.ok(
      head.split("\r\n").some((line) => line.toLowerCase() === `sec-websocket-accept: ${accept.toLowerCase()}`),
      head,
    );
    raw.#take(Buffer.alloc(0));
    return raw;
  }

  constructor(tcp, pongs) {
    this.tcp = tcp;
    this.pongsBack = pongs;
    this.closed = new Promise((resolve) => {
      tcp.on("close", () => {
        this.#ended = true;
        resolve();
        for (const watcher of this.#watchers) watcher();
      });
    });
  }

  write(...frames) {
    this.tcp.write(Buffer.concat(frames));
  }

  /** Once it is so, or the connection is over. */
  async when(what, condition, milliseconds = DEADLINE) {
    let watcher;
    const is = new Promise((resolve) => {
      watcher = () => {
        if (condition(this) || this.#ended) resolve();
      };
      this.#watchers.add(watcher);
      watcher();
    });
    await within(milliseconds, what, is).finally(() => this.#watchers.delete(watcher));
    assert.ok(condition(this), `${what}: the connection ended (code ${this.code})`);
  }

  /** The server's close code; it then ends the connection itself. */
  async closeCode(milliseconds = DEADLINE) {
    await this.when("a close frame", ({ code }) => code !== undefined, milliseconds);
    this.tcp.end();
    await within(milliseconds, "the end of the connection", this.closed);
    return this.code;
  }

  drop() {
    this.tcp.destroy();
  }

  #take(bytes) {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    let at = 0;
    for (;;) {
      const left = this.#received.length - at;
      if (left < 2) break;
      const [first, second] = [this.#received[at], this.#received[at + 1]];
      let [length, head] = [second & 127, 2];
      if (length === 126) {
        if (left < 4) break;
        [length, head] = [this.#received.readUInt16BE(at + 2), 4];
      } else if (length === 127) {
        if (left < 10) break;
        [length, head] = [Number(this.#received.readBigUInt64BE(at + 2)), 10];
      }
      if (left < head + length) break;
      this.#frame(first, second, this.#received.subarray(at + head, at + head + length));
      at += head + length;
    }
    this.#received = this.#received.subarray(at);
    for (const watcher of this.#watchers) watcher();
  }

  #frame(first, second, payload) {
    if (this.code !== undefined) faults.push("a frame after the close frame");
    if ((first & 0xf0) !== 0x80) faults.push(`a fragment or reserved bits: ${first}`);
    if (second & 0x80) faults.push("a masked frame of the server");
    switch (first & 15) {
      case OPCODE.text:
        this.frames.push(checkFrame(payload.toString()));
        break;
      case OPCODE.close:
        this.code = payload.length === 0 ? null : payload.readUInt16BE(0);
        if (this.code !== null) checkCode(this.code);
        break;
      case OPCODE.ping:
        this.pings += 1;
        if (this.pongsBack) this.write(frame(OPCODE.pong, payload));
        break;
      case OPCODE.pong:
        this.pongs.push(payload.toString());
        break;
      default:
        faults.push(`opcode ${first & 15}`);
    }
  }
}
