// The document of a page's reader, or of an app's user, live: see docs/socket.md. Keeps nothing itself.
// @ts-check

import { PasserbyError, reader } from "./passerby.js";

const home = new URL(import.meta.url).origin;
const TIME_LIMIT_MS = 20_000;
const PAUSES_MS = { shortest: 250, longest: 15_000, restart: 5_000 };
/** The server remembers more results than that, so that none is forgotten which may be asked for again. */
const MOST_ON_THE_WAY = 32;
/** A merge may be told of before the browser has its cookie. */
const MERGE_TRIES = 6;
const ENDED = 4001;
const RESTARTS = 1012;

/**
 * @typedef {object} Options
 * @property {string | (() => string | Promise<string>)} [token] an access token, or what gives one; without it the page's reader connects
 * @property {string} [base] Passerby's origin if there is a token, and it is not this module's
 * @property {any} [WebSocket] the class to use where there is none, such as that of the npm package ws
 * @property {(task: () => void, milliseconds: number) => any} [setTimeout] for tests
 * @property {() => number} [random] for tests
 */

/**
 * @typedef {import("./passerby.js").Meter} Meter
 * @typedef {{ version: number, value?: number }} Changed `value` is what an increment made of the number
 */

/**
 * @typedef {object} Request
 * @property {string} id
 * @property {string} text as it is sent
 * @property {Change} [change] what it makes of the document
 * @property {(reply: any) => void} resolve
 * @property {(error: PasserbyError) => void} reject
 * @property {object} [sentOn] the socket
 */

/** @typedef {(data: any, sent: any, reply: any) => any} Change gives undefined if that cannot be told here */

/**
 * Connects, and connects again whenever the connection is lost, until it ends for good.
 * @param {Options} [options]
 * @returns {Promise<Connection>} once the document is there
 */
export async function connect(options = {}) {
  const all = { WebSocket: globalThis.WebSocket, setTimeout: globalThis.setTimeout, random: Math.random, ...options };
  if (!all.WebSocket) throw new TypeError("there is no WebSocket here: it has to be an option");
  const connection = new Connection(all);
  return new Promise((resolve, reject) => {
    connection.on("status", (status) => status === "open" && resolve(connection));
    connection.on("ended", reject);
  });
}

class Connection {
  /** The document, or null. It is frozen; each change makes another object. @type {any} */
  data = null;
  version = 0;
  user = "";
  anonymous = true;
  /** @type {"connecting" | "open" | "closed"} */
  status = "connecting";

  #events = new EventTarget();
  #failures = 0;
  /** Whether the user became part of another, under whose cookie it goes on. */
  #merged = false;
  /** The newest version that was heard of. */
  #newest = 0;
  #options;
  /** Why there is nothing more. @type {PasserbyError | undefined} */
  #over;
  /** Those without a reply, in order, by id. @type {Map<string, Request>} */
  #requests = new Map();
  #since = "";
  /** @type {any} */
  #socket;
  /** @type {any} */
  #timer;

  /** @param {Required<Pick<Options, "WebSocket" | "setTimeout" | "random">> & Options} options */
  constructor(options) {
    this.#options = options;
    this.#open();
  }

  /**
   * Listens to "data" (data, version), "status" (status), "linked" (), "merged" (user, merged user), "expiring" (time)
   * or "ended" (error).
   * @param {string} type
   * @param {(...facts: any[]) => void} listener
   * @returns {() => void} stops it
   */
  on(type, listener) {
    const hear = (/** @type {any} */ { detail }) => listener(...detail);
    this.#events.addEventListener(type, hear);
    return () => this.#events.removeEventListener(type, hear);
  }

  /**
   * Puts another document in its place.
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
    const change = (/** @type {any} */ data, /** @type {any} */ sent) => merge(data, sent.patch);
    return this.#request("patch", { patch }, Array.isArray(patch) ? () => undefined : change);
  }

  /**
   * Adds to a number, which is 0 if it is not there.
   * @param {string} path a JSON pointer (RFC 6901)
   * @param {number} [by]
   * @returns {Promise<Changed>}
   */
  increment(path, by = 1) {
    return this.#request("increment", { path, by }, (data, _, { value }) => {
      const keys = path.split("/").slice(1);
      return put(data, keys.map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~")), value);
    });
  }

  /**
   * Takes the document away.
   * @returns {Promise<Changed>}
   */
  remove() {
    return this.#request("delete", {}, () => null);
  }

  /**
   * Counts a use; the same item counts once in a period.
   * @param {string} name
   * @param {string} [item]
   * @returns {Promise<Meter>}
   */
  async meter(name, item) {
    return (await this.#request("meter", { name, item })).meter;
  }

  /** Ends it; what has no reply yet is rejected. */
  async close() {
    this.#finish(new PasserbyError(0, "closed", "the connection was closed"));
  }

  async #open() {
    const { token, base = home, WebSocket } = this.#options;
    const protocols = ["passerby.v1"];
    try {
      if (token) {
        const bearer = typeof token === "string" ? token : await token();
        const { ticket } = await ask("POST", `${base}/v1/socket-ticket`, { headers: { Authorization: `Bearer ${bearer}` } });
        protocols.push(`ticket.${ticket}`);
      } else if (this.user) await this.#recognise();
      else await reader();
      if (this.#over) return;
      const socket = new WebSocket(`${base.replace("http", "ws")}/v1/socket${this.#since}`, protocols);
      socket.onmessage = (/** @type {MessageEvent} */ { data }) => this.#over || this.#hear(parse(data));
      socket.onclose = (/** @type {CloseEvent} */ { code }) => this.#lost(code);
      socket.onerror = () => {}; // onclose follows
      this.#socket = socket;
    } catch (thrown) {
      const error = /** @type {PasserbyError} */ (thrown);
      const isRefused = error.status === 401 || error.status === 403;
      if (isRefused && !(this.#merged && this.#failures < MERGE_TRIES)) this.#end(error);
      else this.#again(this.#backoff(), error.retryAfter);
    }
  }

  /** Sees to it that the reader is still the same, without making one: a new cookie could replace that of a merge. */
  async #recognise() {
    const { user_id, aliases } = await ask("GET", `${home}/v1/session`, { credentials: "include" });
    if (!aliases?.includes(this.user)) return;
    if (!this.#merged) this.#emit("merged", user_id, this.user);
    this.#reject(new PasserbyError(409, "merged", "the user became part of another before there was a reply"));
    this.#since = "";
    this.user = user_id;
  }

  #backoff() {
    return Math.min(PAUSES_MS.longest, PAUSES_MS.shortest * 2 ** this.#failures++);
  }

  /** @param {number} code */
  #lost(code) {
    if (code === ENDED && !this.#merged) this.#end(ended("session-ended"));
    else this.#again(code === RESTARTS ? PAUSES_MS.restart : this.#backoff());
  }

  /**
   * Opens it again after a random part of a pause.
   * @param {number} pause
   * @param {number} [atLeast] seconds
   */
  #again(pause, atLeast = 0) {
    if (this.#over) return;
    const { setTimeout, random } = this.#options;
    this.#become("connecting");
    this.#timer = setTimeout(() => this.#open(), atLeast * 1000 + random() * pause);
  }

  /** @param {PasserbyError} error */
  #end(error) {
    if (this.#over) return;
    this.#finish(error);
    this.#emit("ended", error);
  }

  /** @param {PasserbyError} error */
  #finish(error) {
    this.#over = error;
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#reject(error);
    this.#become("closed");
  }

  /** @param {PasserbyError} error */
  #reject(error) {
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    for (const { reject } of requests) reject(error);
  }

  /** @param {typeof this.status} status */
  #become(status) {
    if (status === this.status) return;
    this.status = status;
    this.#emit("status", status);
  }

  /**
   * @param {string} type
   * @param {any[]} facts
   */
  #emit(type, ...facts) {
    this.#events.dispatchEvent(new CustomEvent(type, { detail: facts }));
  }

  /**
   * @param {string} type
   * @param {object} fields
   * @param {Change} [change]
   * @returns {Promise<any>}
   */
  #request(type, fields, change) {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(this.#over);
      const random = crypto.getRandomValues(new Uint8Array(16));
      const id = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
      const text = JSON.stringify({ id, type, ...fields });
      this.#requests.set(id, { id, text, change, resolve, reject });
      this.#flush();
    });
  }

  /** Sends what may be on the way and is not; after a lost connection everything again. */
  #flush() {
    if (this.status !== "open") return;
    let room = MOST_ON_THE_WAY;
    for (const request of this.#requests.values()) {
      if (room-- === 0) return;
      if (request.sentOn === this.#socket) continue;
      request.sentOn = this.#socket;
      this.#socket.send(request.text);
    }
  }

  /** @param {any} frame */
  #hear(frame) {
    switch (frame.type) {
      case "hello":
        return this.#welcome(frame);
      case "data.changed":
        return this.#learn(frame, (data) => merge(data, frame.patch));
      case "reply":
      case "error":
        return this.#settle(frame);
      case "session.linked":
        this.anonymous = false;
        return this.#emit("linked");
      case "session.merged":
        this.#merged = frame.merged_user_id === this.user;
        this.#emit("merged", frame.user_id, frame.merged_user_id);
        if (this.#merged && this.#options.token) this.#end(ended("merged"));
        return;
      case "session.ended":
        return this.#end(ended(frame.reason));
      case "expiring":
        return this.#emit("expiring", frame.at);
    }
  }

  /** @param {any} hello */
  #welcome({ user_id, anonymous, version, data }) {
    if (this.user && user_id !== this.user) return this.#end(ended("other-user"));
    Object.assign(this, { user: user_id, anonymous });
    this.#failures = 0;
    this.#merged = false;
    if (data !== undefined) {
      this.#newest = version;
      this.#show(version, data);
    }
    this.#become("open");
    this.#flush();
  }

  /** @param {any} frame */
  #settle(frame) {
    const request = this.#requests.get(frame.id);
    if (!request) return;
    this.#requests.delete(frame.id);
    const { status, code, detail, retry_after } = frame;
    if (frame.type === "error") request.reject(new PasserbyError(status, code, detail, retry_after));
    else {
      const { id, type, ...reply } = frame;
      request.resolve(reply);
      this.#learn(reply, (data) => request.change?.(data, parse(request.text), reply));
    }
    this.#flush();
  }

  /**
   * Takes over the document as it is, or a change of the one before; after a gap the whole is asked for.
   * @param {{ version: number, data?: any }} news
   * @param {(data: any) => any} change
   */
  #learn({ version, data }, change) {
    if (!(version > this.version)) return;
    this.#newest = Math.max(this.#newest, version);
    const next = data === undefined && version === this.version + 1 ? change(this.data) : data;
    if (next !== undefined) this.#show(version, next);
    if (this.version < this.#newest && !this.#isAsking()) this.#request("get", {}).catch(() => {});
  }

  #isAsking() {
    return [...this.#requests.values()].some(({ text }) => parse(text).type === "get");
  }

  /**
   * @param {number} version
   * @param {any} data
   */
  #show(version, data) {
    Object.assign(this, { version, data });
    this.#since = `?since=${version}`;
    this.#emit("data", data, version);
  }
}

const ended = (/** @type {string} */ code) => new PasserbyError(401, code, `the session has ended: ${code}`);

/**
 * @param {string} method
 * @param {string} url
 * @param {RequestInit} request
 * @returns {Promise<any>}
 */
async function ask(method, url, request) {
  const unreachable = (/** @type {unknown} */ cause) => new PasserbyError(0, "unreachable", `no answer from ${url}`, undefined, cause);
  const signal = AbortSignal.timeout(TIME_LIMIT_MS);
  const response = await fetch(url, { method, signal, ...request }).catch((cause) => Promise.reject(unreachable(cause)));
  const answer = await response.json().catch(() => undefined);
  const { ok, status } = response;
  if (ok && answer) return answer;
  const { code = "bad-answer", detail = `${url} answered ${status}` } = answer ?? {};
  throw new PasserbyError(status, code, detail, Number(response.headers.get("Retry-After")) || undefined);
}

/** What nobody can change later. */
const parse = (/** @type {string} */ text) => JSON.parse(text, (_, value) => Object.freeze(value));

const isObject = (/** @type {unknown} */ value) => typeof value === "object" && value !== null && !Array.isArray(value);

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
 * The target with this value below these keys.
 * @param {any} target
 * @param {string[]} keys
 * @param {any} value
 * @returns {any}
 */
function put(target, [key, ...keys], value) {
  if (key === undefined) return value;
  const entries = new Map(Object.entries(target ?? {}));
  entries.set(key, put(entries.get(key), keys, value));
  return Object.freeze(Array.isArray(target) ? [...entries.values()] : Object.fromEntries(entries));
}
