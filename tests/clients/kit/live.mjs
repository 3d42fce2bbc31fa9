// /passerby-live.js in Node: the modules as files of their own, and timers that wait for nothing but the test.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

import { WebSocket } from "ws";

import { newHome, removeHome } from "./cleanup.mjs";
import { SocketStub, TOKEN } from "./socket-stub.mjs";
import { DEADLINE } from "./wait.mjs";

const LOOK_AGAIN = 2;
const NAMES = ["passerby.js", "live.js"];

export const source = (name) => readFile(new URL(`../../../src/http/script/${name}`, import.meta.url), "utf8");

/** Waits until it is so. */
export async function until(isSo, what = isSo) {
  const deadline = Date.now() + DEADLINE;
  while (!isSo()) {
    assert.ok(Date.now() < deadline, `not within ${DEADLINE} ms: ${what}`);
    await sleep(LOOK_AGAIN);
  }
}

/** The modules as files of their own; `changed` may change their text. */
export async function files(changed = (text) => text) {
  const home = await newHome("live");
  await writeFile(join(home, "package.json"), '{ "type": "module" }');
  for (const name of NAMES) await writeFile(join(home, name), changed(await source(name)));
  return { home, remove: () => removeHome(home) };
}

/** How long a reply may take, in the module. */
const TIME_LIMIT = 20_000;

/** Timers that wait for nothing but the test. */
class Pauses {
  #waiting = [];
  /** What happens to a request whose time is over. */
  late = [];
  setTimeout = (task, milliseconds) => {
    if (milliseconds === TIME_LIMIT) this.late.push(task);
    else this.#waiting.push({ task, milliseconds });
  };

  get length() {
    return this.#waiting.length;
  }

  /** The next pause in milliseconds, once there is one; it is over then. */
  async next() {
    await until(() => this.length > 0, "a pause");
    assert.equal(this.length, 1);
    const { task, milliseconds } = this.#waiting.shift();
    task();
    return milliseconds;
  }
}

/** What a connection tells of these kinds, in order. */
export function heard(connection, ...types) {
  const news = [];
  for (const type of types) connection.on(type, (...facts) => news.push([type, ...facts]));
  return news;
}

/** The module of such files: { live, home, remove }. */
export async function importLive() {
  const { home, remove } = await files();
  return { live: await import(pathToFileURL(join(home, "live.js"))), home, remove };
}

/** A server that fails on purpose, and what connects the module to it: { stub, pauses, connections, connect, reopened, close }. */
export async function startStub(live) {
  const stub = await new SocketStub().listen();
  const pauses = new Pauses();
  const connections = [];
  const connect = async (options) => {
    const { setTimeout } = pauses;
    const given = { token: TOKEN, base: stub.url, WebSocket, setTimeout, random: () => 1, ...options };
    const connection = await live.connect(given);
    connections.push(connection);
    return connection;
  };
  /** The pause after which a lost connection is there again. */
  const reopened = async (connection) => {
    const pause = await pauses.next();
    await until(() => connection.status === "open", "it is open again");
    return pause;
  };
  const close = async () => {
    await Promise.all(connections.map((connection) => connection.close()));
    await stub.close();
  };
  return { stub, pauses, connections, connect, reopened, close };
}
