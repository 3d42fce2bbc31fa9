// Proofs of work, solved by the library that defines their format.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { solveChallenge } from "altcha-lib";
import { deriveKey } from "altcha-lib/algorithms/pbkdf2";

import { SUITE_DEADLINE } from "../kit/server.mjs";
import { startPasserby } from "../kit/upstream.mjs";

const HERE = "203.0.113.9";
const ELSEWHERE = "2001:db8:0:7::1";

describe("proofs of work by altcha-lib", { timeout: SUITE_DEADLINE }, () => {
  let server;

  before(async () => {
    server = await startPasserby(undefined, {
      PASSERBY_BUDGET_CREATE: "1",
      PASSERBY_BUDGET_CREATE_BURST: "1",
      PASSERBY_BUDGET_WORK: "1",
      PASSERBY_BUDGET_WORK_BURST: "14",
    });
  });
  after(() => server?.close());

  const from = (address) => ({ "x-forwarded-for": address });
  const create = (address, body = {}) =>
    fetch(`${server.url}/v1/sessions`, { method: "POST", headers: from(address), body: JSON.stringify(body) });
  const challenge = async (address) => {
    const response = await fetch(`${server.url}/v1/challenge`, { headers: from(address) });
    assert.equal(response.status, 200);
    return response.json();
  };
  const solve = async (challenge) => {
    const solution = await solveChallenge({ challenge, deriveKey });
    assert.ok(solution, "solved in time");
    return solution;
  };
  const payload = (challenge, solution) => btoa(JSON.stringify({ challenge, solution }));

  test("a user is created for a proof, once and on its network", async () => {
    assert.equal((await create(HERE)).status, 201);
    assert.equal((await create(ELSEWHERE)).status, 201);
    const over = await create(HERE);
    assert.equal(over.status, 429);
    assert.equal((await over.json()).code, "work-needed");
    assert.ok(Number(over.headers.get("retry-after")) > 0);

    const given = await challenge(HERE);
    // Until when it is good: a widget in a page that was left open asks for a new one in time.
    const left = given.parameters.expiresAt - Date.now() / 1000;
    assert.ok(left > 240 && left <= 300, `${left} s`);
    const altcha = payload(given, await solve(given));
    assert.equal((await create(ELSEWHERE, { altcha })).status, 429);
    assert.equal((await create(HERE, { altcha })).status, 201);
    assert.equal((await create(HERE, { altcha })).status, 429);
  });

  test("what was not solved or was made easier is no proof", async () => {
    const given = await challenge(HERE);
    const guess = { counter: 300, derivedKey: given.parameters.keyPrefix.padEnd(64, "0") };
    assert.equal((await create(HERE, { altcha: payload(given, guess) })).status, 429);
    const easy = { ...given, parameters: { ...given.parameters, keyPrefix: "00" } };
    assert.equal((await create(HERE, { altcha: payload(easy, await solve(easy)) })).status, 429);
    assert.equal((await create(HERE, { altcha: payload(given, await solve(given)) })).status, 201);
  });

  test("it is harder the more a network has asked for, to an end", async () => {
    const address = "203.0.113.77";
    const numbers = [];
    for (let n = 0; n < 4; n += 1) numbers.push((await solve(await challenge(address))).counter);
    const ranges = [[200, 400], [200, 400], [400, 800], [400, 800]];
    for (const [n, [from, to]] of ranges.entries()) assert.ok(numbers[n] >= from && numbers[n] < to, `${numbers}`);
    for (let n = 4; n < 14; n += 1) await challenge(address);
    const end = await fetch(`${server.url}/v1/challenge`, { headers: from(address) });
    assert.equal(end.status, 429);
    assert.ok(Number(end.headers.get("retry-after")) > 0);
  });
});
