// Users: found by anything that names them, listed page by page with filters, and acted on in bulk.

import { get, send } from "../api.js";
import { beginBulk, bulkPanel } from "../bulk.js";
import { ask, show } from "../dialogs.js";
import { h, replace } from "../dom.js";
import { ago, fromLocal, number, time, toLocal } from "../format.js";
import { icon } from "../icons.js";
import { session } from "../session.js";
import { t } from "../texts.js";
import { badge, button, card, checkbox, copyable, emptyNote, errorNote, field, iconButton, input, pageHead, select, skeleton, table, toast } from "../ui.js";

export const title = () => t.users.title;

const PAGE = 50;
const FLAGS = ["anonymous", "disabled", "never_came_back", "has_document"];
const TIMES = ["created_from", "created_until", "seen_from", "seen_until"];
export const FILTERS = [...FLAGS, "provider", ...TIMES];
/** The filters that have a button of their own, as [name, query, count]. */
const QUICK = [
  ["all", {}, "users"],
  ["anonymous", { anonymous: "true" }, "anonymous"],
  ["accounts", { anonymous: "false" }, "accounts"],
  ["disabled", { disabled: "true" }, "disabled"],
  ["neverCameBack", { never_came_back: "true" }, "never_came_back"],
  ["withDocument", { has_document: "true" }, "has_document"],
];

const only = (query, names) => Object.fromEntries(names.filter((name) => query[name]).map((name) => [name, query[name]]));
const same = (one, other) => JSON.stringify(Object.entries(one).sort()) === JSON.stringify(Object.entries(other).sort());

export const badgesOf = (user) => [
  user.anonymous ? badge(t.users.anonymous) : badge(t.users.account, "accent"),
  user.disabled && [" ", badge(user.disabled_until ? t.users.disabledUntil(new Date(user.disabled_until)) : t.users.disabled, "bad", user.disabled_reason)],
  user.never_came_back && [" ", badge(t.users.neverCameBack, "quiet")],
];

const COLUMNS = [
  {
    title: t.users.user,
    kind: "main",
    cell: (user) => h("a", { href: `#/users/${user.user_id}`, class: "id" }, user.user_id),
  },
  { title: t.users.kind, kind: "kinds", cell: badgesOf },
  { title: t.users.providers, cell: ({ providers }) => (providers.length > 0 ? providers.join(", ") : h("span", { class: "soft" }, t.none)) },
  { title: t.users.created, cell: ({ created }) => time(created) },
  { title: t.users.lastSeen, cell: ({ last_seen }) => ago(last_seen) },
  { title: t.users.sessions, kind: "number", cell: ({ sessions }) => number(Array.isArray(sessions) ? sessions.length : sessions) },
];

/** The box that takes anything, and what it found. */
function search({ signal, go, focus }) {
  const box = input({ id: "find", type: "search", placeholder: t.users.findPlaceholder, "aria-describedby": "find-help", enterkeyhint: "search" });
  const found = h("div", { id: "found", "aria-live": "polite" });
  let turn = 0;
  const find = async () => {
    const text = box.value.trim();
    const own = (turn += 1);
    if (text === "") return found.replaceChildren();
    found.replaceChildren(h("div", { class: "card" }, skeleton(1)));
    try {
      const { users } = await send("POST", "/v1/admin/users/find", { text }, { signal });
      if (own !== turn) return undefined;
      if (users.length === 1) {
        toast(t.users.foundBy[users[0].found_by] ?? users[0].found_by);
        return go(`users/${users[0].user_id}`);
      }
      return found.replaceChildren(
        card(
          t.users.found(users.length),
          { actions: iconButton(t.close, "close", () => ((box.value = ""), found.replaceChildren(), box.focus())) },
          table({
            caption: t.users.found(users.length),
            rows: users,
            empty: t.users.foundNone,
            columns: [...COLUMNS.slice(0, 2), { title: t.users.by, cell: ({ found_by }) => t.users.foundBy[found_by] ?? found_by }, ...COLUMNS.slice(2)],
          }),
        ),
      );
    } catch (error) {
      if (!signal.aborted && own === turn) found.replaceChildren(errorNote(error, find));
    }
    return undefined;
  };
  const form = h(
    "form",
    { class: "find", role: "search", "aria-label": t.users.find },
    h("label", { for: "find", class: "unseen" }, t.users.find),
    h("div", { class: "find-box" }, icon("search"), box, h("kbd", { "aria-hidden": "true" }, "/"), button(t.users.findAction, { kind: "primary", type: "submit" })),
    h("p", { class: "help", id: "find-help" }, t.users.findHelp),
  );
  form.addEventListener("submit", (event) => (event.preventDefault(), find()));
  // what was pasted is whole
  box.addEventListener("paste", () => setTimeout(find));
  if (focus) setTimeout(() => box.focus());
  return [form, found];
}

function filterPanel({ query, go, filter }) {
  const dates = (name, label) => field(label, input({ name, type: "datetime-local", value: toLocal(query[name]) }));
  const either = (name, label) => field(label, select([["", t.any], ["true", t.yes], ["false", t.no]], query[name] ?? "", { name }));
  const provider = select([["", t.any], ...(query.provider ? [[query.provider, query.provider]] : [])], query.provider ?? "", { name: "provider" });
  const form = h(
    "form",
    { class: "filters", id: "more-filters" },
    either("anonymous", t.users.filters.anonymous),
    either("disabled", t.users.filters.disabled),
    either("never_came_back", t.users.filters.never_came_back),
    either("has_document", t.users.filters.has_document),
    field(t.users.filters.provider, provider),
    field(t.users.filters.order, select([["newest", t.users.newest], ["oldest", t.users.oldest]], query.order ?? "newest", { name: "order" })),
    dates("created_from", t.users.filters.created_from),
    dates("created_until", t.users.filters.created_until),
    dates("seen_from", t.users.filters.seen_from),
    dates("seen_until", t.users.filters.seen_until),
    h("div", { class: "filter-actions" }, button(t.apply, { type: "submit", kind: "primary" }), h("a", { class: "button", href: "#/users" }, t.clear)),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(form));
    // what was not touched stays to the second
    for (const name of TIMES) values[name] = values[name] && values[name] === toLocal(query[name]) ? query[name] : fromLocal(values[name]);
    if (values.order === "newest") delete values.order;
    go("users", values);
  });
  const open = TIMES.some((name) => query[name]) || query.provider || Object.keys(filter).length > 1;
  const shown = h("details", { class: "more-filters", open: Boolean(open) }, h("summary", null, t.users.moreFilters), form);
  /** Says how many users each provider has; what somebody chose meanwhile stays. */
  const count = (providers) => {
    for (const [name, users] of Object.entries(providers)) {
      const option = [...provider.options].find(({ value }) => value === name) ?? provider.appendChild(h("option", { value: name }));
      option.textContent = `${name} (${number(users)})`;
    }
  };
  return { shown, count };
}

/** Pages that were seen one after the other, by what was asked for: their cursors, and whether the first is the list's first. */
const trails = new Map();

/** The trail with this page on it, and where. A link may lead to a page whose place nobody knows. */
function trailOf(key, after) {
  const known = trails.get(key);
  const at = known?.cursors.indexOf(after) ?? -1;
  if (at >= 0) return { ...known, at };
  const begun = { cursors: [after], isFromFirst: after === undefined };
  trails.set(key, begun);
  return { ...begun, at: 0 };
}

export async function render(view) {
  const { root, query, signal, go } = view;
  const filter = only(query, FILTERS);
  const order = query.order;
  const quick = h("nav", { class: "chips", "aria-label": t.users.filter });
  const panel = filterPanel({ query, go, filter });
  const list = h("div", { id: "users", "aria-busy": "true" }, skeleton(12));
  const job = h("div");
  root.append(
    pageHead(
      t.users.title,
      t.users.about,
      button(t.users.create, { glyph: "plus", needs: "operate", press: () => create(view) }),
      button(t.bulk.open, { glyph: "bolt", needs: "operate", press: () => beginBulk({ filter, begun: (job) => follow(job) }) }),
    ),
    ...search({ signal, go, focus: query.find }),
    job,
    quick,
    panel.shown,
    list,
  );
  const follow = bulkPanel(job, { signal, ended: () => load() });

  const counted = QUICK.map(([name, wanted, count]) => {
    const shown = h("span", { class: "count" }, "…");
    const href = `#/users?${new URLSearchParams(wanted)}`.replace(/\?$/, "");
    quick.append(h("a", { href, class: "chip", "aria-current": same(filter, wanted) ? "true" : undefined }, h("span", null, t.users.quick[name]), " ", shown));
    return [shown, count];
  });
  const showCounts = (counts) => {
    for (const [shown, count] of counted) shown.textContent = number(counts[count]);
    panel.count(counts.providers);
  };

  const { cursors, isFromFirst, at } = trailOf(JSON.stringify([filter, order]), query.after);

  const paging = ({ users, next, looked_at }) => {
    const link = (label, glyph, after, kind) =>
      h("a", { class: `button ${kind ?? ""}`, href: `#/users?${new URLSearchParams(Object.entries({ ...filter, order, after }).filter(([, value]) => value))}` }, glyph === "back" && icon(glyph), label, glyph === "next" && icon(glyph));
    if (next && !cursors.includes(next)) cursors.splice(at + 1, cursors.length, next);
    const hasBefore = Boolean(query.after);
    if (!next && !hasBefore) return h("p", { class: "paging soft" }, t.users.shown(users.length));
    return h(
      "nav",
      { class: "paging", "aria-label": t.users.paging },
      h("span", { class: "soft" }, isFromFirst ? t.users.page(at + 1) : "", users.length < PAGE && next ? ` · ${t.users.lookedAt(looked_at)}` : ""),
      hasBefore && link(t.users.firstPage, null, undefined),
      at > 0 && link(t.users.before, "back", cursors[at - 1]),
      next && link(t.users.next, "next", next),
    );
  };
  const load = async () => {
    try {
      const counting = get("/v1/admin/users/counts", { signal }).then(showCounts);
      counting.catch(() => {});
      const answer = await get("/v1/admin/users", { signal, query: { ...filter, order, after: query.after, limit: PAGE } });
      const none = Object.keys(filter).length > 0 ? emptyNote(t.users.noneFits, h("a", { class: "button", href: "#/users" }, t.users.showAll)) : emptyNote(t.users.none);
      replace(
        list,
        answer.users.length === 0 && !answer.next ? none : table({ caption: t.users.title, rows: answer.users, columns: COLUMNS, empty: t.users.noneYet }),
        paging(answer),
      );
    } catch (error) {
      if (!signal.aborted) replace(list, errorNote(error, load));
    } finally {
      list.removeAttribute("aria-busy");
    }
  };
  await load();
}

/** Creates one user, or many for a test. */
async function create({ go }) {
  const kinds = [["one", t.users.createOne], ["many", t.users.createMany]];
  const kind = select(kinds, "one", { name: "kind" });
  const id = input({ name: "user_id", placeholder: t.users.idPlaceholder });
  const email = input({ name: "email", type: "email" });
  const password = input({ name: "password", type: "password", autocomplete: "new-password" });
  const data = h("textarea", { name: "data", rows: "3", spellcheck: "false", placeholder: '{"theme": "dark"}' });
  const withSession = checkbox(t.users.withSession, { name: "session" });
  const count = input({ name: "count", type: "number", min: "1", max: "1000", value: "10" });
  const one = h("div", null, field(t.users.id, id, { help: t.users.idHelp }), field(t.users.email, email, { help: t.users.emailHelp }), field(t.login.password, password), field(t.users.data, data, { help: t.users.dataHelp }), withSession.shown);
  const many = h("div", { hidden: true }, field(t.users.count, count, { help: t.users.countHelp }));
  kind.addEventListener("change", () => {
    for (const [name, part] of [["one", one], ["many", many]]) {
      part.hidden = kind.value !== name;
      // what is not shown cannot be wrong
      part.querySelectorAll("input, textarea").forEach((control) => (control.disabled = part.hidden));
    }
  });
  count.disabled = true;
  const made = await ask({
    title: t.users.create,
    fields: [field(t.users.howMany, kind), one, many],
    action: t.create,
    run: () => {
      if (kind.value === "many") return send("POST", "/v1/admin/users/batch", { count: Number(count.value) });
      const body = {};
      for (const box of [id, email]) if (box.value.trim() !== "") body[box.name] = box.value.trim();
      if (password.value !== "") body.password = password.value;
      if (data.value.trim() !== "") body.data = parsed(data.value);
      if (withSession.control.checked) body.session = true;
      return send("POST", "/v1/admin/users", body);
    },
  });
  if (!made) return;
  if (made.users) {
    await show({ title: t.users.createdMany(made.users.length), content: h("textarea", { rows: "10", readonly: true, "aria-label": t.users.ids }, made.users.map(({ user_id }) => user_id).join("\n")) });
    go("users");
    return;
  }
  toast(t.users.createdOne);
  if (made.access_token) {
    await show({
      title: t.users.tokens,
      content: [h("p", null, t.users.tokensOnce), h("h3", null, t.users.accessToken), copyable(made.access_token), h("h3", null, t.users.refreshToken), copyable(made.refresh_token)],
    });
  }
  go(`users/${made.user_id}`);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(t.users.dataNotJson);
  }
}
