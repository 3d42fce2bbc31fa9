// A server of docs/socket.md with one user and nothing but memory, which fails when it is told to.

import http from "node:http";

import { WebSocketServer } from "ws";

import { close, listen } from "./listen.mjs";

export const TOKEN = "an access token";

/** What a request makes of the document. */
const CHANGES = {
  put: (_, { data }) => data,
  patch: (data, { patch }) => ({ ...data, ...patch }),
  increment: (data, { path, by }) => ({ ...data, [path.slice(1)]: (data?.[path.slice(1)] ?? 0) + by }),
  delete: () => null,
};

export class SocketStub {
  #http = http.createServer((request, response) => this.#answer(request, response));
  #results = new Map();
  #tickets = new Set();
  #webSockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] });

  user = "a user";
  anonymous = true;
  data = null;
  version = 0;
  /** What socket-ticket, sessions and session are answered by next, as [status, body, headers]. */
  answers = [];
  /** Every request below /v1: "METHOD /path?query". */
  requests = [];
  /** The frames that came, of all sockets. */
  frames = [];
  /** Sub-protocols that were offered at each opening. */
  offered = [];
  /** The open sockets. */
  sockets = new Set();
  /** Instead of the answer to each frame, if it is set. */
  instead = null;
  /** What a socket is greeted with; `since` is undefined the first time. */
  greet = (socket, since) => {
    const { user, anonymous, version, data } = this;
    const hello = { type: "hello", user_id: user, session_id: "a session", anonymous, version };
    this.tell(since === version ? hello : { ...hello, data }, socket);
  };

  async listen() {
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.url = `http://127.0.0.1:${await listen(this.#http)}`;
    return this;
  }

  close() {
    this.cut();
    return close(this.#http);
  }

  /** Ends every connection with a code, or without a word. */
  cut(code) {
    for (const socket of this.sockets) code === undefined ? socket.terminate() : socket.close(code);
  }

  /** Sends a frame to one socket, or to all. */
  tell(frame, ...sockets) {
    for (const socket of sockets.length === 0 ? this.sockets : sockets) socket.send(JSON.stringify(frame));
  }

  /** A foreign change: told to all, or to no one. */
  change(patch, { told = true } = {}) {
    this.data = { ...this.data, ...patch };
    this.version += 1;
    if (told) this.tell({ type: "data.changed", version: this.version, patch });
  }

  /** Does what a request asks for, once, and gives its reply. */
  perform({ id, type, ...fields }) {
    if (type === "get") return { type: "reply", id, version: this.version, data: this.data };
    if (type === "meter") return { type: "reply", id, meter: { name: fields.name, used: 1 } };
    if (!this.#results.has(id)) {
      this.data = CHANGES[type](this.data, fields);
      this.version += 1;
      const value = type === "increment" ? { value: this.data[fields.path.slice(1)] } : {};
      this.#results.set(id, { type: "reply", id, version: this.version, ...value });
    }
    return this.#results.get(id);
  }

  #answer(request, response) {
    this.requests.push(`${request.method} ${request.url}`);
    const isTicket = request.url === "/v1/socket-ticket";
    const ticket = `psbs_${this.requests.length}`;
    const usual = isTicket ? { ticket, expires_in: 30 } : { user_id: this.user };
    const isKnown = !isTicket || request.headers.authorization === `Bearer ${TOKEN}`;
    const [status, body, headers] = this.answers.shift() ?? (isKnown ? [200, usual] : [401, { code: "no-token" }]);
    if (status === 200) this.#tickets.add(body.ticket);
    // what a connection is used for twice could be lost for a different reason
    response.writeHead(status, { "content-type": "application/json", connection: "close", ...headers });
    response.end(JSON.stringify(body));
  }

  #upgrade(request, stream, head) {
    const offered = request.headers["sec-websocket-protocol"].split(/, */);
    this.requests.push(`${request.method} ${request.url}`);
    this.offered.push(offered);
    const [, ticket] = offered;
    // without one it would be the cookie
    if (ticket !== undefined && !this.#tickets.delete(ticket.replace("ticket.", ""))) return stream.destroy();
    const since = new URL(request.url, this.url).searchParams.get("since");
    this.#webSockets.handleUpgrade(request, stream, head, (socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      socket.on("message", (text) => this.#hear(JSON.parse(text), socket));
      this.greet(socket, since === null ? undefined : Number(since));
    });
  }

  #hear(frame, socket) {
    this.frames.push(frame);
    if (this.instead === null) this.tell(this.perform(frame), socket);
    else this.instead(frame, socket);
  }
}
