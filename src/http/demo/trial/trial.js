// The to-do list's script. The list is the reader's document, {items: {ID: {text, done, at}}, ticked}: each item has a key
// of its own, so that of what two windows change at once both is kept.

import { connect } from "/passerby-live.js";
import { logout } from "/passerby.js";

const code = new URLSearchParams(location.hash.slice(1)).get("code");
// before anything else: the code is good for a session, and addresses are shared and kept
if (location.hash !== "") history.replaceState(null, "", location.pathname);
// the link of a different code, opened here
addEventListener("hashchange", () => location.reload());

const ENDINGS = {
  "logged-out": "You have started over elsewhere.",
  linked: "The list belongs to an account now: go on, and log in.",
};

const element = (id) => document.getElementById(id);
const rows = new Map();
let waiting = 0;
let connection;

async function call(path, body) {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail ?? `${response.status}`);
  return answer;
}

/** Does what a click asked for, and says what went wrong. */
async function attempt(work) {
  element("trouble").textContent = "";
  try {
    await work();
  } catch (error) {
    element("trouble").textContent = error.message;
  }
}

/** Changes the list: at once, or when there is a connection again. */
const change = (...changes) =>
  attempt(async () => {
    waiting += 1;
    showStatus();
    try {
      await Promise.all(changes.map((make) => make(connection)));
    } finally {
      waiting -= 1;
      showStatus();
      showItems();
    }
  });

const changeItem = (id, item) => change((list) => list.patch({ items: { [id]: item } }));

function row(id) {
  const item = document.createElement("li");
  const done = Object.assign(document.createElement("input"), { type: "checkbox" });
  const text = Object.assign(document.createElement("input"), { type: "text", maxLength: 200 });
  const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
  done.addEventListener("change", () => {
    const ticked = (list) => list.patch({ items: { [id]: { done: done.checked } } });
    change(ticked, ...(done.checked ? [(list) => list.increment("/ticked")] : []));
  });
  text.addEventListener("change", () => changeItem(id, text.value.trim() === "" ? null : { text: text.value.trim() }));
  text.addEventListener("keydown", ({ key }) => key === "Enter" && text.blur());
  remove.addEventListener("click", () => changeItem(id, null));
  item.append(done, text, remove);
  return { item, done, text, remove };
}

function showItems() {
  const { items = {}, ticked = 0 } = connection.data ?? {};
  // one that was deleted in one window while it was ticked in a second has no text any more
  const shown = Object.entries(items).filter(([, { text }]) => text !== undefined);
  shown.sort(([, a], [, b]) => a.at - b.at);
  for (const [id, { item }] of rows) {
    if (shown.some(([shownId]) => shownId === id)) continue;
    item.remove();
    rows.delete(id);
  }
  for (const [index, [id, { text, done }]] of shown.entries()) {
    if (!rows.has(id)) rows.set(id, row(id));
    const shownRow = rows.get(id);
    shownRow.item.className = done ? "done" : "";
    Object.assign(shownRow.done, { checked: done, ariaLabel: `Done: ${text}` });
    // not under the hands of who writes there
    if (document.activeElement !== shownRow.text) shownRow.text.value = text;
    shownRow.text.ariaLabel = `Edit: ${text}`;
    shownRow.remove.ariaLabel = `Delete: ${text}`;
    const list = element("items");
    if (list.children[index] !== shownRow.item) list.insertBefore(shownRow.item, list.children[index]);
  }
  const finished = shown.filter(([, { done }]) => done).length;
  element("done").textContent = `${finished} of ${shown.length} done`;
  element("ticked").textContent = `${ticked} ticked off in all`;
  element("empty").hidden = shown.length > 0;
}

function showStatus() {
  const { status } = connection;
  document.body.dataset.status = status;
  const held = waiting === 0 ? "" : `, ${waiting} to send`;
  element("status").textContent = { open: "live", connecting: `connecting …${held}`, closed: "ended" }[status];
}

function showUser() {
  const { user, anonymous } = connection;
  document.body.dataset.kind = anonymous ? "anonymous" : "member";
  element("user").textContent = user;
  element("kind").textContent = anonymous ? "trying out" : "account";
  element("start-over").textContent = anonymous ? "Start over" : "Log out";
  element("keep").hidden = !anonymous;
  element("kept").hidden = anonymous;
}

/** The session is over: there is one way on, and nothing else that looks as if it did something. */
function showEnd({ code, message }) {
  element("reason").textContent = ENDINGS[code] ?? message;
  const texts = [...rows.values()].map(({ item, text }) =>
    Object.assign(document.createElement("li"), { textContent: text.value, className: item.className }),
  );
  element("last").replaceChildren(...texts);
  element("kept-text").hidden = texts.length === 0;
  element("notice").hidden = false;
  element("main").hidden = true;
  element("start-over").hidden = true;
  element("go-on").focus();
}

/** What the account has otherwise, where both had something. */
function showConflicts(conflicts, truncated) {
  const lines = conflicts.map(({ pointer, value }) => `${pointer}: ${JSON.stringify(value)}`);
  if (truncated) lines.push("… and more");
  const items = lines.map((textContent) => Object.assign(document.createElement("li"), { textContent }));
  element("left-out").replaceChildren(...items);
  element("conflicts").hidden = lines.length === 0;
}

async function showCode() {
  const { code, expires_in } = await call("/v1/session/transfer", {});
  const url = `${location.origin}/#code=${code}`;
  const response = await fetch("/demo/qr", { method: "POST", body: url });
  if (!response.ok) throw new Error(`no QR code: ${response.status}`);
  const image = URL.createObjectURL(await response.blob());
  element("qr").addEventListener("load", () => URL.revokeObjectURL(image), { once: true });
  element("qr").src = image;
  Object.assign(element("link"), { href: url, textContent: url });
  element("good-for").textContent = `${expires_in / 60} minutes`;
  const show = (isShown) => {
    element("code").hidden = !isShown;
    element("no-code").hidden = isShown;
  };
  show(true);
  clearTimeout(showCode.timer);
  showCode.timer = setTimeout(show, expires_in * 1000, false);
}

async function keep(form) {
  const { email, password } = Object.fromEntries(new FormData(form));
  await call("/v1/registrations", { email, password });
  // a user who has the account already goes on with its list, and this one joins it
  const kept = await call("/v1/user/identities", { provider: "local-userpass", email, password, on_conflict: "merge" });
  showConflicts(kept.conflicts ?? [], kept.conflicts_truncated);
  form.reset();
}

element("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = new FormData(event.target).get("text").trim();
  event.target.reset();
  // pages without TLS have no randomUUID
  const id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  if (text !== "") changeItem(id, { text, done: false, at: Date.now() });
});
element("second-device").addEventListener("click", () => attempt(showCode));
element("account").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => keep(event.target));
});
element("start-over").addEventListener("click", () =>
  attempt(async () => {
    await connection?.close();
    await logout();
    location.reload();
  }),
);
element("go-on").addEventListener("click", () => location.reload());

if (code !== null) await attempt(() => call("/v1/sessions", { mode: "cookie", provider: "transfer", code }));
try {
  connection = await connect();
  connection.on("data", showItems);
  connection.on("status", () => {
    showStatus();
    showUser();
  });
  connection.on("linked", showUser);
  connection.on("ended", showEnd);
  showStatus();
  showUser();
  showItems();
  element("main").hidden = false;
  document.body.dataset.ready = "";
} catch (error) {
  showEnd(error);
}
