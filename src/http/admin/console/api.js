// The admin API, and nothing else: by the cookie of the session, with the header that shows that a change comes from this page.

import { pause } from "./dom.js";

const RETRY_MS = 1000;

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

/** "ended": the session is over. "waiting" with `why` ("recovering", "busy", "unreachable", or null when it is over). */
export const told = new EventTarget();

let waiting = null;
function wait(why) {
  if (why === waiting) return;
  waiting = why;
  told.dispatchEvent(new CustomEvent("waiting", { detail: why }));
}

async function ask(method, path, body, signal) {
  const response = await fetch(path, {
    method,
    signal,
    cache: "no-store",
    credentials: "same-origin",
    headers: {
      accept: "application/json",
      ...(method === "GET" ? {} : { "x-passerby-admin": "1" }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  let parsed = null;
  try {
    parsed = text === "" ? null : JSON.parse(text);
  } catch {
    // a proxy's page
  }
  if (response.ok) return parsed;
  const error = new ApiError(response.status, parsed, Number(response.headers.get("retry-after")) || undefined);
  if (response.status === 401 && (error.code === "session-ended" || error.code === "no-token")) {
    told.dispatchEvent(new CustomEvent("ended"));
  }
  throw error;
}

const why = (error) => {
  if (error instanceof ApiError) return error.code === "recovering" ? "recovering" : error.status === 503 ? "busy" : null;
  return error instanceof TypeError ? "unreachable" : null;
};

/** Reads. While the server reads its data, is busy or cannot be reached, it waits and asks again. */
export async function get(path, { signal, query } = {}) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const whole = given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
  for (;;) {
    try {
      const answer = await ask("GET", whole, undefined, signal);
      wait(null);
      return answer;
    } catch (error) {
      signal?.throwIfAborted();
      const reason = why(error);
      wait(reason);
      if (reason === null) throw error;
      await pause((error.retryAfter ?? 0) * 1000 || RETRY_MS, signal);
    }
  }
}

/** Changes something, or asks with a body. Never tried again by itself. */
export async function send(method, path, body, { signal } = {}) {
  try {
    const answer = await ask(method, path, body, signal);
    wait(null);
    return answer;
  } catch (error) {
    if (why(error) === "recovering") wait("recovering");
    throw error;
  }
}

/** A part of a path. */
export const part = (text) => encodeURIComponent(text);
