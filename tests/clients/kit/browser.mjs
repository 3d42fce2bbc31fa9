// A real browser: Debian's chromium without a window, driven by puppeteer.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";

import puppeteer from "puppeteer-core";

import { endWithUs, newHome, removeHome } from "./cleanup.mjs";
import { DEADLINE } from "./wait.mjs";

const CHROMIUM = "/usr/bin/chromium";

// Here and not at the start, so that it is said once and not for each test.
assert.ok(existsSync(CHROMIUM), `${CHROMIUM} is missing, which these tests need: install Debian's package chromium.`);

/** One process of chromium, with all its files in a folder of its own. */
class Browser {
  #chromium;
  #home;

  async start(flags) {
    this.#home = await newHome("browser");
    try {
      this.#chromium = await puppeteer.launch({
        executablePath: CHROMIUM,
        pipe: true,
        timeout: DEADLINE,
        userDataDir: join(this.#home, "profile"),
        env: { ...process.env, HOME: this.#home, TMPDIR: this.#home },
        args: [
          // Everything is on loopback, and a container has little shared memory and may have a proxy for the rest.
          "--no-proxy-server",
          "--disable-dev-shm-usage",
          // Chromium refuses to run its sandbox as root.
          ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
          ...flags,
        ],
      });
    } catch (error) {
      await removeHome(this.#home);
      throw error;
    }
    endWithUs(this.#chromium.process());
    return this;
  }

  async close() {
    await this.#chromium.close();
    await removeHome(this.#home);
  }

  /** A device that is gone with the test; under its own name Chromium says that it has no window, as crawlers do. */
  async newDevice(t, { userAgent } = {}) {
    const context = await this.#chromium.createBrowserContext();
    t.after(() => context.close());
    return new Device(context, userAgent);
  }
}

/** The browser, which the caller closes; with further flags of Chromium. */
export const startBrowser = (...flags) => new Browser().start(flags);

/** A person's device, with cookies and storage of its own. */
class Device {
  #context;
  #userAgent;

  constructor(context, userAgent) {
    this.#context = context;
    this.#userAgent = userAgent;
  }

  /** A tab with this page, and the addresses of all that it asked for, redirects included. */
  async open(url) {
    const page = await this.#context.newPage();
    page.setDefaultTimeout(DEADLINE);
    if (this.#userAgent !== undefined) await page.setUserAgent({ userAgent: this.#userAgent });
    const tab = new Tab(page);
    await page.goto(url);
    return tab;
  }

  /** Cookies of every site. */
  cookies() {
    return this.#context.cookies();
  }
}

/** One tab, in which a person clicks, types and reads; each waits until what it needs is there. */
class Tab {
  #page;
  /** Addresses of all requests, in order. */
  requested = [];
  /** What the browser wrote into its console as errors, such as what a policy forbade, and what scripts threw. */
  complaints = [];

  constructor(page) {
    this.#page = page;
    page.on("request", (request) => this.requested.push(request.url()));
    page.on("console", (message) => message.type() === "error" && this.complaints.push(message.text()));
    page.on("pageerror", (error) => this.complaints.push(String(error)));
  }

  get url() {
    return this.#page.url();
  }

  async click(selector) {
    // A tab that is not in front draws nothing, and no one could click in it.
    await this.#page.bringToFront();
    await this.#page.locator(selector).click();
  }

  async type(selector, text) {
    await this.#page.bringToFront();
    await this.#page.locator(selector).fill(text);
  }

  /** Types into what has the keyboard. */
  async keys(text) {
    await this.#page.bringToFront();
    await this.#page.keyboard.type(text);
  }

  /** Chooses an option of a `<select>` by its value. */
  async choose(selector, value) {
    await this.#page.waitForSelector(selector);
    await this.#page.select(selector, value);
  }

  /** Presses keys, one after the other. */
  async press(...keys) {
    await this.#page.bringToFront();
    for (const key of keys) await this.#page.keyboard.press(key);
  }

  /** Waits until the element is there. */
  async see(selector) {
    await this.#page.waitForSelector(selector);
  }

  /** The text of the element, once it has one. */
  async read(selector) {
    const element = await this.#page.waitForSelector(`${selector}:not(:empty)`);
    return element.evaluate(({ textContent }) => textContent);
  }

  /** Goes to a different page, as by the address bar. */
  async visit(url) {
    await this.#page.goto(url);
  }

  /** Shows the page on a screen of this width in pixels, in a light or a dark scheme. */
  async show(width, scheme) {
    await this.#page.setViewport({ width, height: 800 });
    await this.#page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  }

  /**
   * Meets each request from now on: it is answered with what `decide(request)` gives ({ status, body }), fails where that is `null`,
   * and goes on where it is `undefined`, after a promise of it.
   */
  async meet(decide) {
    await this.#page.setRequestInterception(true);
    this.#page.on("request", async (request) => {
      const answer = await decide({ method: request.method(), path: new URL(request.url()).pathname, headers: request.headers(), body: request.postData() });
      const done = answer === null ? request.abort("connectionrefused") : answer ? request.respond(answer) : request.continue();
      // the page may be gone by then
      await done.catch(() => {});
    });
  }

  /** Goes to the page before, as by the browser's button. */
  async back() {
    await this.#page.evaluate(() => history.back());
  }

  /** Lives in this time zone from the next page on. */
  async live(timeZone) {
    await this.#page.emulateTimezone(timeZone);
  }

  /** Cookies that the page's address gets. */
  cookies() {
    return this.#page.browserContext().cookies();
  }

  /** What a function returns in the page. */
  evaluate(work, ...args) {
    return this.#page.evaluate(work, ...args);
  }

  /** What a screen reader has of the page. */
  spoken() {
    return this.#page.accessibility.snapshot();
  }

  /** A picture of the page, of this size in pixels, as PNG. */
  async picture(width, height) {
    await this.#page.bringToFront();
    await this.#page.setViewport({ width, height });
    return this.#page.screenshot();
  }

  /** A value of the page's `sessionStorage`. */
  stored(key) {
    return this.#page.evaluate((name) => sessionStorage.getItem(name), key);
  }
}
