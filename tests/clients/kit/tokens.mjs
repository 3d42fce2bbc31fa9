// What stands in a token, and tokens with something wrong.

import assert from "node:assert/strict";

/** The text of a token's header or payload as it was signed; `JSON.parse` alone would hide how numbers are written. */
export function tokenPart(token, index) {
  const parts = token.split(".");
  assert.equal(parts.length, 3, "a token has three parts");
  return Buffer.from(parts[index], "base64url").toString("utf8");
}

export const tokenHeader = (token) => JSON.parse(tokenPart(token, 0));
export const tokenClaims = (token) => JSON.parse(tokenPart(token, 1));

/** The token with one character in the middle of one of its parts exchanged, where every bit of it counts. */
export function spoil(token, part = 2) {
  const parts = token.split(".");
  const text = parts[part];
  const middle = Math.floor(text.length / 2);
  parts[part] = text.slice(0, middle) + (text[middle] === "A" ? "B" : "A") + text.slice(middle + 1);
  return parts.join(".");
}
