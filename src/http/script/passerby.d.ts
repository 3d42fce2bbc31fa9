// Types of /passerby.js: who the reader of a page is, by a cookie that no script can read.

/** Why a call failed. */
export class PasserbyError extends Error {
  constructor(status: number, code: string, message: string, retryAfter?: number, cause?: unknown);
  /** The HTTP status; 0 without an answer. */
  status: number;
  /**
   * The code of the problem, as the API lists them. `"unreachable"` without an answer, `"bad-answer"` if the answer is not
   * Passerby's.
   */
  code: string;
  /** Seconds after which another try makes sense, if that is known. */
  retryAfter: number | undefined;
}

/** What a meter says. */
export interface Meter {
  /** The meter's name. */
  name: string;
  /** Used in this period. */
  used: number;
  /** Allowed in a period; null if the meter is lifted for the reader. */
  limit: number | null;
  /** What is left; null if the meter is lifted for the reader. */
  remaining: number | null;
  /** When a new period begins (RFC 3339). */
  resets: string;
  /** Whether this use is within the limit. */
  allowed: boolean;
  /** What lifts the meter for the reader: `accounts`, or the name of an entitlement. */
  lifted?: string;
}

/**
 * The id of this browser's reader, who is created if there is none. Asks the server each time; calls that overlap share one
 * request, in all tabs.
 *
 * @throws {PasserbyError}
 */
export function reader(): Promise<string>;

/**
 * Counts a use. The same item counts once in a period. It does not throw when the limit is reached: `allowed` is then false.
 *
 * @param name the meter's, as configured
 * @param item what is used, such as the address of an article
 * @throws {PasserbyError}
 */
export function meter(name: string, item?: string): Promise<Meter>;

/**
 * Ends the session; an anonymous reader is deleted with it, and the next reader is a new one.
 *
 * @throws {PasserbyError}
 */
export function logout(): Promise<void>;
