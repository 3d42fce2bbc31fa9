// A proxy before a server, which writes down what passes.

import http from "node:http";

import { close, listen } from "./listen.mjs";

/**
 * Forwards to a server and writes down what passes, so that a test can say which requests a client made.
 *
 * The Host header passes unchanged: the server then names the proxy as the app's location, and the client sends
 * everything through it. A connection to the server serves one request only, so a server that is restarted behind the
 * proxy leaves no half-dead connection in any pool.
 */
export class RecordingProxy {
  #canned = [];
  #http;
  #maxRequests;
  #rememberAuthorization;
  #seen = 0;
  #server;

  /** What passed since the last `clear`: { method, path, status, contentType, authorization? }, in order of arrival. */
  requests = [];
  url = null;

  constructor(server, { rememberAuthorization = false, maxRequests = 40 } = {}) {
    this.#server = server;
    this.#rememberAuthorization = rememberAuthorization;
    this.#maxRequests = maxRequests;
    this.#http = http.createServer((request, response) => this.#handle(request, response));
  }

  async listen() {
    this.url = `http://127.0.0.1:${await listen(this.#http)}`;
    return this;
  }

  close() {
    return close(this.#http);
  }

  /** The requests as lines "METHOD /path status"; the status is "-" if no answer came. */
  get lines() {
    return this.requests.map(({ method, path, status }) => `${method} ${path} ${status ?? "-"}`);
  }

  count(method, path) {
    return this.requests.filter((request) => request.method === method && request.path === path).length;
  }

  clear() {
    this.requests = [];
    this.#seen = 0;
  }

  /** Answers the next such request in the server's place. */
  answerOnce(method, path, status, body) {
    this.#canned.push({ method, path, status, body });
  }

  #handle(request, response) {
    const record = { method: request.method, path: request.url.replace(/\?.*/, "") };
    if (this.#rememberAuthorization) record.authorization = request.headers.authorization;
    this.requests.push(record);

    // realm-web repeats a request without limit as long as refreshing succeeds: a server that invites it to must fail
    // the test, not hang it. This status is one after which realm-web gives up.
    this.#seen += 1;
    if (this.#seen > this.#maxRequests) {
      return this.#answer(record, request, response, 508, { error: "this client goes round in circles" });
    }
    const index = this.#canned.findIndex(({ method, path }) => method === record.method && path === record.path);
    if (index !== -1) {
      const [{ status, body }] = this.#canned.splice(index, 1);
      return this.#answer(record, request, response, status, body);
    }
    this.#forward(record, request, response);
  }

  #answer(record, request, response, status, body) {
    record.status = status;
    record.contentType = "application/json";
    request.resume();
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  #forward(record, request, response) {
    const { connection, "keep-alive": keepAlive, ...headers } = request.headers;
    const { hostname, port } = new URL(this.#server.url);
    const forwarded = http.request({
      agent: false,
      hostname,
      port,
      method: request.method,
      path: request.url,
      headers,
    });
    forwarded.on("response", (answer) => {
      record.status = answer.statusCode;
      record.contentType = answer.headers["content-type"];
      const { connection, "keep-alive": keepAlive, "transfer-encoding": chunked, ...answerHeaders } = answer.headers;
      response.writeHead(answer.statusCode, answerHeaders);
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    // To the client a server that is down has to look like one that is down, not like one that answers an error.
    forwarded.on("error", () => response.destroy());
    request.pipe(forwarded);
  }
}

/** A proxy before `server` that is closed with the test. */
export async function startProxy(t, server, options) {
  const proxy = await new RecordingProxy(server, options).listen();
  t.after(() => proxy.close());
  return proxy;
}
