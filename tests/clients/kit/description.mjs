// The API's description, and whether what a server answers is what it has.

import assert from "node:assert/strict";

import Ajv from "ajv/dist/2020.js";

const METHODS = ["get", "put", "post", "delete", "patch"];
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

const pointer = (...parts) => parts.map((part) => `/${encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"))}`).join("");

/** The description that a server has of its API. */
export class Description {
  #ajv = new Ajv({ strict: false, allErrors: true, formats: { "date-time": TIME, password: true, double: true, int32: true, int64: true } });

  constructor(document) {
    this.document = document;
    this.#ajv.addSchema(document, "api");
  }

  /** Every operation: { method, path, operation }. */
  get operations() {
    return Object.entries(this.document.paths).flatMap(([path, item]) =>
      METHODS.filter((method) => method in item).map((method) => ({ method, path, operation: item[method] })),
    );
  }

  /** What is wrong with a value, by the schema at a place of the document; null if nothing is. */
  errors(value, ...place) {
    const validate = this.#ajv.getSchema(`api#${pointer(...place)}`);
    return validate(value) ? null : this.#ajv.errorsText(validate.errors);
  }

  /** The operation that a request is for, if it is for one; a path without parameters goes before one with. */
  find(method, path) {
    const wanted = path.split("/");
    const covers = (template) => {
      const parts = template.split("/");
      return parts.length === wanted.length && parts.every((part, i) => part.startsWith("{") || part === wanted[i]);
    };
    const [found] = this.operations
      .filter((operation) => operation.method === method.toLowerCase() && covers(operation.path))
      .sort((a, b) => a.path.split("{").length - b.path.split("{").length);
    return found;
  }

  /** Insists that an answer is one that the description has, as far as it has the operation. */
  check(method, target, { status, contentType, text }) {
    const [path, query = ""] = target.split("?");
    const found = this.find(method, path);
    if (!found || (query.includes("over=403") && status === 403)) return;
    const what = `${method} ${target} answers ${status} ${text.slice(0, 500)}`;
    const response = found.operation.responses[status];
    assert.ok(response, `${what}, which openapi.json does not have`);
    if (text === "") return assert.equal(response.content, undefined, `${what}: openapi.json has a body`);
    const place = ["paths", found.path, found.method, "responses", String(status), "content"];
    assert.ok(contentType in (response.content ?? {}), `${what} as ${contentType}, which openapi.json does not have`);
    const body = JSON.parse(text);
    const errors = this.errors(body, ...place, contentType, "schema");
    assert.equal(errors, null, `${what}, which is not what openapi.json has`);
    const codes = response["x-codes"];
    if (codes) assert.ok(codes.includes(body.code ?? body.error_code ?? null), `${what}, whose code openapi.json does not have`);
  }
}
