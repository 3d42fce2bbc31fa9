// Clients of the socket that nobody here wrote, and one below the WebSocket layer for what these would never send.
// Whatever the server says to any of them has to be as asyncapi.json has it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import Ajv from "ajv";
import WebSocket from "ws";

import { call, Server } from "./server.mjs";

export const PROTOCOL = "passerby.v1";
export const ASYNCAPI = JSON.parse(
  readFileSync(new URL("../../src/http/socket/asyncapi.json", import.meta.url), "utf8"),
);

/** A deadline and not a pause. */
export const DEADLINE = 60_000;
const LOOK_AGAIN = 10;
const PYTHON = fileURLToPath(new URL(".venv/bin/python", import.meta.url));
const CLIENT = fileURLToPath(new URL("socket_client.py", import.meta.url));

// A test that fails half-way must leave nothing behind.
const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export async function within(milliseconds, what, promise) {
  let timer;
  // Here and not when it is too late, to say who waited.
  const error = new Error(`${what}: not within ${milliseconds} ms`);
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(error), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The first value but `undefined` that `attempt` gives. */
export async function until(what, attempt, milliseconds = DEADLINE) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const value = await attempt();
    if (value !== undefined) return value;
    assert.ok(Date.now() < deadline, `${what}: not within ${milliseconds} ms`);
    await sleep(LOOK_AGAIN);
  }
}

// ---- what asyncapi.json says

const ajv = new Ajv({ strictTypes: false });
ajv.addKeyword("components");
ajv.addSchema({ $id: "asyncapi", components: { schemas: ASYNCAPI.components.schemas } });
const isMessage = Object.fromEntries(
  Object.keys(ASYNCAPI.components.messages).map((name) => [
    name,
    ajv.compile({ $ref: `asyncapi#/components/schemas/${name}` }),
  ]),
);
const nameOf = ({ $ref }) => $ref.slice($ref.lastIndexOf("/") + 1);
const operations = Object.entries(ASYNCAPI.operations);
const REPLIES = Object.fromEntries(
  operations
    .filter(([, { action }]) => action === "receive")
    .map(([type, { reply }]) => [type, reply.messages.map(nameOf)]),
);
const PUSHES = operations
  .filter(([, { action }]) => action === "send")
  .flatMap(([, { messages }]) => messages.map(nameOf));
const CLOSE_CODES = Object.keys(ASYNCAPI.channels.socket["x-close-codes"]).map(Number);

/** What any server said that the document does not have; and how often it said what it has. */
export const faults = [];
export const seen = new Map();

function checkAgainst(names, frame) {
  const fitting = names.filter((name) => isMessage[name](frame));
  if (fitting.length === 1) seen.set(fitting[0], (seen.get(fitting[0]) ?? 0) + 1);
  else faults.push(`${JSON.stringify(frame)} is ${fitting.length} of ${names}`);
}

/** A frame of the server. `asked` is the type of the request that it is to answer, if that is known. */
export function checkFrame(text, asked) {
  const frame = JSON.parse(text);
  if (frame.type !== "reply" && frame.type !== "error") checkAgainst(PUSHES, frame);
  else if (asked === undefined) checkAgainst([...new Set(Object.values(REPLIES).flat())], frame);
  else checkAgainst(REPLIES[asked] ?? ["error"], frame);
  return frame;
}

function checkCode(code) {
  // 1005 and 1006: no close frame, or one without a code
  if (code !== 1005 && code !== 1006 && !CLOSE_CODES.includes(code)) faults.push(`closed with ${code}`);
}

export const isValid = (name, frame) => isMessage[name](frame);

// ---- servers and their users

const METERS = `
  [meter.articles]
  limit = 3
  window = "month"
`;
const ACCOUNTS = `
  [provider.local_userpass.config]
  autoConfirm = true
`;

/** A server with meters and accounts, and these settings from the environment. */
export async function startPasserby(t, environment = {}) {
  const home = await mkdtemp(join(tmpdir(), "passerby-client-test-"));
  await writeFile(join(home, "passerby.toml"), METERS + ACCOUNTS);
  const server = new Server(home, [], environment);
  t?.after(() => server.close());
  return server.start();
}

export async function metric(server, name) {
  const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text();
  return Number(new RegExp(`^passerby_${name} (\\d+)$`, "m").exec(metrics)?.[1]);
}

export const untilSockets = (server, number) =>
  until(`${number} open sockets`, async () => ((await metric(server, "sockets")) === number ? true : undefined));

async function created(server, method, path, token, body) {
  const answer = await call(server.url, method, path, token, body);
  assert.ok(answer.status === 200 || answer.status === 201, `${method} ${path}: ${JSON.stringify(answer)}`);
  return answer.body;
}

/** One session of a user, over HTTP. */
export class Device {
  constructor(server, session) {
    this.server = server;
    this.take(session);
  }

  /** The tokens of an answer replace those before. */
  take({ user_id, session_id, access_token }) {
    Object.assign(this, { user: user_id, session: session_id, token: access_token });
  }

  static async anonymous(server) {
    return new Device(server, await created(server, "POST", "/v1/sessions"));
  }

  static newAccount = () => ({ email: `${randomUUID()}@example.com`, password: "correct horse" });

  static async account(server, account = Device.newAccount()) {
    const { status } = await call(server.url, "POST", "/v1/registrations", undefined, account);
    assert.ok(status < 300, `${status}`);
    return Device.logIn(server, account);
  }

  static async logIn(server, account) {
    return new Device(
      server,
      await created(server, "POST", "/v1/sessions", undefined, { provider: "local-userpass", ...account }),
    );
  }

  /** Another session of the same user. */
  async another() {
    const { code } = await created(this.server, "POST", "/v1/session/transfer", this.token);
    return new Device(
      this.server,
      await created(this.server, "POST", "/v1/sessions", undefined, { provider: "transfer", code }),
    );
  }

  call(method, path, body) {
    return call(this.server.url, method, path, this.token, body);
  }

  async link(account, more = {}) {
    const body = { provider: "local-userpass", ...account, ...more };
    const answer = await created(this.server, "POST", "/v1/user/identities", this.token, body);
    this.take(answer);
    return answer;
  }

  async ticket() {
    return (await created(this.server, "POST", "/v1/socket-ticket", this.token)).ticket;
  }

  async open(options) {
    return Client.open(this.server, { ticket: await this.ticket(), ...options });
  }

  async raw(options) {
    return Raw.open(this.server, { ticket: await this.ticket(), ...options });
  }

  async python() {
    return Python.start(this.server, [PROTOCOL, `ticket.${await this.ticket()}`]);
  }

  async data() {
    const { status, body } = await this.call("GET", "/v1/data");
    assert.ok(status === 200 || status === 404, `${status}`);
    return status === 200 ? body : null;
  }
}

// ---- clients

const socketUrl = (server, query = "") => `${server.url.replace("http", "ws")}/v1/socket${query}`;
const offer = (ticket) => (ticket === undefined ? [PROTOCOL] : [PROTOCOL, `ticket.${ticket}`]);

/** A merge patch (RFC 7396), as a client of the protocol has to apply it. */
export function merged(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const result = target !== null && typeof target === "object" && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}

class Refused extends Error {
  constructor(status, body) {
    super(`refused: ${status} ${body}`);
    this.status = status;
    this.body = body === "" ? null : JSON.parse(body);
  }
}

/** What an opening is refused with, before the upgrade. */
export async function refusal(opening) {
  const error = await opening.then(
    () => assert.fail("the socket was opened"),
    (error) => error,
  );
  assert.ok(error instanceof Refused, error.stack);
  assert.equal(error.body.status, error.status);
  return [error.status, error.body.code];
}

/** npm's ws, with what it was told and asked. */
export class Client {
  #asked = [];
  #watchers = new Set();
  #untold = 0;

  /** All frames, in order of arrival; replies with the `asked` type. */
  frames = [];
  pings = 0;

  constructor(ws) {
    this.ws = ws;
    ws.on("message", (data, isBinary) => {
      if (isBinary) return faults.push("a binary frame");
      this.#take(String(data));
    });
    ws.on("ping", () => {
      this.pings += 1;
    });
    this.closed = new Promise((resolve) => {
      ws.on("close", (code, reason) => {
        checkCode(code);
        for (const { reject } of this.#asked.splice(0)) reject(new Error(`closed with ${code} before the reply`));
        resolve({ code, reason: String(reason) });
        this.#wake();
      });
    });
    // Those who ask for more than the end see it by `closed`.
    ws.on("error", () => {});
  }

  /** Opens one, and waits for its hello. */
  static async open(server, { ticket, since, headers, protocols = offer(ticket), query } = {}) {
    const ws = new WebSocket(socketUrl(server, query ?? (since === undefined ? "" : `?since=${since}`)), protocols, {
      headers,
      handshakeTimeout: DEADLINE,
    });
    const client = new Client(ws);
    await new Promise((resolve, reject) => {
      ws.once("open", resolve).once("error", reject);
      ws.once("unexpected-response", async (request, response) => {
        response.setEncoding("utf8");
        let body = "";
        for await (const part of response) body += part;
        reject(new Refused(response.statusCode, body));
      });
    });
    assert.equal(ws.protocol, PROTOCOL);
    client.hello = await client.push();
    assert.equal(client.hello.type, "hello");
    return client;
  }

  /** The next push that nobody took yet. */
  async push(milliseconds = DEADLINE) {
    return this.#when("a push", milliseconds, () => {
      while (this.#untold < this.frames.length) {
        const frame = this.frames[this.#untold++];
        if (frame.type !== "reply" && frame.type !== "error") return frame;
      }
      return undefined;
    });
  }

  /** The same, which is to be this. */
  async isTold(push, milliseconds) {
    assert.deepEqual(await this.push(milliseconds), push);
  }

  /** Once the frames are such. */
  async once(what, condition, milliseconds = DEADLINE) {
    await this.#when(what, milliseconds, () => (condition(this.frames) ? true : undefined));
  }

  async #when(what, milliseconds, attempt) {
    let watcher;
    const value = new Promise((resolve, reject) => {
      watcher = () => {
        const value = attempt();
        if (value !== undefined) {
          // At once: the next frame is the next one's who asks.
          this.#watchers.delete(watcher);
          resolve(value);
        } else if (this.ws.readyState === WebSocket.CLOSED) {
          reject(new Error(`${what}: the socket is closed`));
        }
      };
      this.#watchers.add(watcher);
      watcher();
    });
    return within(milliseconds, what, value).finally(() => this.#watchers.delete(watcher));
  }

  /** Sends any text as it is; answers the reply to it, which the protocol may not give. */
  send(text, asked) {
    return new Promise((resolve, reject) => {
      this.#asked.push({ asked, resolve, reject });
      this.ws.send(text);
    });
  }

  /** Asks for something; answers the reply or the error. */
  async ask(type, fields = {}, id = randomUUID()) {
    const request = { id, type, ...fields };
    assert.ok(isValid(type, request), `this is no ${type}: ${JSON.stringify(request)}`);
    const frame = await this.send(JSON.stringify(request), type);
    assert.equal(frame.id, id, "replies come in the order of the requests");
    return frame;
  }

  /** The same, of what has to be done: without what every reply has. */
  async does(type, fields, id) {
    const { type: kind, id: _, ...reply } = await this.ask(type, fields, id);
    assert.equal(kind, "reply", JSON.stringify(reply));
    return reply;
  }

  close() {
    this.ws.close(1000);
    return within(DEADLINE, "the end", this.closed);
  }

  /** Takes off without a word. */
  drop() {
    this.ws.terminate();
  }

  async endsWith(code, milliseconds = DEADLINE) {
    assert.equal((await within(milliseconds, `close code ${code}`, this.closed)).code, code);
  }

  #take(text) {
    const is = JSON.parse(text).type;
    if (is !== "reply" && is !== "error") {
      this.frames.push(checkFrame(text));
    } else {
      const first = this.#asked.shift();
      if (first === undefined) return faults.push(`${text} answers nothing`);
      const frame = checkFrame(text, first.asked);
      this.frames.push(frame);
      first.resolve(frame);
    }
    this.#wake();
  }

  #wake() {
    for (const watcher of this.#watchers) watcher();
  }
}

/** Python's websockets, in a process of its own. */
export class Python {
  #child;
  #events = [];
  #wake = () => {};

  static start(server, protocols) {
    assert.ok(
      existsSync(PYTHON),
      `${PYTHON} is missing: python3 -m venv .venv && .venv/bin/pip install -r requirements.txt`,
    );
    return new Python(spawn(PYTHON, [CLIENT, socketUrl(server), ...protocols], { stdio: ["pipe", "pipe", "inherit"] }));
  }

  constructor(child) {
    this.#child = child;
    running.add(child);
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.#events.push(JSON.parse(line));
      this.#wake();
    });
    this.ended = once(child, "exit");
  }

  async event() {
    const event = new Promise((resolve) => {
      this.#wake = () => {
        if (this.#events.length === 0) return;
        this.#wake = () => {};
        resolve(this.#events.shift());
      };
      this.#wake();
    });
    return within(DEADLINE, "an event of Python's client", event);
  }

  /** The next frame. */
  async frame(asked) {
    const event = await this.event();
    assert.ok("frame" in event, JSON.stringify(event));
    return checkFrame(event.frame, asked);
  }

  command(command) {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
  }
}

// ---- below the WebSocket layer

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

/** The status and problem code of a plain request, with headers that `fetch` does not send. */
export async function plain(server, path, headers = {}) {
  const request = http.request(server.url + path, { headers, agent: false }).end();
  const [response] = await once(request, "response");
  response.setEncoding("utf8");
  let body = "";
  for await (const part of response) body += part;
  return { status: response.statusCode, headers: response.headers, body: body === "" ? null : JSON.parse(body) };
}

/** A server that says all it can say; `stop` ends it and answers everything that it printed. */
export async function startTalkative(t) {
  const home = await mkdtemp(join(tmpdir(), "passerby-client-test-"));
  t.after(() => rm(home, { recursive: true, force: true }));
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PASSERBY_")));
  const child = spawn(
    process.env.PASSERBY_BIN,
    ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", join(home, "data")],
    { cwd: home, env: { ...environment, PASSERBY_LOG_FILTER: "trace" }, stdio: ["ignore", "pipe", "pipe"] },
  );
  running.add(child);
  const ended = once(child, "exit");
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => output.push(text));
  const url = await until("the server listens", () => /listening on (http:\S+)\n/.exec(output.join(""))?.[1]);
  const stop = async () => {
    child.kill("SIGTERM");
    await within(DEADLINE, "the end of the server", ended);
    return output.join("");
  };
  return { url, stop };
}
