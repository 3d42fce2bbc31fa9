// Waiting for what comes: with a deadline, which only turns what hangs into a failure with a reason.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** A deadline and not a pause; long, because a loaded machine may be slow. */
export const DEADLINE = 60_000;
const LOOK_AGAIN = 10;

export async function within(milliseconds, what, promise) {
  let timer;
  // Here and not when it is too late, to say who waited.
  const error = new Error(`${what}: not within ${milliseconds} ms`);
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(error), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The first value but `undefined` that `attempt` gives. */
export async function until(what, attempt, milliseconds = DEADLINE) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const value = await attempt();
    if (value !== undefined) return value;
    assert.ok(Date.now() < deadline, `${what}: not within ${milliseconds} ms`);
    await sleep(LOOK_AGAIN);
  }
}
