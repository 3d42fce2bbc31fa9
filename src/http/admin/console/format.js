// How times, numbers and sizes are written. Times are local, with UTC when pointed at.

import { h } from "./dom.js";
import { t } from "./texts.js";

const NUMBER = new Intl.NumberFormat("en");
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const SECOND = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

const UNITS = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });

export const number = (value) => NUMBER.format(value);
export const compact = (value) => (value < 10_000 ? NUMBER.format(value) : COMPACT.format(value));

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];
export function bytes(value) {
  let [size, unit] = [value, 0];
  while (size >= 1024 && unit < SIZES.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${size >= 100 || unit === 0 ? Math.round(size) : size.toFixed(1)} ${SIZES[unit]}`;
}

/** Seconds as the two largest units: "3 d 4 h". */
export function duration(seconds) {
  const parts = [
    [Math.floor(seconds / 86_400), t.units.days],
    [Math.floor(seconds / 3600) % 24, t.units.hours],
    [Math.floor(seconds / 60) % 60, t.units.minutes],
    [Math.floor(seconds) % 60, t.units.seconds],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return `0 ${t.units.seconds}`;
  return parts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

const utc = (date) => date.toISOString().replace(".000Z", "Z");

/** A moment as text: "30 Nov 2026, 22:37". */
export function momentText(text) {
  const date = new Date(text);
  return `${DAY.format(date)}, ${MINUTE.format(date)}`;
}

/** A moment: "30 Nov 2026, 22:37". */
export function time(text, { seconds = false } = {}) {
  if (!text) return h("span", { class: "soft" }, t.none);
  const date = new Date(text);
  return h("time", { datetime: text, title: `${utc(date)} (UTC)` }, `${DAY.format(date)}, ${(seconds ? SECOND : MINUTE).format(date)}`);
}

/** The time of day. */
export function clock(text) {
  const date = new Date(text);
  return h("time", { datetime: text, title: `${utc(date)} (UTC)` }, SECOND.format(date));
}

export function agoText(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? [null, 1];
  if (unit === null) return t.justNow;
  if (unit === "day" && Math.abs(seconds) > 60 * 86_400) return DAY.format(new Date(text));
  return RELATIVE.format(Math.round(seconds / length), unit);
}

/** A moment as its distance: "3 min. ago". */
export function ago(text) {
  if (!text) return h("span", { class: "soft" }, t.none);
  const date = new Date(text);
  const exact = `${DAY.format(date)}, ${SECOND.format(date)} · ${utc(date)} (UTC)`;
  return h("time", { datetime: text, title: exact }, agoText(text));
}

/** A moment as an input for a local date and time holds it: by the offset of that day, which may have another than today. */
export function toLocal(text) {
  const date = new Date(text ?? NaN);
  return Number.isNaN(date.getTime()) ? "" : new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** What an input for a local date and time holds, as RFC 3339. */
export const fromLocal = (value) => (value ? new Date(value).toISOString() : undefined);
