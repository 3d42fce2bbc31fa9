// What is going on: now, in the last hour and in the last 30 days.

import { get } from "../api.js";
import { bars, funnel, stepLabel, trend } from "../charts.js";
import { h, pause, replace } from "../dom.js";
import { bytes, compact, duration, number, time } from "../format.js";
import { t } from "../texts.js";
import { card, errorNote, pageHead, skeleton, table } from "../ui.js";

export const title = () => t.overview.title;

const LOOK_MS = 5000;
const SERIES = ["new", "returning", "active_anonymous", "converted", "expired", "logins", "checks", "meter_walls", "refusals"];

const tile = (label, value, { href, title: says } = {}) =>
  h(href ? "a" : "div", { class: "tile", href, title: says }, h("span", { class: "soft" }, label), h("span", { class: "figure" }, value));

export async function render({ root, query, signal }) {
  const span = query.span === "month" ? "month" : "hour";
  const tiles = h("div", { class: "tiles" }, skeleton(1));
  const charts = h("div", null, skeleton(6));
  const spans = h(
    "nav",
    { class: "chips", "aria-label": t.overview.span },
    ["hour", "month"].map((name) => h("a", { class: "chip", href: name === "hour" ? "#/overview" : "#/overview?span=month", "aria-current": name === span ? "true" : undefined }, t.overview.spans[name])),
  );
  root.append(pageHead(t.overview.title, t.overview.about), tiles, spans, charts);
  let asTable = false;

  const draw = (overview) => {
    const { now, refusals, funnel: steps } = overview;
    replace(
      tiles,
      tile(t.overview.users, compact(now.users), { href: "#/users", title: number(now.users) }),
      tile(t.overview.anonymous, compact(now.anonymous), { href: "#/users?anonymous=true", title: number(now.anonymous) }),
      tile(t.overview.accounts, compact(now.accounts), { href: "#/users?anonymous=false", title: number(now.accounts) }),
      tile(t.overview.live, compact(now.live), { title: t.overview.liveHelp }),
      tile(t.overview.sockets, compact(now.sockets), { title: t.overview.socketsHelp }),
      tile(t.overview.memory, now.memory_bytes === null ? t.none : bytes(now.memory_bytes)),
      tile(t.overview.journal, bytes(now.journal_bytes)),
      tile(t.overview.uptime, duration(now.uptime_s), { title: now.started }),
    );
    const period = overview[span];
    const named = SERIES.filter((name) => period.series[name]);
    const wasOpen = charts.querySelector("details.figures")?.open ?? asTable;
    const figures = h(
      "details",
      { class: "figures", open: wasOpen, on: { toggle: ({ target }) => (asTable = target.open) } },
      h("summary", null, t.chart.asTable),
      table({
        caption: t.overview.spans[span],
        rows: period.series[named[0]].map((_, at) => at).reverse(),
        columns: [{ title: t.chart.step, kind: "main", cell: (at) => stepLabel(period, at) }, ...named.map((name) => ({ title: t.overview.series[name], kind: "number", cell: (at) => number(period.series[name][at]) }))],
      }),
    );
    const of = refusals[span] ?? {};
    replace(
      charts,
      h("div", { class: "trends" }, named.map((name) => trend({ title: t.overview.series[name], values: period.series[name], period, tone: name === "refusals" || name === "meter_walls" ? "warn" : "" }))),
      h(
        "div",
        { class: "columns even" },
        card(t.overview.funnel, { about: t.overview.funnelAbout }, funnel([[t.overview.visitors, steps.month.visitors], [t.overview.cameBack, steps.month.came_back], [t.overview.converted, steps.month.converted]])),
        card(t.overview.refusals, { about: t.overview.refusalsAbout(t.overview.spans[span]) }, bars(Object.entries(of).map(([code, count]) => [[t.overview.refusalNames[code], " ", h("code", null, code)], count]), { empty: t.overview.noRefusals })),
      ),
      figures,
      h("p", { class: "soft small" }, t.overview.since, " ", time(now.started)),
    );
  };
  const load = async () => {
    try {
      for (let unattended = false; ; unattended = true) {
        const overview = await get("/v1/admin/overview", { signal, unattended });
        // while somebody points at a chart it stays as it is
        if (!charts.querySelector(".spark:hover")) draw(overview);
        await pause(LOOK_MS, signal);
      }
    } catch (error) {
      if (!signal.aborted) charts.replaceChildren(errorNote(error, load));
    }
  };
  load();
}
