// Admins and their sessions.

import { send } from "../api.js";
import { ask, confirm } from "../dialogs.js";
import { h } from "../dom.js";
import { ago, time } from "../format.js";
import { session } from "../session.js";
import { t } from "../texts.js";
import { badge, button, card, field, input, loaded, note, pageHead, select, table, toast } from "../ui.js";

export const title = () => t.admins.title;

export const ROLES = ["read", "operate", "owner"];
const roleSelect = (value) => select(ROLES.map((role) => [role, t.roles[role]]), value, { name: "role" });

/** A table of sessions of admins, each of which can be ended. */
export function sessionsOf(place, { path, signal, end, withWho }) {
  const remove = async (one) => {
    const done = await confirm({ title: t.admins.endSession, says: one.current ? t.admins.endOwnSays : t.admins.endSays(one.who), action: t.user.end, run: () => send("DELETE", end(one)) });
    if (!done) return;
    toast(t.user.sessionEnded);
    again();
  };
  const again = loaded(place, {
    path,
    signal,
    rows: 3,
    draw: ({ sessions }) =>
      table({
        caption: t.admins.sessions,
        rows: sessions,
        empty: t.admins.noSessions,
        columns: [
          withWho && { title: t.admins.who, kind: "main", cell: ({ who, current }) => [h("strong", null, who), current && [" ", badge(t.admins.mine, "accent")]] },
          { title: t.user.started, kind: withWho ? "" : "main", cell: ({ began, current }) => [time(began), !withWho && current && [" ", badge(t.admins.mine, "accent")]] },
          { title: t.user.lastUsed, cell: ({ last_used }) => ago(last_used) },
          { title: t.audit.from, cell: ({ address }) => (address ? h("code", null, address) : h("span", { class: "soft" }, t.none)) },
          { title: t.unseen.actions, kind: "end", cell: (one) => button(t.user.end, { kind: "small quiet-danger", press: () => remove(one), "aria-label": withWho ? t.admins.endOf(one.who) : t.user.endOf(one.id) }) },
        ].filter(Boolean),
      }),
  });
  return again;
}

export async function render({ root, signal }) {
  const place = h("div");
  const create = async () => {
    const name = input({ name: "name", required: true, autocapitalize: "none" });
    const password = input({ name: "password", type: "password", required: true, minlength: "12", maxlength: "128", autocomplete: "new-password" });
    const role = roleSelect("read");
    const done = await ask({
      title: t.admins.create,
      fields: [field(t.admins.name, name), field(t.login.password, password, { help: t.admins.passwordHelp }), field(t.admins.role, role)],
      action: t.create,
      run: () => send("POST", "/v1/admin/admins", { name: name.value.trim(), password: password.value, role: role.value }),
    });
    if (done) (toast(t.admins.created), again());
  };
  const change = async (admin) => {
    const role = roleSelect(admin.role);
    const password = input({ name: "password", type: "password", minlength: "12", maxlength: "128", autocomplete: "new-password" });
    const done = await ask({
      title: t.admins.changeOf(admin.name),
      fields: [field(t.admins.role, role), field(t.admins.newPassword, password, { help: t.admins.newPasswordHelp })],
      action: t.save,
      run: () => {
        const body = {};
        if (role.value !== admin.role) body.role = role.value;
        if (password.value !== "") body.password = password.value;
        return Object.keys(body).length > 0 ? patch(admin, body) : true;
      },
    });
    if (done) (toast(t.admins.changed), again());
  };
  const patch = ({ name }, body) => send("PATCH", `/v1/admin/admins/${encodeURIComponent(name)}`, body);
  const act = async (options, text) => {
    if (await confirm(options)) (toast(text), again());
  };
  const actions = (admin) => {
    const own = admin.name === session.asker.who ? t.admins.own : undefined;
    const common = { locked: own, needs: "owner" };
    const name = admin.name;
    return h(
      "div",
      { class: "row-actions" },
      button(t.change, { kind: "small", ...common, press: () => change(admin), "aria-label": t.admins.changeOf(name) }),
      admin.totp && button(t.admins.removeTotp, { kind: "small", ...common, press: () => act({ title: t.admins.removeTotp, says: t.admins.removeTotpSays(name), action: t.admins.removeTotp, run: () => patch(admin, { totp: false }) }, t.admins.changed), "aria-label": t.admins.removeTotpOf(name) }),
      admin.disabled
        ? button(t.user.enable, { kind: "small", ...common, press: () => act({ title: t.admins.enableOf(name), says: t.admins.enableSays, action: t.user.enable, kind: "primary", run: () => patch(admin, { disabled: false }) }, t.admins.changed), "aria-label": t.admins.enableOf(name) })
        : button(t.user.disable, { kind: "small quiet-danger", ...common, press: () => act({ title: t.admins.disableOf(name), says: t.admins.disableSays, action: t.user.disable, run: () => patch(admin, { disabled: true }) }, t.admins.changed), "aria-label": t.admins.disableOf(name) }),
      button(t.delete, { kind: "small quiet-danger", ...common, press: () => act({ title: t.admins.deleteOf(name), says: t.admins.deleteSays, action: t.delete, run: () => send("DELETE", `/v1/admin/admins/${encodeURIComponent(name)}`) }, t.admins.deleted), "aria-label": t.admins.deleteOf(name) }),
    );
  };
  root.append(pageHead(t.admins.title, t.admins.about, button(t.admins.create, { glyph: "plus", needs: "owner", press: create })), place);
  if (!session.may("owner")) {
    place.append(note("info", h("p", null, session.lacks("owner"))));
    return;
  }
  const again = loaded(place, {
    path: "/v1/admin/admins",
    signal,
    rows: 4,
    draw: ({ admins }) =>
      table({
        caption: t.admins.title,
        rows: admins,
        columns: [
          { title: t.admins.name, kind: "main", cell: ({ name, disabled }) => [h("strong", null, name), name === session.asker.who && [" ", badge(t.admins.you, "accent")], disabled && [" ", badge(t.users.disabled, "bad")]] },
          { title: t.admins.role, cell: ({ role }) => badge(role) },
          { title: t.admins.totp, cell: ({ totp }) => (totp ? badge(t.on, "good") : h("span", { class: "soft" }, t.off)) },
          { title: t.users.created, cell: ({ created }) => time(created) },
          { title: t.admins.passwordSet, cell: ({ password_set }) => ago(password_set) },
          { title: t.unseen.actions, kind: "end", cell: actions },
        ],
      }),
  });
  const sessions = h("div");
  root.append(card(t.admins.sessions, { about: t.admins.sessionsAbout }, sessions));
  sessionsOf(sessions, { path: "/v1/admin/sessions", signal, end: ({ id }) => `/v1/admin/sessions/${encodeURIComponent(id)}`, withWho: true });
  await again.first;
}
