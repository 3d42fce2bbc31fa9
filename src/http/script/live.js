// A user's document, live; docs/socket.md has the protocol.
// @ts-check

import { PasserbyError, reader } from "./passerby.js";

const home = new URL(import.meta.url).origin;
const TIME_LIMIT_MS = 20_000;
const SHORTEST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 15_000;
const RESTART_PAUSE_MS = 5_000;
/** All of them may be repeated: the server remembers more. */
const MOST_ON_THE_WAY = 32;
/** The socket may tell of a merge before the merge's cookie arrives. */
const MERGE_TRIES = 6;

/**
 * @typedef {object} Options
 * @property {string | (() => string | Promise<string>)} [token] or what returns it; without one, the page's reader connects
 * @property {string} [base] Passerby's origin, with a token
 * @property {any} [WebSocket] that of the npm package ws, where there is none
 * @property {any} [setTimeout] for tests
 * @property {any} [random] for tests
 *
 * @typedef {{ version: number, value?: number }} Changed value: the number after an increment
 */

/**
 * @param {Options} [options]
 * @returns {Promise<Connection>} once the document is here; it reconnects until it ends for good
 */
export async function connect(options) {
  const { WebSocket, setTimeout } = globalThis;
  const connection = new Connection({ WebSocket, setTimeout, random: Math.random, ...options });
  return new Promise((resolve, reject) => {
    connection.on("status", (status) => status === "open" && resolve(connection));
    connection.on("ended", reject);
  });
}

class Connection {
  /** Null if there is no document. Frozen: each change creates a new object. @type {any} */
  data = null;
  version = 0;
  user = "";
  anonymous = true;
  /** @type {"connecting" | "open" | "closed"} */
  status = "connecting";

  #events = new EventTarget();
  #failures = 0;
  /** Whether the page goes on as a different user. */
  #merged = false;
  /** The newest version. */
  #newest = 0;
  #options;
  /** Why it has ended. @type {PasserbyError | undefined} */
  #over;
  /** What has no reply yet, by id and in order. @type {Map<string, any>} */
  #requests = new Map();
  #since = "";
  /** @type {any} */
  #socket;
  /** @type {any} */
  #timer;

  /** @param {any} options */
  constructor(options) {
    if (!options.WebSocket) throw new TypeError("there is no WebSocket here");
    new URL(options.base ?? home); // throws
    this.#options = options;
    this.#open();
  }

  /**
   * "data" (data, version), "status" (status), "linked" (), "merged" (user, merged user), "expiring" (time) or "ended"
   * (error).
   * @param {string} type
   * @param {(...facts: any[]) => any} listener
   * @returns {() => void} stops it
   */
  on(type, listener) {
    const hear = (/** @type {any} */ { detail }) => listener(...detail);
    this.#events.addEventListener(type, hear);
    return () => this.#events.removeEventListener(type, hear);
  }

  /**
   * @param {object} data
   * @returns {Promise<Changed>}
   */
  set(data) {
    return this.#request("put", { data }, (_, sent) => sent.data);
  }

  /**
   * @param {object} patch a merge patch (RFC 7396), or as an array a JSON patch (RFC 6902)
   * @returns {Promise<Changed>}
   */
  patch(patch) {
    return this.#request("patch", { patch }, (data, sent) => (isObject(patch) ? merge(data, sent.patch) : undefined));
  }

  /**
   * @param {string} path a JSON pointer (RFC 6901) to a number, which is 0 if it is not there
   * @param {number} [by]
   * @returns {Promise<Changed>}
   */
  increment(path, by = 1) {
    return this.#request("increment", { path, by }, (data, _, { value }) => put(data, path.split("/").slice(1), value));
  }

  /** @returns {Promise<Changed>} */
  remove() {
    return this.#request("delete", {}, () => null);
  }

  /**
   * @param {string} name
   * @param {string} [item]
   * @returns {Promise<import("./passerby.js").Meter>}
   */
  async meter(name, item) {
    return (await this.#request("meter", { name, item })).meter;
  }

  /** What has no reply yet is rejected. */
  async close() {
    this.#end(new PasserbyError(0, "closed", "the connection was closed"));
  }

  async #open() {
    const { token, base = home, WebSocket } = this.#options;
    const protocols = ["passerby.v1"];
    try {
      if (token) {
        const headers = { Authorization: `Bearer ${token.call ? await token() : token}` };
        const { ticket } = await ask(`${base}/v1/socket-ticket`, { method: "POST", headers });
        protocols.push(`ticket.${ticket}`);
      } else if (this.user) await this.#recognise();
      else await reader();
      if (this.#over) return;
      const socket = new WebSocket(`${base.replace("http", "ws")}/v1/socket${this.#since}`, protocols);
      socket.onmessage = (/** @type {any} */ { data }) => this.#over || this.#hear(parse(data));
      socket.onclose = (/** @type {any} */ { code }) => {
        if (code === 1009) this.#refuse();
        if (code === 4001 && !this.#merged) this.#end(ended("session-ended"));
        else this.#again(code === 1012 ? RESTART_PAUSE_MS : this.#backoff());
      };
      socket.onerror = () => {}; // onclose follows
      this.#socket = socket;
    } catch (thrown) {
      const error = /** @type {PasserbyError} */ (thrown);
      const isRefused = [401, 403].includes(error.status);
      if (isRefused && !(this.#merged && this.#failures < MERGE_TRIES)) this.#end(error);
      else this.#again(this.#backoff(), error.retryAfter);
    }
  }

  /** Creates no reader, whose cookie could replace that of a merge. */
  async #recognise() {
    const { user_id, aliases } = await ask(`${home}/v1/session`, { credentials: "include" });
    if (!aliases?.includes(this.user)) return;
    if (!this.#merged) this.#emit("merged", user_id, this.user);
    this.#reject(new PasserbyError(409, "merged", "the user became part of a different one"));
    this.#since = "";
    this.user = user_id;
  }

  #backoff() {
    return Math.min(LONGEST_PAUSE_MS, SHORTEST_PAUSE_MS * 2 ** this.#failures++);
  }

  /**
   * @param {number} pause the most
   * @param {number} [retryAfter]
   */
  #again(pause, retryAfter = 0) {
    if (this.#over) return;
    const { setTimeout, random } = this.#options;
    this.#become("connecting");
    this.#timer = setTimeout(() => this.#open(), 1000 * retryAfter + pause * random());
  }

  /** @param {PasserbyError} error */
  #end(error) {
    if (this.#over) return;
    this.#over = error;
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#reject(error);
    this.#become("closed");
    if (error.status) this.#emit("ended", error);
  }

  /** @param {PasserbyError} error */
  #reject(error) {
    for (const { reject, timer } of this.#requests.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#requests.clear();
  }

  /** One of the requests was too large, and would be again. */
  #refuse() {
    const sizes = [...this.#requests].map(([id, { text }]) => [text.length, id]);
    const [, id] = sizes.sort(([a], [b]) => b - a)[0] ?? [];
    this.#requests.get(id)?.reject(new PasserbyError(413, "body-too-large", "this is more than the server takes"));
    this.#requests.delete(id);
  }

  /** @param {Connection["status"]} status */
  #become(status) {
    if (this.status === status) return;
    this.status = status;
    this.#emit("status", status);
  }

  /**
   * @param {string} type
   * @param {any[]} detail
   */
  #emit(type, ...detail) {
    this.#events.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /**
   * @param {string} type
   * @param {object} fields
   * @param {(...facts: any[]) => any} [change] of document, fields and reply
   * @returns {Promise<any>}
   */
  #request(type, fields, change) {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(this.#over);
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      const id = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
      this.#requests.set(id, { text: JSON.stringify({ id, type, ...fields }), type, change, resolve, reject });
      this.#flush();
    });
  }

  /** Sends what this socket has not sent. */
  #flush() {
    if (this.status !== "open") return;
    const { setTimeout } = this.#options;
    const socket = this.#socket;
    for (const request of [...this.#requests.values()].slice(0, MOST_ON_THE_WAY)) {
      if (request.socket === socket) continue;
      request.socket = socket;
      socket.send(request.text);
      clearTimeout(request.timer);
      request.timer = setTimeout(() => socket.close(), TIME_LIMIT_MS);
    }
  }

  /** @param {any} frame */
  #hear(frame) {
    const { type, user_id, merged_user_id } = frame;
    if (type === "hello") this.#greet(frame);
    else if (type === "data.changed") this.#learn(frame, (data) => merge(data, frame.patch));
    else if (type === "session.ended") this.#end(ended(frame.reason));
    else if (type === "expiring") this.#emit(type, frame.at);
    else if (type === "session.linked") {
      this.anonymous = false;
      this.#emit("linked");
    } else if (type === "session.merged") {
      this.#merged = merged_user_id === this.user;
      this.#emit("merged", user_id, merged_user_id);
      if (this.#merged && this.#options.token) this.#end(ended("merged"));
    } else this.#settle(frame);
  }

  /** @param {any} hello */
  #greet({ user_id, anonymous, version, data }) {
    if (this.user && this.user !== user_id) return this.#end(ended("other-user"));
    this.user = user_id;
    this.anonymous = anonymous;
    this.#failures = 0;
    this.#merged = false;
    this.#become("open");
    if (data !== undefined) {
      this.version = this.#newest = -1; // a different user may have any
      this.#learn({ version, data });
    }
    this.#flush();
  }

  /** @param {any} frame */
  #settle({ id, type, status, code, detail, retry_after, ...reply }) {
    const request = this.#requests.get(id);
    // answered on the next socket
    if (!request || code === "outcome-unknown") return;
    this.#requests.delete(id);
    clearTimeout(request.timer);
    if (type === "error") request.reject(new PasserbyError(status, code, detail, retry_after));
    else {
      request.resolve(reply);
      this.#learn(reply, (data) => request.change?.(data, parse(request.text), reply));
    }
    this.#flush();
  }

  /**
   * Takes a whole document, or a change of the version before; after a gap it asks for the whole.
   * @param {any} frame
   * @param {(data: any) => any} [change]
   */
  #learn({ version, data }, change) {
    if (!(version > this.version)) return;
    this.#newest = Math.max(version, this.#newest);
    if (data === undefined && version === this.version + 1) data = change?.(this.data);
    if (data !== undefined) {
      this.version = version;
      this.data = data;
      this.#since = `?since=${version}`;
      this.#emit("data", data, version);
    }
    const isAsking = [...this.#requests.values()].some(({ type }) => type === "get");
    if (this.version < this.#newest && !isAsking) this.#request("get", {}).catch(() => {});
  }
}

const ended = (/** @type {string} */ code) => new PasserbyError(401, code, `the session has ended: ${code}`);

/**
 * @param {string} url
 * @param {RequestInit} request
 */
async function ask(url, request) {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIME_LIMIT_MS), ...request });
  const answer = await response.json();
  if (response.ok) return answer;
  const retryAfter = Number(response.headers.get("Retry-After")) || undefined;
  throw new PasserbyError(response.status, answer.code, answer.detail, retryAfter);
}

const parse = (/** @type {string} */ text) => JSON.parse(text, (_, value) => Object.freeze(value));

const isObject = (/** @type {any} */ value) => value instanceof Object && !Array.isArray(value);

/**
 * RFC 7396. By entries, as `__proto__` is a key like any other.
 * @param {any} target
 * @param {any} patch
 */
function merge(target, patch) {
  if (!isObject(patch)) return patch;
  const entries = new Map(Object.entries(isObject(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) entries.delete(key);
    else entries.set(key, merge(entries.get(key), value));
  }
  return Object.freeze(Object.fromEntries(entries));
}

/**
 * The target with this below the keys of a pointer.
 * @param {any} target
 * @param {string[]} keys
 * @param {any} value
 * @returns {any}
 */
function put(target, [key, ...rest], value) {
  if (key === undefined) return value;
  const entries = new Map(Object.entries(target ?? {}));
  key = key.replaceAll("~1", "/").replaceAll("~0", "~");
  entries.set(key, put(entries.get(key), rest, value));
  return Object.freeze(Array.isArray(target) ? [...entries.values()] : Object.fromEntries(entries));
}
