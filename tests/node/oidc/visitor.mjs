// A browser without pages, for what a real one cannot be made to do: cookies, redirects one by one, and the issuer's form.

import assert from "node:assert/strict";

const MAX_HOPS = 10;

export class Visitor {
  /** By origin: { name: value }. Paths and times are not looked at. */
  #cookies = new Map();

  /** One request with the cookies of its origin; redirects are not followed. */
  async fetch(url, options = {}) {
    const { origin } = new URL(url);
    const kept = this.#cookies.get(origin) ?? new Map();
    this.#cookies.set(origin, kept);
    const cookie = [...kept].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(url, { ...options, redirect: "manual", headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (/; *max-age=0(;|$)/i.test(line)) kept.delete(name);
      else kept.set(name, value);
    }
    return response;
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
}
