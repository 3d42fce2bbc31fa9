// Who did what, to whom, when, from where, and what became of it.

import { get } from "../api.js";
import { h } from "../dom.js";
import { time } from "../format.js";
import { icon } from "../icons.js";
import { t } from "../texts.js";
import { badge, button, emptyNote, errorNote, facts, field, input, json, pageHead, skeleton } from "../ui.js";

export const title = () => t.audit.title;

const TONES = { done: "good", refused: "bad", unknown: "warn" };
const HEX_ID = /^[0-9a-f-]{24,36}$/;

function entryOf(entry) {
  const details = [entry.reason && [t.audit.reason, entry.reason], entry.address && [t.audit.from, h("code", null, entry.address)]];
  const whom = entry.whom && HEX_ID.test(entry.whom) && entry.what.startsWith("user") ? h("a", { href: `#/users/${entry.whom}` }, h("code", null, entry.whom)) : entry.whom && h("code", null, entry.whom);
  const head = [
    h("span", { class: "when" }, time(entry.at, { seconds: true })),
    h("span", { class: "who" }, entry.who, entry.role && h("span", { class: "soft" }, ` ${entry.role}`)),
    h("span", { class: "what" }, h("code", null, entry.what)),
    h("span", { class: "whom" }, entry.whom && h("code", null, entry.whom)),
    h("span", { class: "outcome" }, badge(t.audit.outcomes[entry.outcome] ?? entry.outcome, TONES[entry.outcome])),
  ];
  return h(
    "li",
    null,
    h(
      "details",
      { class: "entry" },
      h("summary", null, head),
      facts([
        [t.audit.whom, whom || h("span", { class: "soft" }, t.none)],
        ...details,
        entry.before !== null && entry.before !== undefined && [t.audit.before, json(entry.before)],
        entry.after !== null && entry.after !== undefined && [t.audit.after, json(entry.after)],
      ]),
    ),
  );
}

export async function render({ root, query, signal, go }) {
  const filter = { who: query.who, what: query.what, whom: query.whom };
  const given = Object.entries(filter).filter(([, value]) => value);
  const place = h("div", null, skeleton(10));
  const form = h(
    "form",
    { class: "filters", role: "search", "aria-label": t.audit.filter },
    field(t.audit.who, input({ name: "who", value: query.who ?? "", placeholder: "ada" })),
    field(t.audit.what, input({ name: "what", value: query.what ?? "", placeholder: t.audit.whatPlaceholder })),
    field(t.audit.whom, input({ name: "whom", value: query.whom ?? "" })),
    h("div", { class: "filter-actions" }, button(t.apply, { type: "submit", kind: "primary" }), given.length > 0 && h("a", { class: "button", href: "#/audit" }, t.clear)),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = new FormData(form);
    go("audit", Object.fromEntries([...values].map(([name, value]) => [name, value.trim()])));
  });
  const exported = new URLSearchParams(given);
  root.append(
    pageHead(t.audit.title, t.audit.about, h("a", { class: "button", href: `/v1/admin/audit/export?${exported}`, download: "passerby-audit.jsonl" }, icon("download"), t.audit.export)),
    form,
    place,
  );
  const list = h("ol", { class: "entries" });
  const more = h("div", { class: "more" });
  const load = async (cursor) => {
    more.replaceChildren(cursor ? skeleton(2) : "");
    try {
      const { entries, next } = await get("/v1/admin/audit", { signal, query: { ...filter, cursor } });
      if (!cursor) place.replaceChildren(list, more);
      list.append(...entries.map(entryOf));
      if (list.children.length === 0 && !next) place.replaceChildren(emptyNote(given.length > 0 ? t.audit.noneFits : t.audit.none));
      more.replaceChildren(next ? button(t.audit.older, { press: () => load(next) }) : "");
    } catch (error) {
      if (!signal.aborted) (cursor ? more : place).replaceChildren(errorNote(error, () => load(cursor)));
    }
  };
  await load();
}
