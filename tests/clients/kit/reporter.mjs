// A line for each test file, then what failed and why, and at the end each failure's name on a line "failed: …".

import { dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";

const CLIENTS = dirname(dirname(fileURLToPath(import.meta.url)));
/** A test file as people name it. */
const named = (file) => relative(CLIENTS, file);

/** Of a failure's cause; the rest is rarely needed. */
const LINES_SHOWN = 40;

/** A failure that only says that there is one further in. */
const isOfSubtests = (error) => error?.failureType === "subtestsFailed";

function why(error) {
  const cause = error?.cause ?? error;
  const text = cause?.stack ?? cause?.message ?? String(cause);
  const lines = String(text).split("\n");
  return lines.length > LINES_SHOWN ? [...lines.slice(0, LINES_SHOWN), "…"] : lines;
}

export default async function* report(source) {
  const failures = [];
  const skipped = [];
  let file = null;
  let [passed, failed, took] = [0, 0, 0];
  let wasCancelled = false;
  /** What each file wrote there. */
  const stderr = new Map();
  /** Names of the suites that hold the test of now. */
  let path = [];

  function* endOfFile() {
    if (file === null) return;
    yield `   ${named(file)}: ${passed} passed${failed > 0 ? `, ${failed} FAILED` : ""}, ${(took / 1000).toFixed(1)} s\n`;
    [passed, failed, took] = [0, 0, 0];
  }

  for await (const { type, data } of source) {
    if (type === "test:stderr") stderr.set(data.file, (stderr.get(data.file) ?? "") + data.message);
    if (!["test:start", "test:pass", "test:fail"].includes(type)) continue;
    if (data.file !== undefined && data.file !== file) {
      yield* endOfFile();
      [file, path] = [data.file, []];
    }
    if (type !== "test:start" && data.nesting === 0) took += data.details?.duration_ms ?? 0;
    if (type === "test:start") {
      path = [...path.slice(0, data.nesting), data.name];
    } else if (type === "test:pass") {
      if (data.skip !== undefined || data.todo !== undefined) skipped.push(data.name);
      else if (data.details?.type !== "suite") passed += 1;
    } else if (type === "test:fail" && !isOfSubtests(data.details?.error)) {
      failed += 1;
      // A suite that cannot begin, or takes too long, fails all that are left of it: the first of them will do.
      const isCancelled = data.details?.error?.failureType === "cancelledByParent";
      if (isCancelled && wasCancelled) continue;
      wasCancelled = isCancelled;
      if (data.name === data.file) {
        // The file itself ended as it should not; what it said last may tell why.
        const lines = [...why(data.details?.error), ...(stderr.get(data.file) ?? "").split("\n").slice(-LINES_SHOWN)];
        failures.push({ name: named(data.file), at: data.file, lines });
        continue;
      }
      const name = [named(data.file ?? CLIENTS), ...path.slice(0, data.nesting), data.name].join(" > ");
      failures.push({ name, at: `${data.file}:${data.line ?? 1}`, lines: why(data.details?.error) });
    }
  }
  yield* endOfFile();

  // On the machine that decides, everything has to have run.
  if (process.env.CI && skipped.length > 0) {
    for (const name of skipped) failures.push({ name, at: "", lines: ["skipped, which must not be where CI is set"] });
    process.exitCode = 1;
  }
  for (const { name, at, lines } of failures) yield `\n${name}\n   ${at}\n   ${lines.join("\n   ")}\n`;
  if (failures.length > 0) yield "\n";
  for (const { name } of failures) yield `failed: ${name}\n`;
}
