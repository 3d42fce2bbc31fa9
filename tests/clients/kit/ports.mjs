// Ports for servers that have to come back on the same one.

import { once } from "node:events";
import net from "node:net";

/**
 * Beneath those that the system gives to connections: while a server is down, any other connection could otherwise be
 * given its port.
 */
const PORTS = { from: 20_000, to: 32_000 };

// The server that was just given one may not listen yet.
const given = new Set();

/** A port of 127.0.0.1 on which nothing listens. Another process may still be faster. */
export async function freePort() {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));
    if (given.has(port)) continue;
    given.add(port);
    const probe = net.createServer().listen(port, "127.0.0.1");
    const isFree = await once(probe, "listening").then(() => true, () => false);
    probe.close();
    if (isFree) return port;
  }
}
