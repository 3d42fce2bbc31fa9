// What asyncapi.json says of the socket, and whether what a server says there is what it has.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import Ajv from "ajv";

export const PROTOCOL = "passerby.v1";
/** The sub-protocols that a client offers. */
export const offer = (ticket) => (ticket === undefined ? [PROTOCOL] : [PROTOCOL, `ticket.${ticket}`]);

export const ASYNCAPI = JSON.parse(
  readFileSync(new URL("../../../src/http/socket/asyncapi.json", import.meta.url), "utf8"),
);

const ajv = new Ajv({ strictTypes: false });
ajv.addKeyword("components");
ajv.addSchema({ $id: "asyncapi", components: { schemas: ASYNCAPI.components.schemas } });
const isMessage = Object.fromEntries(
  Object.keys(ASYNCAPI.components.messages).map((name) => [
    name,
    ajv.compile({ $ref: `asyncapi#/components/schemas/${name}` }),
  ]),
);
const nameOf = ({ $ref }) => $ref.slice($ref.lastIndexOf("/") + 1);
const operations = Object.entries(ASYNCAPI.operations);
const REPLIES = Object.fromEntries(
  operations
    .filter(([, { action }]) => action === "receive")
    .map(([type, { reply }]) => [type, reply.messages.map(nameOf)]),
);
const PUSHES = operations
  .filter(([, { action }]) => action === "send")
  .flatMap(([, { messages }]) => messages.map(nameOf));
const CLOSE_CODES = Object.keys(ASYNCAPI.channels.socket["x-close-codes"]).map(Number);

/** What any server said that the document does not have; and how often it said what it has. */
export const faults = [];
const seen = new Map();

function checkAgainst(names, frame) {
  const fitting = names.filter((name) => isMessage[name](frame));
  if (fitting.length === 1) seen.set(fitting[0], (seen.get(fitting[0]) ?? 0) + 1);
  else faults.push(`${JSON.stringify(frame)} is ${fitting.length} of ${names}`);
}

/** A frame of the server. `asked` is the type of the request that it is to answer, if that is known. */
export function checkFrame(text, asked) {
  const frame = JSON.parse(text);
  if (frame.type !== "reply" && frame.type !== "error") checkAgainst(PUSHES, frame);
  else if (asked === undefined) checkAgainst([...new Set(Object.values(REPLIES).flat())], frame);
  else checkAgainst(REPLIES[asked] ?? ["error"], frame);
  return frame;
}

export function checkCode(code) {
  // 1005 and 1006: no close frame, or one without a code
  if (code !== 1005 && code !== 1006 && !CLOSE_CODES.includes(code)) faults.push(`closed with ${code}`);
}

export const isValid = (name, frame) => isMessage[name](frame);

export const isRequest = (name) => ASYNCAPI.operations[name]?.action === "receive";

/** What the clients of each file in socket/ have to hear; together it is all that a server says, as a test there insists. */
export const HEARD = {
  answers: ["hello", "getReply", "changeReply", "incrementReply", "meterReply", "error"],
  bounds: ["hello", "incrementReply", "dataChanged"],
  clock: ["hello", "getReply", "dataChanged", "expiring", "sessionEnded"],
  ending: ["hello", "sessionLinked", "sessionMerged", "sessionEnded"],
  opening: ["hello", "changeReply", "sessionEnded"],
  survival: ["hello", "changeReply", "incrementReply"],
  telling: ["hello", "changeReply", "incrementReply", "dataChanged"],
  wire: ["hello", "getReply", "incrementReply", "error"],
};

/** Insists on what the clients of a file heard: nothing that asyncapi.json does not have, and all that they have to hear. */
export function assertHeard(file) {
  assert.deepEqual(faults.slice(0, 10), []);
  assert.deepEqual(HEARD[file].filter((name) => !seen.has(name)), [], "never heard");
}
