// A browser without pages, for what a real one cannot be made to do: cookies, single redirects and the issuer's form.

import assert from "node:assert/strict";

const MAX_HOPS = 10;

export class Visitor {
  /** By origin: a map of names to values. Paths and times are not looked at. */
  #cookies = new Map();

  /** One request with the cookies of its origin; redirects are not followed. */
  async fetch(url, options = {}) {
    const response = await fetch(url, { ...options, redirect: "manual", headers: { cookie: this.cookieFor(url) } });
    const kept = this.#kept(url);
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (/; *max-age=0(;|$)/i.test(line)) kept.delete(name);
      else kept.set(name, value);
    }
    return response;
  }

  /** The header `cookie` of a request to this address. */
  cookieFor(url) {
    return [...this.#kept(url)].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  /**
   * Follows redirects until one leads to an address that `arrived` says yes to, which is not asked for any more. A page
   * on the way is a form, and is filled in with `fields`.
   */
  async follow(url, arrived, fields) {
    let response = await this.fetch(url);
    for (let hops = 0; hops < MAX_HOPS; hops += 1) {
      if (response.status === 200 && fields) {
        response = await this.fetch(url, { method: "POST", body: new URLSearchParams(fields) });
      }
      assert.ok([302, 303].includes(response.status), `${url} ${response.status}: ${await response.text()}`);
      url = new URL(response.headers.get("location"), url);
      if (arrived(url)) return url;
      response = await this.fetch(url);
    }
    assert.fail("the redirects go round in circles");
  }

  #kept(url) {
    const { origin } = new URL(url);
    if (!this.#cookies.has(origin)) this.#cookies.set(origin, new Map());
    return this.#cookies.get(origin);
  }
}
