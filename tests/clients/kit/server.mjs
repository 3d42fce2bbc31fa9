// A real passerby process, and requests to it.
//
//   npm ci && PASSERBY_BIN=/absolute/path/to/passerby npm test

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import http from "node:http";
import { isAbsolute, join } from "node:path";
import { createInterface } from "node:readline";

import { endWithUs, newHome, removeHome } from "./cleanup.mjs";
import { Description } from "./description.mjs";
import { freePort } from "./ports.mjs";

// Deadlines, not pauses: each wait below ends with the event it waits for. They only turn a server that hangs into a
// failure with a reason, and are long because a loaded machine may be slow.
const START_DEADLINE = 60_000;
const STOP_DEADLINE = 60_000;
/** For all the tests of a file together, which take seconds; a client left without an answer fails here. */
export const SUITE_DEADLINE = 600_000;

/** Ports that are tried beyond the first. */
const MOST_PORTS = 4;

const STDERR_LINES_KEPT = 40;

/** The App Services paths that realm-web uses, with the default app id. */
export const PATHS = {
  location: "/api/client/v2.0/app/passerby/location",
  login: "/api/client/v2.0/app/passerby/auth/providers/anon-user/login",
  profile: "/api/client/v2.0/auth/profile",
  session: "/api/client/v2.0/auth/session",
  delete: "/api/client/v2.0/auth/delete",
};

/** What servers say of their API, all of them the same. */
let description;

async function describe(origin) {
  // a connection of its own, which is gone with the answer
  const response = await new Promise((resolve, reject) => http.get(`${origin}/openapi.json`, { agent: false }, resolve).on("error", reject));
  const parts = await response.toArray();
  return new Description(JSON.parse(Buffer.concat(parts)));
}

function binary() {
  const path = process.env.PASSERBY_BIN;
  assert.ok(path, "set PASSERBY_BIN to the passerby binary that is to be tested");
  // Servers run in their data folder (see below), where a relative path would mean something else.
  assert.ok(isAbsolute(path), `PASSERBY_BIN must be an absolute path, not '${path}'`);
  return path;
}

/** Only what the test gives may configure the server: nothing inherited from the shell that runs the tests. */
function cleanEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PASSERBY_")));
}

function withDeadline(promise, milliseconds, message) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(message())), milliseconds);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** One passerby process on one data folder; it may be stopped, killed and started again. */
export class Server {
  #args;
  #child = null;
  #command;
  #environment;
  #exited = null;
  #admin = null;
  #listen = null;
  #stderr = [];

  /** `command` may be "demo", which has settings and data of its own. */
  constructor(home, args, environment = {}, command = "serve") {
    this.home = home;
    this.#command = command;
    this.#args = args;
    this.#environment = environment;
  }

  /** Origin of the public listener, without a trailing slash. The same after a restart. */
  url = null;
  /** Origin of the admin listener. The same after a restart, too: it must not be given the public one's port. */
  adminUrl = null;

  get pid() {
    return this.#child?.pid;
  }

  /** The last lines of its log. */
  get log() {
    return this.#stderr.join("\n");
  }

  async start() {
    assert.equal(this.#child, null, "the server is already running");
    const isFirst = this.url === null;
    for (let left = MOST_PORTS; ; left -= 1) {
      if (isFirst) {
        this.#listen = `127.0.0.1:${await freePort()}`;
        this.#admin = `127.0.0.1:${await freePort()}`;
      }
      try {
        return await this.#start();
      } catch (error) {
        // Another process may have been faster to take the port.
        if (!isFirst || left === 0 || !error.message.includes("another program has this port")) throw error;
      }
    }
  }

  async #start() {
    const child = spawn(
      binary(),
      [
        this.#command,
        ...["--listen", this.#listen],
        ...["--admin-listen", this.#admin],
        ...(this.#command === "serve" ? ["--data-dir", join(this.home, "data")] : []),
        ...this.#args,
      ],
      // Its own folder as working directory: no configuration file that happens to lie about is picked up.
      { cwd: this.home, env: { ...cleanEnvironment(), ...this.#environment }, stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#child = child;
    endWithUs(child);
    // After a failed clean-up the runner skips the others. What they would have ended must not keep this process
    // alive; it is killed at exit. While something is awaited from the server, the deadline's timer keeps us here.
    for (const handle of [child, child.stdout, child.stderr]) handle?.unref();

    this.#exited = new Promise((resolve) => {
      // A binary that cannot be run gives `error` and no `exit`.
      child.once("error", (error) => resolve({ error }));
      child.once("exit", (code, signal) => resolve({ code, signal }));
    }).then((end) => {
      this.#child = null;
      return end;
    });

    this.#stderr = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      this.#stderr.push(line);
      if (this.#stderr.length > STDERR_LINES_KEPT) this.#stderr.shift();
    });

    const announced = new Promise((resolve, reject) => {
      let adminUrl = null;
      createInterface({ input: child.stdout }).on("line", (line) => {
        const [, name, origin] = /^(admin|listening) on (https?:\/\/\S+)$/.exec(line) ?? [];
        if (name === "admin") adminUrl = origin;
        if (name !== "listening") return;
        // Whoever watches the start asks the admin listener, so it has to be there first.
        if (adminUrl === null) reject(new Error("'listening on' was printed before 'admin on'"));
        else resolve({ adminUrl, url: origin });
      });
    });
    const ended = this.#exited.then((end) => {
      throw new Error(`the server ended before it was listening: ${this.#describe(end)}`);
    });
    ended.catch(() => {}); // it also ends after the race is won, long after anyone looks

    try {
      const { adminUrl, url } = await withDeadline(Promise.race([announced, ended]), START_DEADLINE, () =>
        `the server was not listening within ${START_DEADLINE} ms${this.#log()}`,
      );
      this.adminUrl = adminUrl;
      this.url = url;
      // A client holds on to its base URL, so a restart has to come back on the very same port.
      this.#listen = new URL(url).host;
      this.#admin = new URL(adminUrl).host;
      // which is the same without TLS
      if (url.startsWith("http:")) description ??= await describe(url);
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
    return this;
  }

  /** Drains the server and insists on a clean end. */
  async stop() {
    const end = await this.#end("SIGTERM");
    assert.deepEqual(end, { code: 0, signal: null }, `SIGTERM must drain and exit 0: ${this.#describe(end)}`);
  }

  /** Ends the server with no chance to write anything more. */
  async kill() {
    const end = await this.#end("SIGKILL");
    assert.equal(end.signal, "SIGKILL", `the server had ended by itself: ${this.#describe(end)}`);
  }

  /** Starts the server again on the same data and the same public port; one that still runs is drained first. */
  async restart() {
    if (this.#child !== null) await this.stop();
    return this.start();
  }

  /** Ends the server if it still runs and removes its data. */
  async close() {
    try {
      if (this.#child !== null) await this.stop();
    } finally {
      await removeHome(this.home);
    }
  }

  async #end(signal) {
    assert.notEqual(this.#child, null, "the server is not running");
    const child = this.#child;
    child.kill(signal);
    try {
      return await withDeadline(this.#exited, STOP_DEADLINE, () =>
        `the server was still there ${STOP_DEADLINE} ms after ${signal}${this.#log()}`,
      );
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
  }

  #describe({ code, signal, error }) {
    return (error?.message ?? `exit code ${code}, signal ${signal}`) + this.#log();
  }

  #log() {
    return this.#stderr.length === 0 ? "" : `\n--- its log ends with\n${this.#stderr.join("\n")}`;
  }
}

async function started(t, server) {
  t?.after(() => server.close());
  try {
    return await server.start();
  } catch (error) {
    if (!t) await server.close().catch(() => {});
    throw error;
  }
}

/**
 * A running server with data of its own. Given a test context it is closed with that test; otherwise the caller
 * closes it.
 */
export async function startServer(t, ...args) {
  return started(t, new Server(await newHome(), args));
}

/** The same with settings from a file and from the environment. */
export async function startServerWith(t, toml, environment = {}, ...args) {
  const home = await newHome();
  await writeFile(join(home, "passerby.toml"), toml);
  return started(t, new Server(home, args, environment));
}

/**
 * The same with an App Services app folder: `providers` becomes its `auth/providers.json`, and `secrets` are what the
 * environment holds, by the names that the folder has for them. `settings` go into the environment as they are.
 */
export async function startServerWithApp(t, providers, secrets = {}, settings = {}) {
  const home = await newHome();
  const app = join(home, "app");
  await mkdir(join(app, "auth"), { recursive: true });
  await writeFile(join(app, "root_config.json"), JSON.stringify({ name: "client-tests" }));
  await writeFile(join(app, "auth", "providers.json"), JSON.stringify(providers));
  const variable = (name) => `PASSERBY_SECRET_${name.toUpperCase().replaceAll("-", "_")}`;
  const environment = Object.fromEntries(Object.entries(secrets).map(([name, text]) => [variable(name), text]));
  return started(t, new Server(home, ["--app-dir", app, "--app-id", "passerby"], { ...environment, ...settings }));
}

/**
 * A plain request with a token, for what a test does beside the client: { status, contentType, body }. The answer must be one that
 * the description of the API has.
 */
export async function call(origin, method, path, token, body) {
  const response = await fetch(origin + path, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  const contentType = response.headers.get("content-type");
  description?.check(method, path, { status: response.status, contentType, text });
  return {
    status: response.status,
    contentType,
    body: text === "" ? null : JSON.parse(text),
  };
}

/** Insists on a problem (RFC 9457) of this status and code. */
export function assertProblem({ status, contentType, body }, expectedStatus, code) {
  assert.equal(status, expectedStatus, JSON.stringify(body));
  assert.equal(contentType, "application/problem+json");
  assert.equal(body.status, expectedStatus);
  assert.equal(body.code, code);
}
