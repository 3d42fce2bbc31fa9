// Server-Sent Events of every kind: the browser's own `EventSource` hears only kinds that it is told of, and does not say why it was refused.

import { fetched, isProxys, refused, Unreachable } from "./api.js";
import { pause } from "./dom.js";

const RETRY_MS = 1000;

/** The events in a stream of text. */
async function* eventsOf(stream) {
  let rest = "";
  let event = { type: "message", data: [] };
  for await (const text of stream) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.data.length > 0) yield event;
        event = { type: "message", data: [] };
      } else if (!line.startsWith(":")) {
        const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
        if (name === "event") event.type = value;
        else if (name === "data") event.data.push(value);
      }
    }
  }
}

async function* chunks(reader) {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/**
 * Follows a feed until `signal`: each event is what its data says, with its `type`. When the connection breaks it begins again with what
 * happens from then on; `opened` is told whether there is one.
 */
export async function* follow(path, { query, signal, opened }) {
  const given = Object.entries(query).filter(([, value]) => value);
  for (;;) {
    try {
      const response = await fetched(given.length > 0 ? `${path}?${new URLSearchParams(given)}` : path, {
        signal,
        cache: "no-store",
        headers: { accept: "text/event-stream" },
      });
      if (!response.ok && response.status !== 503 && !isProxys(response.status)) throw refused(response, await response.json().catch(() => null));
      if (response.ok) {
        opened(true);
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for await (const event of eventsOf(chunks(reader))) {
          yield { type: event.type, ...JSON.parse(event.data.join("\n")) };
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      // no answer, or one that broke off
      if (!(error instanceof Unreachable || error instanceof TypeError)) throw error;
    }
    opened(false);
    await pause(RETRY_MS, signal);
  }
}
