// Small charts, drawn as SVG: a line for a series, bars for shares, steps of a funnel. Each says its figures to a screen reader too.

import { h, s } from "./dom.js";
import { compact, number } from "./format.js";
import { t } from "./texts.js";

const [WIDTH, HEIGHT] = [240, 56];
const PAD = 3;

const SHORT = {
  hour: new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" }),
  // the server counts by the day in UTC
  day: new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" }),
};

/** When a step of a series begins, in words. */
export const stepLabel = ({ from, step_s }, at) => (step_s >= 86_400 ? SHORT.day : SHORT.hour).format(new Date(new Date(from).getTime() + at * step_s * 1000));

/** A figure with its course: what it is, how much in all, and a line; pointed at, it tells each step. */
export function trend({ title, values, period, tone = "", href }) {
  const total = values.reduce((sum, value) => sum + value, 0);
  const top = Math.max(...values, 1);
  const x = (at) => (values.length < 2 ? 0 : (at / (values.length - 1)) * WIDTH);
  const y = (value) => HEIGHT - PAD - (value / top) * (HEIGHT - 2 * PAD);
  const points = values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
  const mark = s("line", { class: "mark", x1: "0", x2: "0", y1: "0", y2: String(HEIGHT), visibility: "hidden" });
  const svg = s(
    "svg",
    { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": t.chart.says(title, total, top) },
    s("polygon", { class: "area", points: `0,${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}` }),
    s("polyline", { class: "line", points: points.join(" ") }),
    mark,
  );
  const figure = h("span", { class: "figure" }, compact(total));
  const told = h("span", { class: "told soft" }, "");
  const rest = () => {
    mark.setAttribute("visibility", "hidden");
    told.textContent = "";
    figure.textContent = compact(total);
  };
  svg.addEventListener("pointermove", ({ clientX }) => {
    const { left, width } = svg.getBoundingClientRect();
    const at = Math.min(values.length - 1, Math.max(0, Math.round(((clientX - left) / width) * (values.length - 1))));
    for (const end of ["x1", "x2"]) mark.setAttribute(end, x(at).toFixed(1));
    mark.setAttribute("visibility", "visible");
    figure.textContent = number(values[at]);
    told.textContent = stepLabel(period, at);
  });
  svg.addEventListener("pointerleave", rest);
  return h(
    "div",
    { class: `trend ${tone}` },
    h("p", { class: "trend-head" }, href ? h("a", { href }, title) : h("span", null, title), told),
    figure,
    svg,
    h("p", { class: "scale", "aria-hidden": "true" }, h("span", null, stepLabel(period, 0)), h("span", null, stepLabel(period, values.length - 1))),
  );
}

/** Shares as bars, the largest first. `rows`: [[name, count]]. */
export function bars(rows, { empty }) {
  if (rows.length === 0) return h("p", { class: "soft" }, empty);
  const top = Math.max(...rows.map(([, count]) => count), 1);
  const sorted = [...rows].sort(([, one], [, other]) => other - one);
  return h(
    "ul",
    { class: "bars" },
    sorted.map(([name, count]) => h("li", null, h("span", null, name), h("span", { class: "number" }, number(count)), h("progress", { max: String(top), value: count, "aria-hidden": "true" }))),
  );
}

/** Steps, each a part of the one before. `steps`: [[name, count]]. */
export function funnel(steps) {
  const [, first] = steps[0];
  return h(
    "ol",
    { class: "funnel" },
    steps.map(([name, count], at) => {
      const share = first === 0 ? 0 : (count / first) * 100;
      return h(
        "li",
        null,
        h("span", { class: "name" }, name),
        h("span", { class: "number" }, number(count)),
        at > 0 && h("span", { class: "soft share" }, t.chart.share(share)),
        h("progress", { max: "100", value: share, "aria-hidden": "true" }),
      );
    }),
  );
}
