// A server with admins, and a person at its console in a real browser.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { call } from "./server.mjs";

export const PASSWORD = "correct horse battery";
/** Admins, as role and name. */
export const ADMINS = { owner: "ada", operate: "olga", read: "rob" };

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** Runs `passerby admin create` on the folder of a server that runs. */
function create(server, name, role) {
  const args = ["admin", "create", name, "--role", role, "--password-stdin", "--data-dir", join(server.home, "data")];
  return new Promise((resolve, reject) => {
    const options = { cwd: server.home, env: { PATH: process.env.PATH } };
    const child = execFile(process.env.PASSERBY_BIN, args, options, (error, out, told) => (error ? reject(new Error(told)) : resolve(out)));
    child.stdin.end(`${PASSWORD}\n`);
  });
}

/** Gives a server one admin of each role. */
export async function withAdmins(server) {
  for (const [role, name] of Object.entries(ADMINS)) await create(server, name, role);
  return server;
}

/** A program's token of an admin, for what a test does beside the browser. */
export async function tokenOf(server, role = "owner") {
  const { status, body } = await call(server.adminUrl, "POST", "/v1/admin/login", undefined, { name: ADMINS[role], password: PASSWORD });
  assert.equal(status, 200, JSON.stringify(body));
  return body.token;
}

/** An element that a screen reader calls by this name. */
export const named = (name, role = "button") => `::-p-aria([name="${name}"][role="${role}"])`;
/** What is in the dialog on top. */
const inDialog = (selector) => `dialog[open]:last-of-type ${selector}`;

/** A person at the console. */
export class Console {
  #server;
  #tab;

  constructor(server, tab) {
    this.#server = server;
    this.#tab = tab;
  }

  static async open(t, browser, server, path = "") {
    const device = await browser.newDevice(t);
    const tab = await device.open(`${server.adminUrl}/${path}`);
    await tab.show(1280, "light");
    return new Console(server, tab);
  }

  /** The console of an admin who is logged in. */
  static async of(t, browser, server, role = "owner") {
    const console = await Console.open(t, browser, server);
    await console.logIn(ADMINS[role]);
    return console;
  }

  get tab() {
    return this.#tab;
  }

  async logIn(name, password = PASSWORD) {
    await this.#tab.type("input[name=name]", name);
    await this.#tab.type("input[name=password]", password);
    await this.#tab.press("Enter");
    await this.#tab.see("#nav");
  }

  /** Goes to a page as by its address, and waits until what it loads is there. */
  async go(path, wanted = "h1") {
    await this.#tab.evaluate((to) => void (location.hash = `#/${to}`), path);
    await this.#tab.see(`.page ${wanted}`);
    await this.settled();
  }

  /** Waits until nothing is grey any more. */
  async settled() {
    await this.#tab.see("main:not(:has(.skeleton)) .page");
  }

  /** Presses what has this name on the page. */
  press(name, role) {
    return this.#tab.click(named(name, role));
  }

  /** Presses what has this name in the dialog. */
  async decide(name) {
    await this.#tab.click(inDialog(named(name)));
  }

  /** The text of the dialog on top. */
  async dialog() {
    return this.#tab.read(inDialog(".content"));
  }

  /** Has the console look at once whether somebody else changed something, as when one comes back to its tab. */
  async look() {
    await this.#tab.evaluate(() => void document.dispatchEvent(new Event("visibilitychange")));
  }

  /** Cancels the dialog, as by Escape. */
  async cancel() {
    await this.#tab.press("Escape");
    await this.#tab.see("body:not(:has(dialog))");
  }

  /** What has the keyboard. */
  focused() {
    return this.#tab.evaluate(() => document.activeElement?.textContent ?? "");
  }

  /** Waits until the console says this beside the page. */
  said(text) {
    return this.#tab.see(`#toasts ::-p-text(${text})`);
  }

  /** What axe finds on the page, or in this part of it, that is serious or worse. */
  async faults(part) {
    if (!(await this.#tab.evaluate(() => "axe" in globalThis))) await this.#tab.evaluate(await readFile(AXE, "utf8"));
    return this.#tab.evaluate(async (selector) => {
      const { violations, passes } = await globalThis.axe.run(selector ? document.querySelector(selector) : document);
      if (passes.length < 10) return [`axe looked at ${passes.length} rules alone`];
      const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      return grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html}\n${failureSummary}`).join("\n")}`);
    }, part);
  }

  /** How many pixels of the page are beside the screen. */
  overflow() {
    return this.#tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  }

  /** What went wrong in the page; that a request was refused is no complaint. */
  get complaints() {
    return this.#tab.complaints.filter((text) => !text.startsWith("Failed to load resource"));
  }

  /** Insists on nothing that the browser complained of. */
  done() {
    assert.deepEqual(this.complaints, []);
    assert.deepEqual(this.#tab.requested.filter((url) => !url.startsWith(this.#server.adminUrl) && !url.startsWith("data:")), []);
  }
}

/** A reader of a site: the id, and the cookie as the browser sends it. */
export async function newReader(server) {
  const response = await fetch(`${server.url}/v1/sessions`, {
    method: "POST",
    headers: { "content-type": "application/json", origin: server.url },
    body: JSON.stringify({ mode: "cookie" }),
  });
  assert.equal(response.status, 201);
  const [cookie] = response.headers.getSetCookie()[0].split(";");
  return { cookie, user: (await response.json()).user_id };
}

/** Whose page it is for who comes with this cookie: `null` for a stranger. */
export async function readerOf(server, cookie) {
  const response = await fetch(`${server.url}/verify?create=never`, { headers: { cookie } });
  await response.body?.cancel();
  return response.headers.get("x-passerby-user");
}
