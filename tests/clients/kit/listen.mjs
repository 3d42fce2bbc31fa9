// Servers of the tests' own, each on a free port of loopback.

import { once } from "node:events";

/**
 * Listens on a free port without keeping this process alive, should the server not be closed. Returns the port. No time limit
 * of Node's closes a connection: on a busy machine a proxy's next request would be on its way already.
 */
export async function listen(server, host = "127.0.0.1") {
  Object.assign(server, { keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 });
  server.unref();
  server.on("connection", (socket) => socket.unref());
  server.listen(0, host);
  await once(server, "listening");
  return server.address().port;
}

/** Closes an HTTP server and all its connections. */
export async function close(server) {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}
