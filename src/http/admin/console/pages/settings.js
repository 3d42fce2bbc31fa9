// The settings in force, and where each comes from. They are changed where they come from, not here.

import { get } from "../api.js";
import { h } from "../dom.js";
import { t } from "../texts.js";
import { badge, card, emptyNote, errorNote, facts, field, input, json, pageHead, skeleton, table } from "../ui.js";
import { bytes, number, time } from "../format.js";

export const title = () => t.settings.title;

const shown = (value) => (value === null || value === undefined || (Array.isArray(value) && value.length === 0) ? h("span", { class: "soft" }, t.none) : h("code", null, typeof value === "string" ? value : JSON.stringify(value)));

export async function render({ root, signal }) {
  const store = h("div");
  const place = h("div", null, skeleton(12));
  const box = input({ type: "search", name: "filter", id: "filter", placeholder: t.settings.filterPlaceholder });
  const changed = h("input", { type: "checkbox", id: "changed" });
  const filters = h("div", { class: "filters" }, field(t.settings.filter, box), h("label", { class: "check" }, changed, h("span", null, t.settings.changed)));
  root.append(pageHead(t.settings.title, t.settings.about), store, filters, place);

  const loadStore = async () => {
    try {
      const it = await get("/v1/admin/store", { signal });
      const known = Object.entries(t.settings.storeNames).filter(([name]) => it[name] !== undefined);
      const isGroup = ([name]) => it[name] !== null && typeof it[name] === "object";
      store.replaceChildren(
        card(
          t.settings.store,
          { about: t.settings.storeAbout },
          facts(known.filter((one) => !isGroup(one)).map(([name, label]) => [label, ofStore(name, it[name])])),
          h("div", { class: "groups" }, known.filter(isGroup).map(([name, label]) => h("details", null, h("summary", null, label), json(it[name])))),
        ),
      );
    } catch (error) {
      if (!signal.aborted) store.replaceChildren(errorNote(error, loadStore));
    }
  };
  const load = async () => {
    try {
      const { settings } = await get("/v1/admin/configuration", { signal });
      const draw = () => {
        const wanted = box.value.trim().toLowerCase();
        const rows = settings.filter(({ name, help = "", origin }) => (!changed.checked || origin !== "default") && `${name} ${help}`.toLowerCase().includes(wanted));
        place.replaceChildren(
          rows.length === 0
            ? emptyNote(t.settings.none)
            : table({
                caption: t.settings.title,
                rows,
                columns: [
                  { title: t.settings.name, kind: "main", cell: ({ name, help }) => [h("code", { class: "strong" }, name), help && h("div", { class: "soft small wide-text" }, help)] },
                  { title: t.settings.value, cell: ({ value, unit }) => [shown(value), unit && h("span", { class: "soft" }, ` ${unit}`)] },
                  { title: t.settings.origin, cell: ({ origin, place: from }) => [badge(t.settings.origins[origin] ?? origin, origin === "default" ? "quiet" : "accent"), from && h("div", { class: "soft small" }, h("code", null, from))] },
                  { title: t.settings.default, cell: ({ default: byDefault, range }) => [shown(byDefault), range && h("div", { class: "soft small" }, range)] },
                ],
              }),
        );
      };
      box.addEventListener("input", draw);
      changed.addEventListener("change", draw);
      draw();
    } catch (error) {
      if (!signal.aborted) place.replaceChildren(errorNote(error, load));
    }
  };
  loadStore();
  await load();
}

const ofStore = (name, value) => {
  if (typeof value === "number") return /bytes/.test(name) ? bytes(value) : number(value);
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) return time(value);
  return String(value);
};
