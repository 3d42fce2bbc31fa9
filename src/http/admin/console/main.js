// The console's frame: who is logged in, which page is shown, and the draft that waits to be deployed.

import { get, send, told } from "./api.js";
import { closeDialogs, h } from "./dom.js";
import { icon } from "./icons.js";
import { session } from "./session.js";
import { t } from "./texts.js";
import { button, errorNote, iconButton, toasts } from "./ui.js";

/** Pages: a pattern of the address after `#/`, its file, and whose place in the navigation it is. */
const PAGES = [
  ["overview", "overview"],
  ["live", "live"],
  ["users", "users"],
  ["users/:user", "user", "users"],
  ["meters", "meters"],
  ["authentication", "authentication"],
  ["authentication/:provider", "provider", "authentication"],
  ["deployments", "deployments"],
  ["deployments/:number", "deployment", "deployments"],
  ["networks", "networks"],
  ["keys", "keys"],
  ["audit", "audit"],
  ["admins", "admins"],
  ["account", "account", "account"],
  ["settings", "settings"],
];

const GROUPS = [
  [t.nav.groups.now, ["overview", "live"]],
  [t.nav.groups.people, ["users", "meters"]],
  [t.nav.groups.app, ["authentication", "deployments"]],
  [t.nav.groups.server, ["networks", "keys", "settings"]],
  [t.nav.groups.admins, ["admins", "audit"]],
];

const THEMES = ["system", "light", "dark"];
/** How often a page's script is asked for again. */
const MOST_LOADS = 3;
/** How often it is looked whether someone else changed the draft; where the server is away, sooner at first. */
const LOOK_MS = 15_000;
const LOOK_AGAIN_MS = 1000;

let shown = null;
let frame = null;

/** A part of the address; `null` where it is none. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function match(path) {
  for (const [pattern, file, nav = file] of PAGES) {
    const [wanted, given] = [pattern.split("/"), path.split("/")];
    if (wanted.length !== given.length) continue;
    const params = {};
    const fits = wanted.every((text, at) => {
      if (!text.startsWith(":")) return text === given[at];
      params[text.slice(1)] = decoded(given[at]);
      return Boolean(params[text.slice(1)]);
    });
    if (fits) return { file, nav, params };
  }
  return null;
}

function address() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path || "overview", query: Object.fromEntries(new URLSearchParams(query)) };
}

/** Goes to a page; whoever is there already sees it as it is now. */
export function go(path, query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== "");
  const wanted = `#/${path}${given.length > 0 ? `?${new URLSearchParams(given)}` : ""}`;
  if (location.hash === wanted) showPage();
  else location.hash = wanted;
}

/** A page's script; while the server cannot be reached, it comes when it is back. */
async function load(file, signal) {
  for (let again = 0; ; again += 1) {
    try {
      // a browser may keep that an address failed
      return await import(`./pages/${file}.js${again > 0 ? `?${again}` : ""}`);
    } catch (error) {
      if (again === MOST_LOADS || !(error instanceof TypeError)) throw error;
      await get("/v1/admin/me", { signal });
    }
  }
}

async function showPage({ isFirst = false } = {}) {
  const { path, query } = address();
  const found = match(path);
  shown?.abort();
  closeDialogs();
  shown = new AbortController();
  const { signal } = shown;
  const page = h("div", { class: "page" });
  // what a page began and ends after it was left leads nowhere
  const goOn = (...where) => signal.aborted || go(...where);
  const view = { root: page, params: found?.params ?? {}, query, signal, go: goOn, refreshApp };
  for (const link of frame.links) {
    if (link.dataset.page === found?.nav) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  frame.closeMenu();
  const place = frame.main;
  try {
    if (found === null) throw new Error(t.error.noPage);
    const { render, title } = await load(found.file, signal);
    if (signal.aborted) return;
    document.title = `${title(view)} · Passerby`;
    place.replaceChildren(page);
    await render(view);
  } catch (error) {
    if (signal.aborted) return;
    page.replaceChildren(h("h1", { tabindex: "-1" }, t.error.title), errorNote(error, () => showPage()));
    place.replaceChildren(page);
  }
  // whoever follows a link by keyboard goes on from the head of the page
  if (!isFirst && !page.contains(document.activeElement)) {
    scrollTo(0, 0);
    page.querySelector("h1")?.focus({ preventScroll: true });
  }
}

let [asked, heard] = [0, 0];
/**
 * Asks what is deployed, and shows whether a draft waits. With a page's `signal` it waits for a server that is away; without one it
 * asks once.
 */
async function refreshApp({ signal, unattended } = {}) {
  const own = (asked += 1);
  const app = await get("/v1/admin/app", { signal, unattended, once: signal === undefined });
  // an answer that comes late is older than what is known
  if (own > heard) {
    [heard, session.app] = [own, app];
    frame?.showDraft();
    document.dispatchEvent(new CustomEvent("app"));
  }
  return app;
}

function draftBanner() {
  const place = h("div", { id: "draft", "aria-live": "polite" });
  let last = null;
  const show = () => {
    const draft = session.app?.draft;
    const now = draft ? `${draft.revision} ${draft.by} ${draft.at}` : null;
    if (now === last) return;
    last = now;
    place.replaceChildren();
    if (!draft) return;
    place.append(
      h(
        "div",
        { class: "banner" },
        icon("deployments"),
        h("p", null, h("strong", null, t.draft.waits), " ", h("span", { class: "soft" }, t.draft.by(draft.by, draft.changes.length))),
        button(t.draft.review, { kind: "primary", press: async () => (await import("./draft.js")).review({ refreshApp }) }),
      ),
    );
  };
  return { place, show };
}

function themeButton() {
  const stored = () => document.documentElement.dataset.theme ?? "system";
  const made = h("button", { type: "button", class: "icon-button", id: "theme" });
  const show = () => {
    const theme = stored();
    made.replaceChildren(icon(theme));
    made.setAttribute("aria-label", t.theme[theme]);
    made.title = t.theme[theme];
  };
  made.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(stored()) + 1) % THEMES.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("passerby-theme", next);
    } catch {
      // it is good until the page is left
    }
    show();
  });
  show();
  return made;
}

const brand = () =>
  h("a", { class: "brand", href: "#/overview" }, h("img", { src: "/console/icon.svg", alt: "", width: "28", height: "28" }), h("span", null, "Passerby"));

async function logOut() {
  try {
    await send("POST", "/v1/admin/logout");
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  session.asker = null;
  return start();
}

function buildFrame() {
  const draft = draftBanner();
  const main = h("main", { id: "main", tabindex: "-1" });
  const links = [];
  const link = (name, label = t.nav[name], glyph = name) => {
    const made = h("a", { href: `#/${name}`, "data-page": name }, icon(glyph), h("span", null, label));
    links.push(made);
    return made;
  };
  const nav = h(
    "nav",
    { id: "nav", "aria-label": t.nav.label },
    GROUPS.map(([title, names]) => h("div", { class: "group" }, h("h2", null, title), h("ul", null, names.map((name) => h("li", null, link(name)))))),
  );
  const { who, role } = session.asker;
  const isAdmin = !who.startsWith("key:") && who !== "local";
  const account = h(
    "div",
    { class: "account" },
    isAdmin ? link("account", [h("strong", null, who), h("small", null, role)], "admins") : h("span", null, who, " ", h("small", null, role)),
    iconButton(t.logOut, "out", logOut, { id: "log-out" }),
  );
  const menu = h("button", { type: "button", class: "icon-button menu", "aria-label": t.nav.menu, "aria-expanded": "false", "aria-controls": "side" }, icon("menu"));
  const side = h("div", { id: "side", class: "side" }, h("div", { class: "top" }, brand()), nav, h("div", { class: "foot" }, account, themeButton()));
  const setMenu = (isOpen) => {
    menu.setAttribute("aria-expanded", String(isOpen));
    document.body.classList.toggle("menu-open", isOpen);
    menu.replaceChildren(icon(isOpen ? "close" : "menu"));
  };
  menu.addEventListener("click", () => setMenu(menu.getAttribute("aria-expanded") !== "true"));
  const scrim = h("div", { class: "scrim", on: { click: () => setMenu(false) } });
  document.body.replaceChildren(
    h("a", { class: "skip", href: "#main", on: { click: (event) => (event.preventDefault(), main.focus()) } }, t.skip),
    h("div", { id: "frame" }, h("header", { class: "bar" }, menu, brand()), side, scrim, h("div", { class: "body" }, draft.place, waitingNote(), main)),
    toasts({ id: "toasts" }),
  );
  frame = { main, links, showDraft: draft.show, closeMenu: () => setMenu(false), menu };
}

/** Where it is said that the server is not there yet; whatever asked goes on when it is. */
const waitingNote = () => h("div", { id: "waiting", role: "status", "aria-live": "polite" });

let [nextLook, again_ms, isLooking] = [null, LOOK_AGAIN_MS, false];
/** Looks whether someone else changed the draft, one look at a time. */
async function look() {
  if (isLooking) return;
  isLooking = true;
  clearTimeout(nextLook);
  let isAway = false;
  if (!document.hidden && session.asker !== null) {
    try {
      await refreshApp({ unattended: true });
    } catch {
      isAway = true;
    }
  }
  isLooking = false;
  again_ms = isAway ? Math.min(2 * again_ms, LOOK_MS) : LOOK_AGAIN_MS;
  nextLook = setTimeout(look, isAway ? again_ms : LOOK_MS);
}

async function showLogin(why) {
  shown?.abort();
  closeDialogs();
  frame = null;
  session.asker = null;
  session.app = null;
  const { render } = await import("./pages/login.js");
  document.title = t.login.documentTitle;
  document.body.className = "";
  document.body.replaceChildren(waitingNote(), toasts({ id: "toasts" }));
  render({ why, theme: themeButton(), done: start });
}

async function start() {
  document.body.className = "";
  if (document.body.querySelector("#waiting") === null) document.body.append(waitingNote());
  try {
    session.asker = await get("/v1/admin/me");
  } catch (error) {
    return showLogin(error.status === 401 ? null : error);
  }
  buildFrame();
  const first = showPage({ isFirst: true });
  look();
  return first;
}

told.addEventListener("waiting", ({ detail: why }) => {
  const says = why ? [h("div", { class: "banner waiting" }, h("span", { class: "spinner" }), h("p", null, t.waiting[why]))] : [];
  document.getElementById("waiting")?.replaceChildren(...says);
});
told.addEventListener("ended", () => {
  if (session.asker !== null) showLogin("ended");
});
addEventListener("hashchange", () => frame && showPage());
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable], dialog");
  if (event.key === "Escape") frame?.closeMenu();
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || frame === null) return;
  event.preventDefault();
  const box = document.getElementById("find");
  if (box) box.focus();
  else go("users", { find: "1" });
});
document.addEventListener("visibilitychange", look);

start();
