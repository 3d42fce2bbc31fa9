// What a test that fails half-way, or is interrupted, must not leave behind: processes and temporary folders.

import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const running = new Map();
const homes = new Set();

// `exit` handlers may not wait, so processes get a signal, by pid, and no time.
process.on("exit", () => {
  for (const [child, signal] of running) child.kill(signal);
  for (const home of homes) {
    try {
      rmSync(home, { recursive: true, force: true });
    } catch {
      // Its process may write its last file just now. It is a temporary folder, and the failure itself is reported.
    }
  }
});
// A process that dies of a signal runs no `exit` handlers.
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]]) {
  process.once(signal, () => process.exit(code));
}

/** Ends a process that still runs when this one ends. */
export function endWithUs(child, signal = "SIGKILL") {
  running.set(child, signal);
  for (const event of ["error", "exit"]) child.once(event, () => running.delete(child));
}

/** A temporary folder. */
export async function newHome(name = "client") {
  const home = await mkdtemp(join(tmpdir(), `passerby-${name}-test-`));
  homes.add(home);
  return home;
}

export async function removeHome(home) {
  await rm(home, { recursive: true, force: true });
  homes.delete(home);
}
