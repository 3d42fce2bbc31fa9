// What happens, as it happens: the feed of what is committed, with filters, and still while it is paused.

import { follow } from "../feed.js";
import { h } from "../dom.js";
import { clock, number } from "../format.js";
import { icon } from "../icons.js";
import { t } from "../texts.js";
import { badge, button, errorNote, field, input, note, pageHead } from "../ui.js";

export const title = () => t.live.title;

/** Rows that are kept. */
const MOST = 500;
const KNOWN = new Set(["at", "type", "user_id", "provider", "reason"]);
const TONES = [[/^(login|user.created|created|registered|linked)/, "good"], [/(refus|denied|failed|wall)/, "bad"], [/(delete|expire|end|logout|disable)/, "warn"]];
const toneOf = (type) => TONES.find(([pattern]) => pattern.test(type))?.[1] ?? "";

function rowOf(event) {
  const rest = Object.entries(event).filter(([name, value]) => !KNOWN.has(name) && value !== null && value !== "");
  return h(
    "li",
    null,
    h("span", { class: "when" }, clock(event.at)),
    h("span", { class: "type" }, badge(event.type, toneOf(event.type))),
    h("span", { class: "user" }, event.user_id ? h("a", { href: `#/users/${event.user_id}` }, h("code", null, event.user_id)) : ""),
    h(
      "span",
      { class: "soft rest" },
      [event.provider, event.reason, ...rest.map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`)].filter(Boolean).join(" · "),
    ),
  );
}

export async function render({ root, query, signal, go }) {
  const list = h("ol", { class: "feed" });
  const state = h("p", { class: "soft", role: "status" }, t.live.connecting);
  const lagged = h("div");
  const waiting = [];
  let paused = false;
  let isOpen = false;

  const pauseButton = button(t.live.pause, { glyph: "pause", press: () => setPaused(!paused), id: "pause" });
  const setPaused = (wanted) => {
    paused = wanted;
    pauseButton.replaceChildren(icon(paused ? "play" : "pause"), h("span", null, paused ? t.live.resume : t.live.pause));
    if (!paused) waiting.splice(0).forEach(show);
    say();
  };
  const say = () => {
    if (paused) state.textContent = t.live.paused(number(waiting.length));
    else if (isOpen) state.textContent = list.childElementCount === 0 ? t.live.waiting : t.live.shown(list.childElementCount);
    else state.textContent = t.live.connecting;
  };
  const show = (event) => {
    list.prepend(rowOf(event));
    while (list.childElementCount > MOST) list.lastChild.remove();
  };
  let wasOpen = false;
  const opened = (now) => {
    if (now && wasOpen) lagged.replaceChildren(note("warn", h("p", null, t.live.gap)));
    wasOpen ||= now;
    isOpen = now;
    say();
  };
  const take = (event) => {
    if (!paused) show(event);
    else {
      waiting.push(event);
      if (waiting.length > MOST) waiting.shift();
    }
    say();
  };

  const form = h(
    "form",
    { class: "filters", "aria-label": t.live.filter },
    field(t.live.types, input({ name: "type", value: query.type ?? "", placeholder: t.live.typesPlaceholder })),
    field(t.live.user, input({ name: "user", value: query.user ?? "" })),
    field(t.live.provider, input({ name: "provider", value: query.provider ?? "" })),
    h("div", { class: "filter-actions" }, button(t.apply, { type: "submit", kind: "primary" }), (query.type || query.user || query.provider) && h("a", { class: "button", href: "#/live" }, t.clear)),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go("live", Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()])));
  });
  const clear = button(t.live.clear, { press: () => (list.replaceChildren(), waiting.splice(0), say()) });
  root.append(pageHead(t.live.title, t.live.about, pauseButton, clear), form, lagged, state, h("div", { class: "card flush" }, list));

  const loop = async () => {
    try {
      const filter = { type: query.type, user: query.user, provider: query.provider };
      for await (const event of follow("/v1/admin/events", { query: filter, signal, opened })) {
        if (event.type === "lagged") lagged.replaceChildren(note("warn", h("p", null, t.live.lagged)));
        else take(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      lagged.replaceChildren(errorNote(error, () => (lagged.replaceChildren(), loop())));
      state.textContent = "";
    }
  };
  loop();
}
