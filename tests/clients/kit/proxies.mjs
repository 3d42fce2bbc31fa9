// Real proxies, each started with its very recipe of deploy/.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { endWithUs, newHome, removeHome } from "./cleanup.mjs";
import { freePort } from "./ports.mjs";
import { PROGRAMS } from "./programs.mjs";
import { FRONTS, renamed } from "./recipes.mjs";
import { startPasserby, startSite, startWire } from "./upstream.mjs";
import { HOSTS, Visitor } from "./visitor.mjs";
import { DEADLINE, until } from "./wait.mjs";

const DEPLOY = fileURLToPath(new URL("../../../deploy/", import.meta.url));

export const PROXIES = Object.keys(FRONTS);

const accepts = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    const answer = (value) => () => {
      socket.destroy();
      resolve(value);
    };
    socket.once("connect", answer(true)).once("error", answer(undefined));
  });

let certificate;

/** A new certificate for all of HOSTS; and one file of both for HAProxy. */
export function testCertificate() {
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

/** One process of a proxy, with all its files in a folder of its own. */
class Front {
  #child;
  /** Why it ended, once it has. */
  #end = null;
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
    // nginx's workers end with it only if it can tell them, hence no SIGKILL.
    endWithUs(this.#child, "SIGTERM");
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.unref();
      stream.on("data", (bytes) => (this.#log = (this.#log + bytes).slice(-4_000)));
    }
    this.#child.unref();
    this.#exited = new Promise((resolve) => {
      this.#child.once("error", resolve);
      this.#child.once("exit", (code, signal) => resolve(`exit code ${code}, signal ${signal}`));
    }).then((why) => (this.#end = why));
    await until(`${this.#name} listens`, async () => {
      assert.equal(this.#end, null, `${this.#name} ended before it was listening: ${this.#end}\n${this.#log}`);
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
    if (this.#end === null) this.#child.kill("SIGTERM");
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

/** A site behind a proxy of this name, which asks a Passerby of its own over a wire; the caller closes it all. */
export async function startSiteBehind(name) {
  const server = await startPasserby(null);
  const [wire, site] = await Promise.all([startWire(null, server), startSite(null)]);
  const front = await startFront(null, name, { passerby: wire.address, site: site.address });
  const close = async () => {
    await front.close();
    await site.close();
    wire.close();
    await server.close();
  };
  return { server, wire, site, front, close };
}
