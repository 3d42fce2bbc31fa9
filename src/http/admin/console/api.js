// The admin API, and nothing else: by the cookie of the session, with the header that shows that a change comes from this page.

import { pause } from "./dom.js";

/** The first wait before another try; each is twice as long as the one before, up to the longest. */
const RETRY_MS = 1000;
const LONGEST_RETRY_MS = 15_000;
/** Says that nobody did anything: what a page asks by itself is no use of the session. */
const UNATTENDED = { "x-passerby-unattended": "1" };

/** An answer that is not what was asked for. */
export class ApiError extends Error {
  constructor(status, body, retryAfter) {
    super(body?.detail ?? body?.title ?? String(status));
    this.status = status;
    this.code = body?.code ?? "";
    this.body = body ?? {};
    this.retryAfter = retryAfter;
  }
}

/** No answer came. */
export class Unreachable extends Error {
  constructor(cause) {
    super(cause.message, { cause });
  }
}

const unreached = (error) => {
  throw error instanceof TypeError ? new Unreachable(error) : error;
};

/** Asks, as `fetch` does. */
export const fetched = (path, options) => fetch(path, options).catch(unreached);

/** "ended": the session is over. "waiting" with `why` ("recovering", "busy", "unreachable", or null when it is over). */
export const told = new EventTarget();

let waiting = null;
function wait(why) {
  if (why === waiting) return;
  waiting = why;
  told.dispatchEvent(new CustomEvent("waiting", { detail: why }));
}

/** The error of an answer; where it says that the session is over, everybody hears it. */
export function refused(response, parsed) {
  const error = new ApiError(response.status, parsed, Number(response.headers.get("retry-after")) || undefined);
  if (response.status === 401 && (error.code === "session-ended" || error.code === "no-token")) {
    told.dispatchEvent(new CustomEvent("ended"));
  }
  return error;
}

async function ask(method, path, body, { signal, unattended } = {}) {
  const response = await fetched(path, {
    method,
    signal,
    cache: "no-store",
    credentials: "same-origin",
    headers: {
      accept: "application/json",
      ...(method === "GET" ? {} : { "x-passerby-admin": "1" }),
      ...(unattended ? UNATTENDED : {}),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text().catch(unreached);
  let parsed = null;
  try {
    parsed = text === "" ? null : JSON.parse(text);
  } catch {
    // a proxy's page
  }
  if (response.ok) return parsed;
  throw refused(response, parsed);
}

/** Whether a proxy says that it does not reach the server. */
export const isProxys = (status) => status === 502 || status === 504;

const why = (error) => {
  if (error instanceof Unreachable) return "unreachable";
  if (!(error instanceof ApiError)) return null;
  if (error.code === "recovering") return "recovering";
  return error.status === 503 ? "busy" : isProxys(error.status) ? "unreachable" : null;
};

/**
 * Reads. While the server reads its data, is busy or cannot be reached, it waits and asks again, unless it asks `once`. `unattended`:
 * the page asks by itself, and this is no use of the session.
 */
export async function get(path, { signal, query, once, unattended } = {}) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const whole = given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
  for (let wait_ms = RETRY_MS; ; wait_ms = Math.min(2 * wait_ms, LONGEST_RETRY_MS)) {
    try {
      const answer = await ask("GET", whole, undefined, { signal, unattended });
      wait(null);
      return answer;
    } catch (error) {
      signal?.throwIfAborted();
      const reason = why(error);
      wait(reason);
      if (reason === null || once) throw error;
      await pause((error.retryAfter ?? 0) * 1000 || wait_ms, signal);
    }
  }
}

/** Changes something, or asks with a body. Never tried again by itself. */
export async function send(method, path, body, { signal } = {}) {
  try {
    const answer = await ask(method, path, body, { signal });
    wait(null);
    return answer;
  } catch (error) {
    if (why(error) === "recovering") wait("recovering");
    throw error;
  }
}

/** A part of a path. */
export const part = (text) => encodeURIComponent(text);
