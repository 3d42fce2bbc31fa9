// What a proxy has behind it: a small site, Passerby or something in its place, and the way to it.

import http from "node:http";
import net from "node:net";
import { text } from "node:stream/consumers";

import { close, listen } from "./listen.mjs";
import { startServerWith } from "./server.mjs";

/** A Passerby that believes the proxies of this machine, with these settings from the environment besides. */
export const startPasserby = (t, environment = {}, toml = "") =>
  startServerWith(t, toml, { PASSERBY_TRUSTED_PROXIES: "127.0.0.1", ...environment });

/** How many users a Passerby has stored. */
export async function storedUsers(server) {
  const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text();
  return Number(/^passerby_users (\d+)$/m.exec(metrics)[1]);
}

const PAGES = {
  "/passerby-refused.html": "<!doctype html><title>Not for you</title><p>You may not read this page.",
  "/passerby-closed.html": "<!doctype html><title>Back soon</title><p>Please come back in a moment.",
};

/** The site behind a proxy: it says what it was asked, so that a test sees what a proxy made of it. */
class Site {
  #http = http.createServer((request, response) => this.#answer(request, response));

  /** Requests as lines "METHOD /path?query", in order. */
  requests = [];
  address = null;

  async listen() {
    this.address = `127.0.0.1:${await listen(this.#http)}`;
    return this;
  }

  close() {
    return close(this.#http);
  }

  async #answer(request, response) {
    // For a proxy without pages of its own.
    if (request.url in PAGES) return response.setHeader("content-type", "text/html").end(PAGES[request.url]);
    this.requests.push(`${request.method} ${request.url}`);
    const headers = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      headers.push([request.rawHeaders[i].toLowerCase(), request.rawHeaders[i + 1]]);
    }
    const body = await text(request);
    const { pathname, searchParams } = new URL(request.url, "http://site");
    if (pathname === "/frame") {
      // What stands in a frame, and what has one, for a browser.
      const user = request.headers["x-passerby-user"] ?? "";
      response.setHeader("content-type", "text/html");
      return response.end(`<!doctype html><title>frame</title><p id="reader">${user}</p>`);
    }
    if (pathname === "/portal") {
      response.setHeader("content-type", "text/html");
      return response.end(`<!doctype html><title>portal</title><iframe src="${searchParams.get("of")}"></iframe>`);
    }
    if (searchParams.has("theme")) response.setHeader("set-cookie", `theme=${searchParams.get("theme")}; Path=/`);
    if (searchParams.has("caching")) response.setHeader("cache-control", searchParams.get("caching"));
    response.statusCode = Number(searchParams.get("status") ?? 200);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ site: true, method: request.method, url: request.url, headers, body }));
  }
}

/** A site that is closed with the test. */
export async function startSite(t) {
  const site = await new Site().listen();
  t?.after(() => site.close());
  return site;
}

/** Something in Passerby's place that answers as it likes. */
export async function startStub(t, answer) {
  const server = http.createServer(answer);
  const address = `127.0.0.1:${await listen(server)}`;
  t.after(() => close(server));
  return { address };
}

/** The way between a proxy and Passerby: passes everything on unchanged, and writes down what goes to Passerby. */
class Wire {
  #net;
  #open = new Set();

  /** Connections that the proxy has opened. */
  connections = 0;
  /** The requests: { line: "METHOD /path?query", headers: [[name, value], …] }, names in lower case. */
  requests = [];
  address = null;

  constructor(server) {
    const { hostname, port } = new URL(server.url);
    this.#net = net.createServer((near) => {
      this.connections += 1;
      const far = net.connect(port, hostname);
      for (const [socket, other] of [[near, far], [far, near]]) {
        this.#open.add(socket);
        socket.unref();
        socket.setNoDelay(true);
        socket.on("error", () => other.destroy());
        socket.on("close", () => {
          this.#open.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
      this.#read(near);
    });
  }

  async listen() {
    this.address = `127.0.0.1:${await listen(this.#net)}`;
    return this;
  }

  close() {
    this.#net.close();
    for (const socket of this.#open) socket.destroy();
  }

  get lines() {
    return this.requests.map(({ line }) => line);
  }

  clear() {
    this.requests = [];
    this.connections = 0;
  }

  #read(socket) {
    let rest = "";
    socket.on("data", (bytes) => {
      const heads = (rest + bytes.toString("latin1")).split("\r\n\r\n");
      rest = heads.pop();
      // Before a request may stand the body of the one before it.
      for (const head of heads) {
        const [, line, fields] = /([A-Z]+ \S+) HTTP\/1\.[01]\r\n([^]*)$/.exec(head) ?? [];
        if (line === undefined) continue;
        const headers = fields.split("\r\n").map((field) => {
          const [, name, value] = /^([^:]+): *(.*)$/.exec(field);
          return [name.toLowerCase(), value];
        });
        this.requests.push({ line, headers });
      }
    });
  }
}

/** A wire to `server` that is closed with the test. */
export async function startWire(t, server) {
  const wire = await new Wire(server).listen();
  t?.after(() => wire.close());
  return wire;
}
