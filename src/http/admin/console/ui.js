// What pages are put together from: buttons, badges, tables, fields, notes.

import { get, isProxys, Unreachable } from "./api.js";
import { h, newId, replace } from "./dom.js";
import { icon } from "./icons.js";
import { session } from "./session.js";
import { t } from "./texts.js";

/** Where something is said: beside the page, and while a dialog is open in it, since nothing else can be read then. */
export const toasts = (props) => h("div", { class: "toasts", role: "status", "aria-live": "polite", ...props });

/** Says something to everybody: beside the page for some seconds, and to a screen reader. */
export function toast(text, tone = "good") {
  const place = [...document.querySelectorAll("dialog[open] > .toasts")].at(-1) ?? document.getElementById("toasts");
  const note = h("p", { class: `toast ${tone}` }, icon(tone === "good" ? "check" : "warn"), text);
  place.append(note);
  setTimeout(() => note.remove(), tone === "good" ? 5000 : 9000);
}

/** What a press does; what went wrong and nobody else says is said beside the page. */
const pressing = (press) => async (event) => {
  try {
    await press?.(event);
  } catch (error) {
    if (error.name !== "AbortError") toast(sentence(error), "warn");
  }
};

/**
 * A button. `needs` is the role without which it does nothing but say why; `locked` a reason why nobody may press it now.
 */
export function button(label, { kind = "", glyph, needs, locked, press, type = "button", title, ...more } = {}) {
  const why = locked ?? session.lacks(needs);
  const pressed = pressing(press);
  const made = h(
    "button",
    { type, class: `button ${kind}`, title: why ?? title, "aria-disabled": why ? "true" : undefined, ...more },
    glyph && icon(glyph),
    h("span", null, label),
  );
  made.addEventListener("click", (event) => {
    if (why) {
      event.preventDefault();
      event.stopImmediatePropagation();
      toast(why, "warn");
    } else pressed(event);
  });
  return made;
}

/** A button with an icon alone; the label is for those who do not see it. */
export const iconButton = (label, glyph, press, more = {}) =>
  h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, on: { click: pressing(press) }, ...more }, icon(glyph));

export const badge = (text, tone = "", title) => h("span", { class: `badge ${tone}`, title }, text);

/** An id or a secret, with a button that copies it. */
export function copyable(text, { label = t.copy } = {}) {
  const copy = iconButton(label, "copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.replaceChildren(icon("check"));
      toast(t.copied);
      setTimeout(() => copy.replaceChildren(icon("copy")), 2000);
    } catch {
      toast(t.notCopied, "warn");
    }
  });
  return h("span", { class: "copyable" }, h("code", null, text), copy);
}

/** The head of a page: what it is, in a sentence what it is for, and what can be done. */
export const pageHead = (title, about, ...actions) =>
  h(
    "header",
    { class: "page-head" },
    h("div", null, h("h1", { tabindex: "-1" }, title), about && h("p", { class: "soft" }, about)),
    actions.length > 0 && h("div", { class: "actions" }, actions),
  );

/** A part of a page with a heading of its own. */
export function card(title, { about, actions, kind = "" } = {}, ...content) {
  const id = newId("card");
  return h(
    "section",
    { class: `card ${kind}`, "aria-labelledby": id },
    h(
      "header",
      null,
      h("div", null, h("h2", { id }, title), about && h("p", { class: "soft" }, about)),
      actions && h("div", { class: "actions" }, actions),
    ),
    content,
  );
}

/** A table; on a narrow screen each row is a card. `columns`: [{ title, cell(row), kind }]. */
export function table({ caption, columns, rows, empty }) {
  if (rows.length === 0) return emptyNote(empty ?? t.nothingHere);
  return h(
    "div",
    { class: "table-wrap" },
    h(
      "table",
      // said once more, since on a narrow screen they are not laid out as a table
      { role: "table" },
      h("caption", { class: "unseen" }, caption),
      h(
        "thead",
        { role: "rowgroup" },
        h("tr", { role: "row" }, columns.map(({ title, kind }) => h("th", { role: "columnheader", scope: "col", class: kind }, title))),
      ),
      h("tbody", { role: "rowgroup" }, rows.map((row) => tableRow(columns, row))),
    ),
  );
}

const tableRow = (columns, row) =>
  h("tr", { role: "row" }, columns.map(({ title, cell, kind }) => h("td", { role: "cell", "data-label": title, class: kind }, cell(row))));

export const emptyNote = (text, ...more) => h("div", { class: "empty" }, h("p", null, text), more);

/** Names and what they are, as a list of definitions. */
export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));

/** Rows as they will be, before they are known: nothing moves when they come. */
export const skeleton = (rows = 6) =>
  h("div", { class: "skeleton", "aria-hidden": "true" }, Array.from({ length: rows }, () => h("div")));

/** What went wrong, in words, with another try. */
export const errorNote = (error, again) =>
  h(
    "div",
    { class: "note bad", role: "alert" },
    icon("warn"),
    h("div", null, h("p", null, h("strong", null, t.error.title)), h("p", null, sentence(error))),
    again && button(t.error.again, { press: again, glyph: "refresh" }),
  );

export const note = (tone, ...content) => h("div", { class: `note ${tone}` }, icon(tone === "good" ? "check" : "warn"), h("div", null, content));

/** An error as a sentence. */
export function sentence(error) {
  if (error instanceof Unreachable || (isProxys(error.status) && !error.code)) return t.error.unreachable;
  // a fault of the console itself
  if (error instanceof TypeError || error instanceof ReferenceError) reportError(error);
  const text = t.error.codes[error.code] ?? error.message ?? String(error);
  const retry = error.status === 429 && error.retryAfter ? ` ${t.error.retry(error.retryAfter)}` : "";
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") + retry;
}

/** A labelled control, with help below it. */
export function field(label, control, { help, error, kind = "" } = {}) {
  const id = control.id || newId("field");
  control.id = id;
  const helpId = help ? `${id}-help` : undefined;
  if (helpId) control.setAttribute("aria-describedby", helpId);
  return h(
    "div",
    { class: `field ${kind}` },
    h("label", { for: id }, label),
    control,
    help && h("p", { class: "help", id: helpId }, help),
    error && h("p", { class: "help bad" }, error),
  );
}

export const input = (props) => h("input", { autocomplete: "off", spellcheck: "false", ...props });

export const select = (options, value, props) =>
  h("select", props, options.map(([name, label]) => h("option", { value: name, selected: name === value }, label)));

/** A switch with its label. */
export function toggle(label, { checked, change, help, locked, needs } = {}) {
  const why = locked ?? session.lacks(needs);
  const id = newId("switch");
  const control = h("input", {
    type: "checkbox",
    role: "switch",
    id,
    checked,
    disabled: Boolean(why),
    "aria-describedby": help || why ? `${id}-help` : undefined,
    on: { change: () => change?.(control.checked) },
  });
  const shown = h(
    "div",
    { class: "field switch" },
    h("label", { for: id }, control, h("span", { class: "track", "aria-hidden": "true" }), h("span", null, label)),
    (help || why) && h("p", { class: "help", id: `${id}-help` }, why ?? help),
  );
  return { shown, control };
}

/** A checkbox with its label. */
export function checkbox(label, props) {
  const control = h("input", { type: "checkbox", ...props });
  return { shown: h("label", { class: "check" }, control, h("span", null, label)), control };
}

/** Lines of a difference; long stretches that are the same are folded. */
export function difference(lines) {
  const SIGNS = { before: "−", after: "+", both: " " };
  const AROUND = 3;
  const near = lines.map((_, at) => lines.slice(Math.max(0, at - AROUND), at + AROUND + 1).some(({ side }) => side !== "both"));
  const rows = [];
  for (let at = 0; at < lines.length; at += 1) {
    if (!near[at]) {
      const from = at;
      while (at + 1 < lines.length && !near[at + 1]) at += 1;
      rows.push(h("li", { class: "folded" }, t.diff.folded(at - from + 1)));
      continue;
    }
    const { side, text } = lines[at];
    const spoken = side === "both" ? null : h("span", { class: "unseen" }, t.diff[side]);
    rows.push(h("li", { class: side }, h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[side]), spoken, h("code", null, text || " ")));
  }
  return h("ol", { class: "diff", tabindex: "0", "aria-label": t.diff.label }, rows);
}

/** Any value as JSON, to look at. */
export const json = (value) => h("pre", { class: "json", tabindex: "0" }, JSON.stringify(value, null, 2));

/**
 * Asks and shows: rows in grey until the answer is there, an error with another try. `draw(answer)` gives what is shown.
 * Returns a function that asks again without the grey rows.
 */
export function loaded(place, { path, query, signal, rows, draw }) {
  const load = async (quiet) => {
    if (!quiet) replace(place, skeleton(rows));
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await (typeof path === "function" ? path() : get(path, { query, signal }));
      replace(place, ...[await draw(answer)].flat().filter(Boolean));
    } catch (error) {
      if (signal.aborted) return;
      replace(place, errorNote(error, () => load(false)));
    } finally {
      place.removeAttribute("aria-busy");
    }
  };
  const first = load(false);
  const again = () => load(true);
  again.first = first;
  return again;
}
