// What the tests of sites behind proxies have in common: readers, changes of recipes, headers that visitors spoof.

import assert from "node:assert/strict";

import { Visitor } from "./visitor.mjs";

export const SOCKET = "/v1/socket";
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
export const GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

/** What a visitor might send to impersonate a different one. */
export const SPOOFS = {
  "X-Passerby-User": "somebody-else",
  "X_Passerby_User": "somebody-else",
  "X-Passerby_User": "somebody-else",
  "x_passerby-user": "somebody-else",
  "X-PASSERBY-ANONYMOUS": "false",
  "X_PASSERBY_ANONYMOUS": "false",
  "X-Passerby-Assertion": "a.b.c",
  "X_Passerby_Assertion": "a.b.c",
  "X.Passerby.User": "somebody-else",
  "X-Passerby-Session-Age": "1000000",
  "X-Passerby-Reason": "none",
  "X-Passerby-Meter": "articles",
  "X-Passerby-Meter-Remaining": "1000000",
  "X-Passerby-Meter-Lifted": "accounts",
  "X-Passerby-Meter-Page": "https://evil.example",
};

/** How a recipe has Passerby say that an allowance is used up. */
export const OVER = { nginx: 403, caddy: 403, haproxy: 403, traefik: 303, envoy: 303 };

/** A reader who is stored, and the id. */
export async function newReader(front) {
  const visitor = new Visitor(front);
  const { user } = await visitor.visit("/first");
  assert.match(user, UUID);
  assertReader(await visitor.visit("/second"), user);
  return { visitor, user };
}

/** The page came from the site, for this reader, who is anonymous; and the site got nothing else of that kind. */
export function assertReader(answer, user = answer.user) {
  assert.equal(answer.status, 200, answer.text);
  assert.match(`${answer.user}`, UUID, JSON.stringify(answer));
  assert.deepEqual(answer.passerby.toSorted(), [["x-passerby-anonymous", "true"], ["x-passerby-user", user]]);
}

/** Names of headers that went to Passerby and are for the site. */
export const spoofedOf = (wire) =>
  wire.requests
    .flatMap((request) => request.headers.map(([header]) => header))
    .filter((header) => /^x[^a-z0-9]passerby/.test(header));

/** `count` requests of one browser, `atOnce` under way at a time. Answers how many it were a second. */
export async function visits(count, atOnce, visit) {
  const began = performance.now();
  let left = count;
  const one = async () => {
    while (left > 0) {
      left -= 1;
      await visit();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return Math.round((count * 1000) / (performance.now() - began));
}
