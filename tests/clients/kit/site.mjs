// A site on loopback whose pages use /passerby.js: the site's own, as it passes on to Passerby what is Passerby's like a
// proxy in front of it, or that of a different origin.

import http from "node:http";

import { close, listen } from "./listen.mjs";

const PASSED_ON = /^\/(v1\/|(passerby|index)\.js$|$)/;

/** A page's script: when `work` is done, there is `#result` with what came of it, { value } or { error }. */
const moduleOf = (script, work, args) => `
  import * as passerby from ${JSON.stringify(`${script}/passerby.js`)};
  const show = (result) => {
    const output = document.createElement("output");
    output.id = "result";
    output.textContent = JSON.stringify(result);
    document.body.append(output);
  };
  const facts = ({ name, message, status, code, retryAfter }) => ({ name, message, status, code, retryAfter });
  (${work})(passerby, ...${JSON.stringify(args)}).then(
    (value) => show({ value }),
    (error) => show({ error: { ...facts(error), isPasserby: error instanceof passerby.PasserbyError } }),
  );
`;

const page = (script) =>
  `<!doctype html><title>A site</title><body><script type="module" src="${script}"></script>`;

/** Gives the answer of Passerby to whoever asked the site. */
function sendBack(answer, response) {
  const { connection, "keep-alive": keepAlive, "transfer-encoding": chunked, ...headers } = answer.headers;
  response.writeHead(answer.statusCode, headers);
  answer.pipe(response);
  answer.on("error", () => response.destroy());
}

export class Site {
  #answers = [];
  #client;
  #http = http.createServer((request, response) => this.#handle(request, response));
  #pages = [];

  /** The Passerby behind it. */
  passerby = null;
  /** What was for Passerby: { line: "METHOD /path", headers }, in order. */
  requests = [];
  port = null;
  url = null;

  /** `client` is the address that the site says its visitors come from. */
  constructor({ client } = {}) {
    this.#client = client;
  }

  async listen() {
    this.port = await listen(this.#http);
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  close() {
    return close(this.#http);
  }

  /** The path of a new page that does `work(passerby, ...args)`, with the module of the origin `script`. */
  page(work, { args = [], csp, script = this.url } = {}) {
    this.#pages.push({ csp, module: moduleOf(script, work, args) });
    return `/pages/${this.#pages.length - 1}`;
  }

  /** Lets each `answer(request, response)` answer one of the next requests "METHOD /path" in Passerby's place. */
  answerNext(line, ...answers) {
    for (const answer of answers) this.#answers.push({ line, answer });
  }

  count(line) {
    return this.requests.filter((request) => request.line === line).length;
  }

  /** Passes a request on to Passerby, and the answer back or to `answered(answer, response)`. */
  passOn(request, response, answered = sendBack) {
    const { connection, ...headers } = request.headers;
    if (this.#client !== undefined) headers["x-forwarded-for"] = this.#client;
    const { hostname, port } = new URL(this.passerby.url);
    const asked = http.request({ agent: false, hostname, port, method: request.method, path: request.url, headers });
    asked.on("response", (answer) => answered(answer, response));
    asked.on("error", () => response.destroy());
    request.pipe(asked);
  }

  #handle(request, response) {
    // On a connection that it has used before, Chromium itself repeats a request that gets no answer.
    response.shouldKeepAlive = false;
    const { pathname } = new URL(request.url, this.url);
    if (PASSED_ON.test(pathname)) return this.#serve(request, response);
    if (pathname === "/forget") {
      // The one way to be rid of a cookie that scripts do not see; cookies are the same on all ports of a host.
      return response.writeHead(204, { "set-cookie": "passerby=; Path=/; Max-Age=0" }).end();
    }
    const [, number, isModule] = /^\/pages\/(\d+)(\.js)?$/.exec(pathname) ?? [];
    const found = this.#pages[number];
    if (found === undefined) return response.writeHead(404).end();
    if (isModule) return response.writeHead(200, { "content-type": "text/javascript" }).end(found.module);
    const policy = found.csp === undefined ? {} : { "content-security-policy": found.csp };
    response.writeHead(200, { "content-type": "text/html", ...policy }).end(page(`${pathname}.js`));
  }

  #serve(request, response) {
    const line = `${request.method} ${request.url}`;
    this.requests.push({ line, headers: request.headers });
    const index = this.#answers.findIndex((one) => one.line === line);
    if (index === -1) return this.passOn(request, response);
    const [{ answer }] = this.#answers.splice(index, 1);
    return answer(request, response);
  }
}
