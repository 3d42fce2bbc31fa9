// Readers of a site behind a proxy, with a browser of their own or a real one.

import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";

import puppeteer from "puppeteer-core";
import WebSocket from "ws";

import { PROTOCOL } from "./asyncapi.mjs";
import { endWithUs, newHome, removeHome } from "./cleanup.mjs";
import { PROGRAMS } from "./programs.mjs";
import { Client } from "./socket.mjs";
import { DEADLINE } from "./wait.mjs";

/** Names on the test certificate, besides 127.0.0.1. */
export const HOSTS = ["news.example", "portal.example", "other-portal.example"];
/** What browsers say they are. */
export const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/** A visitor with a browser, which sends its name and the cookies that were set. */
export class Visitor {
  #front;
  #headers;

  cookies = new Map();

  constructor(front, headers = { "user-agent": FIREFOX }) {
    this.#front = front;
    this.#headers = headers;
  }

  /** The same browser with its current cookies, or a second one with the same cookies. */
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
    // Of a body that is no longer wanted; an error before the answer is thrown all the same.
    request.on("error", () => {});
    const send = () => (body instanceof Readable ? body.pipe(request) : request.end(body));
    if (headers.expect === undefined) send();
    else request.once("continue", send).flushHeaders();
    const [response] = await once(request, "response");
    const answer = await text(response);
    // A server that has answered without asking for a body gets none.
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
  endWithUs(chromium.process());
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
