// The meters as they are configured, and how often readers came to a wall.

import { h } from "../dom.js";
import { duration, number } from "../format.js";
import { t } from "../texts.js";
import { emptyNote, loaded, pageHead, table } from "../ui.js";

export const title = () => t.meters.title;

export async function render({ root, signal }) {
  const place = h("div");
  root.append(pageHead(t.meters.title, t.meters.about), place);
  const shown = (value) => (value === null || value === undefined || value === "" ? h("span", { class: "soft" }, t.none) : typeof value === "number" ? number(value) : String(value));
  await loaded(place, {
    path: "/v1/admin/meters",
    signal,
    draw: ({ meters }) =>
      meters.length === 0
        ? emptyNote(t.meters.none, h("pre", null, '[meter.articles]\nlimit = 5'))
        : table({
            caption: t.meters.title,
            rows: meters,
            columns: [
              { title: t.meters.name, kind: "main", cell: ({ name }) => h("strong", null, name) },
              { title: t.meters.limit, kind: "number", cell: ({ limit }) => shown(limit) },
              { title: t.meters.window, cell: ({ window, rolling, time_zone }) => [rolling ? t.meters.rolling(duration(rolling)) : shown(window), !rolling && time_zone && h("div", { class: "soft small" }, time_zone)] },
              { title: t.meters.accounts, cell: ({ accounts }) => shown(accounts) },
              { title: t.meters.entitlement, cell: ({ entitlement }) => shown(entitlement) },
              { title: t.meters.once, cell: ({ once }) => (once ? t.yes : t.no) },
              { title: t.meters.hour, kind: "number", cell: ({ walls }) => shown(walls?.hour) },
              { title: t.meters.month, kind: "number", cell: ({ walls }) => shown(walls?.month) },
            ],
          }),
  }).first;
}
