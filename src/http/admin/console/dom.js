// Elements. Text goes in as text alone: nothing here reads HTML, and the page's policy (Trusted Types) forbids it.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value" || name === "checked" || name === "indeterminate") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** An element of HTML. */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** An element of SVG. */
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

let ids = 0;
/** An id that no other element has. */
export const newId = (prefix = "c") => `${prefix}-${(ids += 1)}`;

/** Resolves after this time; rejects when the signal is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const aborted = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";
/** What tells one that can have the keyboard from the others; figures in the text of a link change. */
const nameOf = (element) => [element.tagName, element.getAttribute("href") ?? element.id, element.name, element.getAttribute("aria-label") ?? (element.href ? "" : element.textContent)].join(" ");

/**
 * Puts new content into a place. What had the keyboard there has it still: its like, what now stands there if as much can have it as
 * before, or else the head of the page.
 */
export function replace(place, ...content) {
  const held = document.activeElement;
  const before = held !== place && place.contains(held) ? [...place.querySelectorAll(FOCUSABLE)] : [];
  const [at, name] = [before.indexOf(held), held && nameOf(held)];
  place.replaceChildren(...content);
  if (at < 0) return;
  const now = [...place.querySelectorAll(FOCUSABLE)];
  const isLike = (one) => nameOf(one) === name;
  const alike = now.filter(isLike);
  const like = alike[before.slice(0, at).filter(isLike).length] ?? alike[0] ?? (now.length === before.length ? now[at] : undefined);
  (like ?? document.querySelector("main h1"))?.focus({ preventScroll: true });
}

/** Closes the dialogs of a page that is left: what they would do is what that page was about. */
export const closeDialogs = () => document.querySelectorAll("dialog[open]:not([data-stays])").forEach((dialog) => dialog.close());
