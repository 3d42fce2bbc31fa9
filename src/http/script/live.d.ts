// Types of /passerby-live.js: a user's document, live.

import type { Meter, PasserbyError } from "./passerby.js";

/** JSON, as it comes from the server: frozen all through. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** How to connect. */
export interface Options {
  /**
   * An access token, or a function that returns a fresh one and is called before each connection. Without a token, the page's reader
   * connects, by cookie.
   */
  token?: string | (() => string | Promise<string>);
  /** The server's origin, with a token. By default the one that the script came from. */
  base?: string;
  /** The class to open sockets with, such as that of the npm package ws, where there is none. */
  WebSocket?: unknown;
}

/** The result of a change. */
export interface Changed {
  /** The document's version. */
  version: number;
  /** The number after an increment. */
  value?: number;
}

/** The events, with their arguments. */
export interface Events {
  /** The document changed: itself (null: there is none) and its version. */
  data: [data: any, version: number];
  /** The connection's status. */
  status: [status: Connection["status"]];
  /** The user is an account now. */
  linked: [];
  /** The second user became part of the first one, who goes on. */
  merged: [user: string, mergedUser: string];
  /** The session of an account ends at this time (RFC 3339), in less than an hour. */
  expiring: [at: string];
  /** The connection has ended for good, and why. */
  ended: [error: PasserbyError];
}

/** A user's document. It reconnects after every loss of the connection, until it ends for good. */
export interface Connection {
  /** The document; null if there is none. Frozen: each change creates a new object. */
  readonly data: any;
  /** The document's version. */
  readonly version: number;
  /** The user's id. */
  readonly user: string;
  /** Whether the user is anonymous. */
  readonly anonymous: boolean;
  readonly status: "connecting" | "open" | "closed";

  /** Listens. The returned function stops it. */
  on<Type extends keyof Events>(type: Type, listener: (...facts: Events[Type]) => unknown): () => void;

  // A change waits for a connection and is done once, also if its reply was lost.

  /** Replaces the document. @throws {PasserbyError} */
  set(data: object): Promise<Changed>;

  /**
   * Changes a part of the document.
   *
   * @param patch a merge patch (RFC 7396), or as an array a JSON patch (RFC 6902)
   * @throws {PasserbyError}
   */
  patch(patch: object): Promise<Changed>;

  /**
   * Adds to a number of the document. Concurrent increments all count.
   *
   * @param path a JSON pointer (RFC 6901), such as `/visits`; a number that is not there is 0
   * @param by 1 if it is left out
   * @throws {PasserbyError}
   */
  increment(path: string, by?: number): Promise<Changed>;

  /** Deletes the document. @throws {PasserbyError} */
  remove(): Promise<Changed>;

  /** Counts a use of a meter, as `meter` of /passerby.js. @throws {PasserbyError} */
  meter(name: string, item?: string): Promise<Meter>;

  /** Ends the connection. What has no reply yet is rejected. */
  close(): Promise<void>;
}

/**
 * Connects.
 *
 * @returns once the document is here
 * @throws {PasserbyError} if it ends before that
 */
export function connect(options?: Options): Promise<Connection>;
