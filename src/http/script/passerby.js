// Knows the reader of a page by a cookie that no script can read, and keeps nothing itself.
// @ts-check

const base = new URL(import.meta.url).origin;
const TIME_LIMIT_MS = 20_000;
const RETRIES = 2;
/** No answer, and what proxies answer while nothing is behind them. */
const RETRIED = [0, 502, 503, 504];
const LONGEST_PAUSE_S = 5;
const PROOFS = 3;

/** Why a call failed. */
export class PasserbyError extends Error {
  /**
   * @param {number} status 0 without an answer
   * @param {string} code the problem's; "unreachable" without an answer, "bad-answer" if it is not Passerby's
   * @param {string} message
   * @param {number} [retryAfter] seconds
   * @param {unknown} [cause]
   */
  constructor(status, code, message, retryAfter, cause) {
    super(message, { cause });
    this.name = "PasserbyError";
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** @type {Promise<string> | undefined} */
let asking;

/**
 * The id of this browser's reader, who is created if there is none.
 * @returns {Promise<string>}
 */
export function reader() {
  asking ??= alone(() => call("POST", "sessions", { mode: "cookie" }))
    .then(({ user_id }) => user_id)
    .finally(() => (asking = undefined));
  return asking;
}

/**
 * @typedef {{ name: string, used: number, limit: number | null, remaining: number | null, resets: string, allowed: boolean, lifted?: string }} Meter
 * `resets` (RFC 3339) is when a new period begins, `allowed` whether this use is within the limit
 */

/**
 * Counts a use; the same item counts once in a period.
 * @param {string} name
 * @param {string} [item]
 * @returns {Promise<Meter>}
 */
export async function meter(name, item) {
  // pages without TLS have no randomUUID
  const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const use = () => call("POST", `meters/${encodeURIComponent(name)}`, { item }, { "Idempotency-Key": key });
  return use().catch(async (error) => {
    if (error.status !== 401) throw error;
    await reader();
    return use();
  });
}

/**
 * Ends the session; the next reader is a new one.
 * @returns {Promise<void>}
 */
export async function logout() {
  asking = undefined; // later calls are answered after it
  await alone(() => call("DELETE", "session")).catch((error) => {
    if (error.status !== 401) throw error;
  });
}

/**
 * One at a time in all tabs, or two that begin at once would create two readers. Pages without TLS have no locks.
 * @template T
 * @param {() => Promise<T>} task
 */
const alone = async (task) => (navigator.locks ? navigator.locks.request("passerby", task) : task());

/**
 * A call with its retries, and the work that it costs a network that creates many readers.
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
async function call(method, path, body, headers) {
  for (let proofs = 0, retries = 0; ; ) {
    try {
      return await send(method, path, body, headers);
    } catch (error) {
      const { code, status, retryAfter = 0 } = /** @type {PasserbyError} */ (error);
      if (body && ["work-needed", "challenge-expired"].includes(code) && proofs < PROOFS) {
        proofs += 1;
        const challenge = await call("GET", "challenge");
        const solution = await solve(challenge.parameters);
        body = { ...body, altcha: btoa(JSON.stringify({ challenge, solution })) };
      } else if (RETRIED.includes(status) && retries < RETRIES && retryAfter <= LONGEST_PAUSE_S) {
        retries += 1;
        const pause = 1000 * retryAfter + 2 ** retries * (100 + 200 * Math.random());
        await new Promise((resolve) => setTimeout(resolve, pause));
      } else throw error;
    }
  }
}

/** @type {typeof call} */
async function send(method, path, body, headers) {
  let response, answer;
  try {
    // no Content-Type, which would cost a preflight request to the server first
    response = await fetch(`${base}/v1/${path}`, {
      method,
      headers,
      body: body && JSON.stringify(body),
      credentials: "include",
      signal: AbortSignal.timeout(TIME_LIMIT_MS),
    });
    if (response.headers.get("Content-Type")?.includes("json")) answer = await response.json();
  } catch (cause) {
    throw new PasserbyError(0, "unreachable", `no answer from ${base}`, undefined, cause);
  }
  const { ok, status } = response;
  if (ok && (answer || status === 204)) return answer;
  const { code = "bad-answer", detail = `${base} answered ${status}` } = answer ?? {};
  throw new PasserbyError(status, code, detail, Number(response.headers.get("Retry-After")) || undefined);
}

/**
 * @typedef {{ algorithm: string, cost: number, keyLength: number, keyPrefix: string, nonce: string, salt: string }} Work
 */

/**
 * Works beside the page, or in it if its Content-Security-Policy forbids workers from blobs.
 * @param {Work} work
 */
async function solve(work) {
  const source = `onmessage = ({ data }) => (${search})(data).then(postMessage, reportError)`;
  const url = URL.createObjectURL(new Blob([source]));
  try {
    const worker = new Worker(url);
    const solved = new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = reject;
      worker.postMessage(work);
    });
    return await solved.finally(() => worker.terminate());
  } catch {
    return search(work);
  } finally {
    URL.revokeObjectURL(url);
  }
}

/**
 * ALTCHA's proof of work, version 2. A worker has the text of this function and nothing else.
 * @param {Work} work
 */
async function search({ algorithm, cost, keyLength, keyPrefix, nonce, salt }) {
  const bytes = (/** @type {string} */ hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  const password = Uint8Array.of(...bytes(nonce), 0, 0, 0, 0);
  const end = new DataView(password.buffer, password.length - 4);
  const pbkdf2 = { name: "PBKDF2", hash: algorithm.replace("PBKDF2/", ""), salt: bytes(salt), iterations: cost };
  for (let counter = 0; ; counter += 1) {
    end.setUint32(0, counter);
    const key = await crypto.subtle.importKey("raw", password, "PBKDF2", false, ["deriveBits"]);
    const bits = new Uint8Array(await crypto.subtle.deriveBits(pbkdf2, key, keyLength * 8));
    const derivedKey = Array.from(bits, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (derivedKey.startsWith(keyPrefix)) return { counter, derivedKey };
  }
}
