// Tokens as a service checks them that never asks us: with the very files of deploy/edge, in Node and in Python.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { copyFile, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { SignJWT, UnsecuredJWT } from "jose";

import { newHome, removeHome } from "../kit/cleanup.mjs";
import { startProxy } from "../kit/recording-proxy.mjs";
import { call, PATHS, startServer, SUITE_DEADLINE } from "../kit/server.mjs";
import { spoil, tokenClaims, tokenHeader } from "../kit/tokens.mjs";

const EDGE = fileURLToPath(new URL("../../../deploy/edge/", import.meta.url));
const NODE_MODULES = fileURLToPath(new URL("../node_modules", import.meta.url));
const JWKS_PATH = "/.well-known/jwks.json";
/** Deadlines and not pauses. */
const ANSWER_DEADLINE = 60_000;
const COMMAND_DEADLINE = 120_000;
/** After which the verifiers ask about unknown keys again, and for all keys. */
const UNKNOWN_KEY_SECONDS = 60;
const MAX_AGE_SECONDS = 10 * 60;

const KINDS = {
  access: { header: "at+jwt", claim: "access", other: "assertion" },
  assertion: { header: "reader-assertion+jwt", claim: "assertion", other: "access" },
};

// The services: they answer each line with what the copied file says of the token in it. Their steady clock, by which
// they hold on to keys, can be moved; the wall clock, by which tokens expire, is left alone.

const NODE_SERVICE = `
import { createInterface } from "node:readline";
import { errors } from "jose";
const steady = performance.now.bind(performance);
let ahead = 0;
performance.now = () => steady() + ahead;
const { KeysUnavailable, verifyAccessToken, verifyAssertion } = await import("./verify.mjs");
const verify = { access: verifyAccessToken, assertion: verifyAssertion };
async function answer({ kind, token, seconds }) {
  if (seconds) return { ahead: (ahead += seconds * 1000) };
  try {
    return { verdict: "accepted", claims: await verify[kind](token) };
  } catch (error) {
    if (error instanceof errors.JOSEError) return { verdict: "refused", why: error.message };
    if (error instanceof KeysUnavailable) return { verdict: "unavailable", why: error.message };
    return { verdict: "broken", why: error.stack };
  }
}
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, ...question } = JSON.parse(line);
  console.log(JSON.stringify({ id, ...(await answer(question)) }));
});
`;

const PYTHON_SERVICE = `
import json, sys, time, traceback
steady, ahead = time.monotonic, 0
time.monotonic = lambda: steady() + ahead
import jwt
from verify import KeysUnavailable, verify_access_token, verify_assertion
verify = {"access": verify_access_token, "assertion": verify_assertion}
def answer(kind=None, token=None, seconds=0):
    global ahead
    if seconds:
        ahead += seconds
        return {"ahead": ahead}
    try:
        return {"verdict": "accepted", "claims": verify[kind](token)}
    except jwt.InvalidTokenError as error:
        return {"verdict": "refused", "why": str(error)}
    except KeysUnavailable as error:
        return {"verdict": "unavailable", "why": str(error)}
    except Exception:
        return {"verdict": "broken", "why": traceback.format_exc()}
for line in sys.stdin:
    question = json.loads(line)
    print(json.dumps({"id": question.pop("id"), **answer(**question)}), flush=True)
`;

const run = promisify(execFile);
const withoutOurs = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PASSERBY_")));

let home = null;

const RUNTIMES = {
  "verify.mjs": {
    /** The folder of a person who copied the file and installed jose. */
    async prepare(folder) {
      await symlink(NODE_MODULES, join(folder, "node_modules"));
      await writeFile(join(folder, "service.mjs"), NODE_SERVICE);
    },
    command: (folder) => [process.execPath, join(folder, "service.mjs")],
  },
  "verify.py": {
    /** The same with Python: `python3 -m venv`, `pip install -r requirements.txt`. */
    async prepare(folder) {
      const options = { env: withoutOurs, timeout: COMMAND_DEADLINE };
      await run("python3", ["-c", "import ensurepip, venv"], options).catch((cause) => {
        const packages = cause.code === "ENOENT" ? "packages python3 and python3-venv" : "package python3-venv";
        throw new Error(`python3 -m venv does not work, which these tests need: install Debian's ${packages}.`, { cause });
      });
      await run("python3", ["-m", "venv", join(folder, "venv")], options);
      const install = ["install", "--quiet", "--disable-pip-version-check", "--no-input"];
      await run(join(folder, "venv/bin/pip"), [...install, "-r", join(EDGE, "requirements.txt")], options);
      await writeFile(join(folder, "service.py"), PYTHON_SERVICE);
    },
    command: (folder) => [join(folder, "venv/bin/python"), join(folder, "service.py")],
  },
};

/** One process that verifies tokens with one of the files. A new one knows no key. */
class Verifier {
  #answered = new Map();
  #asked = 0;
  #child;
  #ended = null;
  #name;
  #stderr = "";

  constructor(name, settings) {
    this.#name = name;
    const [command, ...args] = RUNTIMES[name].command(join(home, name));
    // Loopback is not behind the proxy that a container may have for the rest.
    const env = { ...withoutOurs, ...settings, no_proxy: "127.0.0.1" };
    this.#child = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    // It must not keep this process alive; it ends on its own when nothing writes to it any more.
    for (const handle of [this.#child, ...this.#child.stdio]) handle.unref();
    this.#child.stdin.on("error", () => {}); // it has ended, which is told below
    this.#child.stderr.setEncoding("utf8").on("data", (text) => (this.#stderr += text));
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const { id, ...answer } = JSON.parse(line);
      this.#answered.get(id).resolve(answer);
    });
    this.#child.once("close", () => {
      this.#ended = new Error(`${name} has ended: ${this.#stderr}`);
      for (const { reject } of this.#answered.values()) reject(this.#ended);
    });
  }

  async #ask(question) {
    if (this.#ended) throw this.#ended;
    const id = (this.#asked += 1);
    let deadline;
    try {
      return await new Promise((resolve, reject) => {
        const late = () => reject(new Error(`${this.#name} gave no answer within ${ANSWER_DEADLINE} ms`));
        deadline = setTimeout(late, ANSWER_DEADLINE);
        this.#answered.set(id, { resolve, reject });
        this.#child.stdin.write(`${JSON.stringify({ id, ...question })}\n`);
      });
    } finally {
      clearTimeout(deadline);
      this.#answered.delete(id);
    }
  }

  async verdict(kind, token) {
    return (await this.#ask({ kind, token })).verdict;
  }

  /** The claims of a token that has to be good. */
  async accept(kind, token) {
    const { verdict, claims, why } = await this.#ask({ kind, token });
    assert.equal(verdict, "accepted", `${this.#name}, ${kind}, ${JSON.stringify(tokenHeader(token))}: ${why}`);
    return claims;
  }

  async acceptAll({ user, access, assertion }) {
    assert.equal((await this.accept("access", access)).sub, user);
    assert.equal((await this.accept("assertion", assertion)).sub, user);
  }

  async refuse(kind, token, what) {
    const { verdict, why } = await this.#ask({ kind, token });
    assert.equal(verdict, "refused", `${this.#name}, ${kind}: ${what}: ${why}`);
  }

  /** Makes so much time pass for the keys that it knows. */
  advance(seconds) {
    return this.#ask({ seconds });
  }

  async close() {
    if (this.#ended) return;
    const closed = once(this.#child, "close");
    this.#child.ref();
    this.#child.kill("SIGKILL");
    await closed;
  }
}

/** A new verifier of that server's tokens, which fetches the keys from `origin`. */
function startVerifier(t, name, { url }, { issuer = "urn:passerby:passerby", audience = "passerby", origin = url } = {}) {
  const settings = { TOKENS_JWKS_URL: origin + JWKS_PATH, TOKENS_ISSUER: issuer, TOKENS_AUDIENCE: audience };
  const verifier = new Verifier(name, settings);
  t.after(() => verifier.close());
  return verifier;
}

/** What the server gives a new user, and what it says of that user to a proxy. */
async function issue(server, fetching = fetch) {
  const created = await fetching(`${server.url}/v1/sessions`, { method: "POST" });
  assert.equal(created.status, 201);
  const { user_id: user, access_token: access, refresh_token: refresh } = await created.json();
  const headers = { authorization: `Bearer ${access}` };
  const checked = await fetching(`${server.url}/verify?assertion=1`, { headers });
  assert.equal(checked.status, 204);
  return { user, access, refresh, assertion: checked.headers.get("x-passerby-assertion") };
}

/** A `fetch` that asks again as long as nothing listens. */
const patientFetch = (signal) => async (url, options) => {
  for (;;) {
    try {
      const response = await fetch(url, { ...options, signal });
      return new Response(response.status === 204 ? null : await response.text(), response);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // `fetch` throws it for what goes wrong on the network
    }
  }
};

async function publishedKids(server) {
  return (await call(server.url, "GET", JWKS_PATH)).body.keys.map(({ kid }) => kid);
}

const keysCommand = (server, ...args) =>
  run(process.env.PASSERBY_BIN, ["keys", ...args, "--data-dir", join(server.home, "data")], {
    cwd: server.home,
    env: withoutOurs,
    timeout: COMMAND_DEADLINE,
  });

/** The server's own private key, so that a test can make tokens with which nothing is wrong but the one thing. */
async function signingKey(server) {
  const folder = join(server.home, "data", "keys");
  const files = (await readdir(folder)).filter((name) => name.endsWith(".json"));
  const keys = await Promise.all(files.map(async (name) => JSON.parse(await readFile(join(folder, name), "utf8"))));
  const { secret } = keys.find(({ use, state }) => use === "access" && state === "signing");
  return createPrivateKey({ key: Buffer.from(secret, "base64url"), format: "der", type: "pkcs8" });
}

const sign = (header, claims, key) => new SignJWT(claims).setProtectedHeader(header).sign(key);

/** Tokens that a service must refuse where it expects one of this kind, each derived from a good one. */
async function badTokens(kind, tokens, appServices, key) {
  const good = tokens[kind];
  const header = tokenHeader(good);
  const claims = tokenClaims(good);
  const without = (object, name) => Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));
  const own = header.alg === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("ed25519");
  const otherAlgorithm = { ...header, alg: header.alg === "ES256" ? "EdDSA" : "ES256" };
  const publicKey = createPublicKey(key);
  const publicJwk = publicKey.export({ format: "jwk" });
  const symmetric = { ...header, alg: "HS256" };
  const unsigned = new UnsecuredJWT(claims).encode();
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const [, payload, signature] = good.split(".");
  const unsignedOfOurs = `${encode({ ...header, alg: "none" })}.${payload}.`;

  return {
    "that has expired": await sign(header, { ...claims, iat: claims.iat - 7200, exp: claims.iat - 1 }, key),
    "without an end": await sign(header, without(claims, "exp"), key),
    "without a user": await sign(header, without(claims, "sub"), key),
    "for another app": await sign(header, { ...claims, aud: "another" }, key),
    "for no app": await sign(header, without(claims, "aud"), key),
    "by another issuer": await sign(header, { ...claims, iss: "urn:passerby:another" }, key),
    "by no issuer": await sign(header, without(claims, "iss"), key),
    "not signed": unsigned,
    "not signed, of this kind": unsignedOfOurs,
    "not signed, with the signature": unsignedOfOurs + signature,
    "signed with the public key's bytes": await sign(symmetric, claims, Buffer.from(publicJwk.x, "base64url")),
    "signed with the public key's text": await sign(symmetric, claims, Buffer.from(publicJwk.x)),
    "signed with the public key as PEM": await sign(
      symmetric,
      claims,
      Buffer.from(publicKey.export({ format: "pem", type: "spki" })),
    ),
    "under the other algorithm's name": `${encode(otherAlgorithm)}.${payload}.${signature}`,
    "under the algorithm's other name": `${encode({ ...header, alg: "Ed25519" })}.${payload}.${signature}`,
    "signed with another key": await sign(header, claims, own.privateKey),
    "signed with a key of its own name": await sign({ ...header, kid: "another" }, claims, own.privateKey),
    "bringing its key along": await sign(
      { ...header, jwk: own.publicKey.export({ format: "jwk" }) },
      claims,
      own.privateKey,
    ),
    "a refresh token of /v1": tokens.refresh,
    "a refresh token of App Services": appServices.refresh_token,
    "the other kind": tokens[KINDS[kind].other],
    "the other kind by its header": await sign({ ...header, typ: KINDS[KINDS[kind].other].header }, claims, key),
    "the other kind by its claim": await sign(header, { ...claims, typ: KINDS[kind].other }, key),
    "any JWT by its header": await sign({ ...header, typ: "JWT" }, claims, key),
    "of no kind by its header": await sign(without(header, "typ"), claims, key),
    "of no kind by its claim": await sign(header, without(claims, "typ"), key),
    "with a spoiled header": spoil(good, 0),
    "with a spoiled payload": spoil(good, 1),
    "with a spoiled signature": spoil(good, 2),
    "with another's payload": [good.split(".")[0], encode({ ...claims, sub: "another" }), signature].join("."),
    "cut short": good.slice(0, -4),
    "with a header that is no object": ["W10", payload, signature].join("."),
    "with an empty header": ["e30", payload, signature].join("."),
    "no token": "spoiled",
    "of no letter": "",
    "that is not there": null,
  };
}

describe("tokens at the edge", { timeout: SUITE_DEADLINE }, () => {
  let server;
  /** The same that signs with ES256. */
  let es256;
  before(async () => {
    home = await newHome("edge");
    const prepare = async ([name, runtime]) => {
      const folder = join(home, name);
      await mkdir(folder);
      await copyFile(join(EDGE, name), join(folder, name));
      await runtime.prepare(folder);
    };
    const starting = [startServer(null), startServer(null, "--access-alg", "ES256")];
    [server, es256] = await Promise.all([...starting, ...Object.entries(RUNTIMES).map(prepare)]);
  });
  after(async () => {
    await Promise.all([server?.close(), es256?.close()]);
    if (home !== null) await removeHome(home);
  });

  for (const name of Object.keys(RUNTIMES)) {
    test(`${name}: the server's tokens are accepted and say who it is`, async (t) => {
      const verifier = startVerifier(t, name, server);
      const tokens = await issue(server);
      const claims = await verifier.accept("access", tokens.access);
      assert.equal(claims.sub, tokens.user);
      assert.deepEqual(claims, tokenClaims(tokens.access));
      assert.deepEqual(await verifier.accept("assertion", tokens.assertion), {
        typ: "assertion",
        iss: "urn:passerby:passerby",
        aud: "passerby",
        sub: tokens.user,
        iat: tokenClaims(tokens.assertion).iat,
        exp: tokenClaims(tokens.assertion).iat + 60,
        anonymous: true,
      });

      const appServices = await call(server.url, "POST", PATHS.login, undefined, {});
      assert.equal((await verifier.accept("access", appServices.body.access_token)).sub, appServices.body.user_id);
    });

    test(`${name}: the issuer is the server's public URL, the audience its app id`, async (t) => {
      const [issuer, audience] = ["https://id.example.org", "news"];
      const own = await startServer(t, "--public-url", issuer, "--app-id", audience);
      const tokens = await issue(own);
      await startVerifier(t, name, own, { issuer, audience }).acceptAll(tokens);
      for (const wrong of [{ issuer }, { audience }]) {
        const verifier = startVerifier(t, name, own, wrong);
        for (const kind of Object.keys(KINDS)) await verifier.refuse(kind, tokens[kind], JSON.stringify(wrong));
      }
    });

    for (const [kind, algorithm] of Object.keys(KINDS).flatMap((kind) => [[kind, "EdDSA"], [kind, "ES256"]])) {
      test(`${name}: what is no good ${kind} token of ${algorithm} is refused`, async (t) => {
        const own = algorithm === "ES256" ? es256 : server;
        const verifier = startVerifier(t, name, own);
        const tokens = await issue(own);
        assert.equal(tokenHeader(tokens[kind]).alg, algorithm);
        const { body: appServices } = await call(own.url, "POST", PATHS.login, undefined, {});
        const key = await signingKey(own);
        // What is signed here is as good as the server's own, but for the one thing.
        await verifier.accept(kind, await sign(tokenHeader(tokens[kind]), tokenClaims(tokens[kind]), key));
        for (const [what, token] of Object.entries(await badTokens(kind, tokens, appServices, key))) {
          await verifier.refuse(kind, token, what);
        }
        await verifier.accept(kind, tokens[kind]);
      });
    }

    test(`${name}: the symmetric algorithm cannot be verified`, async (t) => {
      const own = await startServer(t, "--access-alg", "HS256");
      const tokens = await issue(own);
      const verifier = startVerifier(t, name, own);
      for (const kind of Object.keys(KINDS)) await verifier.refuse(kind, tokens[kind], "HS256");
    });

    test(`${name}: the keys are fetched once, and for unknown ones once a minute`, async (t) => {
      const proxy = await startProxy(t, server);
      const verifier = startVerifier(t, name, server, { origin: proxy.url });
      const tokens = await issue(server);
      const fetched = () => proxy.count("GET", JWKS_PATH);
      const own = generateKeyPairSync("ed25519");
      const refuseStrangers = async () => {
        const stranger = (kid) => sign({ ...tokenHeader(tokens.access), kid }, tokenClaims(tokens.access), own.privateKey);
        const strangers = await Promise.all(["one", "two", "three", "four"].map(stranger));
        await Promise.all(strangers.map((token) => verifier.refuse("access", token, "an unknown key")));
        await verifier.acceptAll(tokens);
      };

      await Promise.all(Array.from({ length: 20 }, () => verifier.acceptAll(tokens)));
      assert.equal(fetched(), 1, "for the first tokens");
      await refuseStrangers();
      assert.equal(fetched(), 2, "for the first strangers");
      await verifier.advance(UNKNOWN_KEY_SECONDS / 2);
      await refuseStrangers();
      assert.equal(fetched(), 2, "within the minute");
      await verifier.advance(UNKNOWN_KEY_SECONDS / 2);
      await refuseStrangers();
      assert.equal(fetched(), 3, "after the minute");
    });

    test(`${name}: known keys go on while the keys cannot be fetched`, async (t) => {
      const own = await startServer(t);
      const verifier = startVerifier(t, name, own);
      const late = startVerifier(t, name, own);
      const tokens = await issue(own);
      const { privateKey } = generateKeyPairSync("ed25519");
      const stranger = await sign({ ...tokenHeader(tokens.access), kid: "x" }, tokenClaims(tokens.access), privateKey);
      await verifier.acceptAll(tokens);
      await own.stop();

      await verifier.acceptAll(tokens);
      // Long after the keys should have been fetched anew, and after each attempt that failed.
      for (let round = 0; round < 5; round += 1) {
        await verifier.advance(2 * MAX_AGE_SECONDS);
        await verifier.acceptAll(tokens);
        await verifier.refuse("access", spoil(tokens.access), "of a known key, spoiled");
      }
      // Whether these are good cannot be known, and a 401 would be a lie.
      assert.equal(await verifier.verdict("access", stranger), "unavailable");
      assert.equal(await late.verdict("access", tokens.access), "unavailable");
      assert.equal(await late.verdict("assertion", tokens.assertion), "unavailable");

      await own.start();
      await late.advance(1); // it asks again a second after it was in vain
      await late.acceptAll(tokens);
      await verifier.advance(1);
      await verifier.refuse("access", stranger, "an unknown key");
    });
  }

  test("a different algorithm is a rotation: both keys are published, and no token is refused", async (t) => {
    const own = await startServer(t);
    const verifiers = Object.keys(RUNTIMES).map((name) => startVerifier(t, name, own));
    const issued = [await issue(own)];
    for (const verifier of verifiers) await verifier.acceptAll(issued[0]);
    for (const [access_alg, published] of [
      ["ES256", ["EdDSA", "ES256"]],
      ["Ed25519", ["EdDSA", "ES256", "EdDSA"]],
    ]) {
      await writeFile(join(own.home, "passerby.toml"), `access_alg = "${access_alg}"\n`);
      await own.restart();
      const { body } = await call(own.url, "GET", JWKS_PATH);
      assert.deepEqual(body.keys.map(({ alg }) => alg), published);
      issued.push(await issue(own));
      assert.equal(tokenHeader(issued.at(-1).access).alg, published.at(-1));
      for (const tokens of issued) {
        assert.equal((await call(own.url, "GET", "/v1/session", tokens.access)).status, 200);
      }
      for (const verifier of verifiers) {
        await verifier.advance(UNKNOWN_KEY_SECONDS);
        for (const tokens of issued) await verifier.acceptAll(tokens);
      }
    }
    assert.equal((await call(own.url, "POST", "/v1/session/refresh", issued[0].refresh)).status, 200);
  });

  test("a rotation under traffic refuses no one, a retirement everyone", async (t) => {
    const own = await startServer(t);
    const startVerifiers = () => Object.keys(RUNTIMES).map((name) => startVerifier(t, name, own));
    const verifiers = startVerifiers();
    const first = await issue(own);
    const old = tokenHeader(first.access).kid;

    // Two clients that take new tokens from the server and to both services, together with those of the beginning.
    const verified = new Map();
    const progress = new EventEmitter();
    const over = new AbortController();
    t.after(() => over.abort());
    const fetching = patientFetch(over.signal);
    let goesOn = true;
    const client = async () => {
      while (goesOn) {
        const tokens = await issue(own, fetching);
        for (const verifier of verifiers) {
          await verifier.acceptAll(tokens);
          await verifier.acceptAll(first);
        }
        for (const kind of Object.keys(KINDS)) {
          const { kid } = tokenHeader(tokens[kind]);
          verified.set(kid, (verified.get(kid) ?? 0) + 1);
        }
        progress.emit("verified");
      }
    };
    const traffic = Promise.all([client(), client()]);
    traffic.catch(() => {}); // told by `more`, and below
    const more = async (kid, count) => {
      const enough = (verified.get(kid) ?? 0) + count;
      while ((verified.get(kid) ?? 0) < enough) await Promise.race([once(progress, "verified"), traffic]);
    };

    await more(old, 20);
    await keysCommand(own, "rotate", "access");
    await more(old, 20); // it takes effect at the next start
    assert.deepEqual(await publishedKids(own), [old]);
    await own.restart();
    const both = await publishedKids(own);
    assert.equal(both.length, 2);
    assert.ok(both.includes(old));
    const young = both.find((kid) => kid !== old);
    await more(young, 40);
    goesOn = false;
    await traffic;
    assert.deepEqual(new Set(verified.keys()), new Set([old, young]));
    for (const verifier of startVerifiers()) await verifier.acceptAll(first);

    await keysCommand(own, "retire", old, "--yes");
    await own.restart();
    assert.deepEqual(await publishedKids(own), [young]);
    const last = await issue(own);
    for (const verifier of startVerifiers()) {
      await verifier.refuse("access", first.access, "signed with a retired key");
      await verifier.refuse("assertion", first.assertion, "signed with a retired key");
      await verifier.acceptAll(last);
    }
    // A service that knows the key forgets it with its next fetch, for which no request waits.
    for (const verifier of verifiers) {
      await verifier.acceptAll(first);
      await verifier.advance(MAX_AGE_SECONDS);
      while ((await verifier.verdict("access", first.access)) === "accepted");
      await verifier.refuse("access", first.access, "signed with a key retired ten minutes ago");
      await verifier.acceptAll(last);
    }
    // No session ends with an access key.
    assert.equal((await call(own.url, "GET", "/v1/session", first.access)).status, 401);
    assert.equal((await call(own.url, "POST", "/v1/session/refresh", first.refresh)).status, 200);
  });
});
