// Users of the socket, and other people's clients of it. Whatever the server says to any of them has to be as
// asyncapi.json has it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import WebSocket from "ws";

import { checkCode, checkFrame, faults, isValid, offer, PROTOCOL } from "./asyncapi.mjs";
import { endWithUs, newHome, removeHome } from "./cleanup.mjs";
import { Raw } from "./raw-socket.mjs";
import { call, startServerWith } from "./server.mjs";
import { DEADLINE, until, within } from "./wait.mjs";

const PYTHON = fileURLToPath(new URL("../.venv/bin/python", import.meta.url));
const CLIENT = fileURLToPath(new URL("socket_client.py", import.meta.url));

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
export const startPasserby = (t, environment) => startServerWith(t, METERS + ACCOUNTS, environment);

/** How long the server tries to send to who does not read. */
export const SEND_WITHIN = 10_000;
/** Clients that are told of the end of a session are told within this. */
export const SOON = 1000;
/** http.max_body. */
export const MOST_FRAME = 65_536;

export async function metric(server, name) {
  const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text();
  return Number(new RegExp(`^passerby_${name} (\\d+)$`, "m").exec(metrics)?.[1]);
}

export const untilSockets = (server, number) =>
  until(`${number} open sockets`, async () => ((await metric(server, "sockets")) === number ? true : undefined));

/** That a server is well after what was done to it. */
export async function assertWell(server) {
  assert.equal(await metric(server, "actor_deaths_total"), 0);
  assert.equal((await fetch(`${server.adminUrl}/healthz`)).status, 200);
}

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

  /** The next push that was not taken yet. */
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

  /** Leaves without a word. */
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
    endWithUs(child);
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
  const home = await newHome();
  t.after(() => removeHome(home));
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PASSERBY_")));
  const child = spawn(
    process.env.PASSERBY_BIN,
    ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", join(home, "data")],
    { cwd: home, env: { ...environment, PASSERBY_LOG_FILTER: "trace" }, stdio: ["ignore", "pipe", "pipe"] },
  );
  endWithUs(child);
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
