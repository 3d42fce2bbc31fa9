// One user: all that is held, and what can be done.

import { get, send } from "../api.js";
import { ask, confirm } from "../dialogs.js";
import { h, replace } from "../dom.js";
import { ago, fromLocal, momentText, number, time } from "../format.js";
import { t } from "../texts.js";
import { badge, button, card, copyable, emptyNote, errorNote, facts, field, input, json, pageHead, skeleton, table, toast } from "../ui.js";
import { badgesOf } from "./users.js";

export const title = ({ params }) => params.user;

const MOST_REASON = 200;

/** A part of what is told of something that happened. */
function toldOf([name, value]) {
  if (name === "method") return t.user.methods[value] ?? value;
  if (name === "until") return `${t.user.told.until} ${momentText(value)}`;
  return `${t.user.told[name] ?? name}: ${typeof value === "object" ? JSON.stringify(value) : value}`;
}

/** What is told of something that happened, in a line: what became of it, and not what was before. */
function detailOf(detail) {
  const { before: _, after, ...rest } = detail ?? {};
  const isSaid = ([name, value]) => value === null || value === undefined || name === "disabled" || (name === "outcome" && value === "done");
  return Object.entries({ ...rest, ...after }).filter((one) => !isSaid(one)).map(toldOf).join(" · ");
}

/** The e-mail addresses that identities brought along. */
const emailsOf = (user) => [...new Set(user.identities.map(({ data }) => data?.email).filter(Boolean))];

/** Apps that tell no device have one of zeros. */
const isDevice = (id) => !/^0*$/.test(id);

/** Sessions by the device that they are on. */
function devicesOf(sessions) {
  const devices = new Map();
  for (const { device_id, last_used } of sessions) {
    if (!isDevice(device_id)) continue;
    const known = devices.get(device_id) ?? { device_id, sessions: 0, last_used };
    known.sessions += 1;
    if (last_used > known.last_used) known.last_used = last_used;
    devices.set(device_id, known);
  }
  return [...devices.values()];
}

export async function render({ root, params, signal, go }) {
  const id = params.user;
  const path = `/v1/admin/users/${encodeURIComponent(id)}`;
  const place = h("div", null, pageHead(h("code", null, id)), skeleton(10));
  root.append(h("nav", { class: "crumbs", "aria-label": t.crumbs }, h("a", { href: "#/users" }, t.users.title)), place);
  let user = null;

  const act = (done, text) => {
    if (!done) return;
    toast(text);
    load();
  };
  const endSession = async ({ id: session }) => {
    const isLast = user.anonymous && user.sessions.length === 1;
    const done = await confirm({
      title: t.user.endSession,
      whom: id,
      says: [t.user.endSessionSays, isLast && t.user.endLastSays],
      action: t.user.endSession,
      run: () => (isLast ? send("POST", `${path}/end-sessions`) : send("DELETE", `${path}/sessions/${encodeURIComponent(session)}`)),
    });
    if (done?.deleted) return leave(t.user.endedAndDeleted);
    return act(done, t.user.sessionEnded);
  };
  const leave = (text) => {
    toast(text);
    go("users");
  };
  const endAll = async () => {
    const done = await confirm({
      title: t.user.endAll,
      whom: id,
      says: [t.user.endAllSays(user.sessions.length), user.anonymous ? t.user.endLastSays : t.user.endAllAccount],
      action: t.user.endAll,
      run: () => send("POST", `${path}/end-sessions`),
    });
    if (done?.deleted) return leave(t.user.endedAndDeleted);
    return act(done, t.user.ended(done?.ended ?? 0));
  };
  const disable = async () => {
    const until = input({ name: "until", type: "datetime-local" });
    const reason = input({ name: "reason", maxlength: String(MOST_REASON) });
    const done = await ask({
      title: t.user.disable,
      whom: id,
      fields: [h("p", null, t.user.disableSays), field(t.user.until, until, { help: t.user.untilHelp }), field(t.user.reason, reason, { help: t.user.reasonHelp })],
      action: t.user.disable,
      kind: "danger",
      run: () => {
        const body = {};
        if (until.value) body.until = fromLocal(until.value);
        if (reason.value.trim()) body.reason = reason.value.trim();
        return send("POST", `${path}/disable`, body);
      },
    });
    act(done, t.user.disabledNow);
  };
  const enable = async () => {
    const done = await confirm({ title: t.user.enable, whom: id, says: t.user.enableSays, action: t.user.enable, kind: "primary", run: () => send("POST", `${path}/enable`) });
    act(done, t.user.enabledNow);
  };
  const remove = async () => {
    const done = await confirm({
      title: t.user.delete,
      whom: id,
      says: [t.user.deleteSays, user.anonymous ? t.user.deleteAnonymous : t.user.deleteAccount(user.identities.length)],
      action: t.user.delete,
      run: () => send("DELETE", path),
    });
    if (done) leave(t.user.deleted);
  };
  const grant = async ({ name }) => {
    const amount = input({ name: "amount", type: "number", min: "1", value: "1", required: true });
    const done = await ask({
      title: t.user.grantOf(name),
      whom: id,
      fields: field(t.user.amount, amount, { help: t.user.amountHelp }),
      action: t.user.grant,
      run: () => send("POST", `${path}/meters/${encodeURIComponent(name)}/grant`, { amount: Number(amount.value) }),
    });
    act(done, t.user.granted);
  };
  const reset = async ({ name }) => {
    const done = await confirm({ title: t.user.resetOf(name), whom: id, says: t.user.resetSays, action: t.user.reset, run: () => send("POST", `${path}/meters/${encodeURIComponent(name)}/reset`) });
    act(done, t.user.resetDone);
  };

  const sessions = () =>
    table({
      caption: t.user.sessions,
      rows: user.sessions,
      empty: t.user.noSessions,
      columns: [
        {
          title: t.user.session,
          kind: "main",
          cell: ({ id: session, method, api_key_id, device_id }) => [
            t.user.methods[method] ?? method,
            api_key_id && [" ", h("code", null, api_key_id)],
            h("div", { class: "soft small" }, h("code", null, session), isDevice(device_id) && [" ", t.user.on, " ", h("code", null, device_id)]),
          ],
        },
        { title: t.user.started, cell: ({ started }) => time(started) },
        { title: t.user.lastUsed, cell: ({ last_used }) => ago(last_used) },
        { title: t.unseen.actions, kind: "end", cell: (session) => button(t.user.end, { kind: "small quiet-danger", needs: "operate", press: () => endSession(session), "aria-label": t.user.endOf(session.id) }) },
      ],
    });
  const identities = () =>
    table({
      caption: t.user.identities,
      rows: user.identities,
      empty: t.user.noIdentities,
      columns: [
        { title: t.user.provider, kind: "main", cell: ({ provider }) => provider },
        { title: t.user.identity, cell: ({ id: identity }) => h("code", null, identity) },
        { title: t.user.linked, cell: ({ linked }) => time(linked) },
        { title: t.user.data, cell: ({ data }) => (data && Object.keys(data).length > 0 ? h("details", null, h("summary", null, t.show), json(data)) : h("span", { class: "soft" }, t.none)) },
      ],
    });
  const meters = () =>
    table({
      caption: t.user.meters,
      rows: user.meters,
      empty: t.user.noMeters,
      columns: [
        { title: t.user.meter, kind: "main", cell: ({ name, configured }) => [name, configured === false && [" ", badge(t.user.notConfigured, "quiet")]] },
        {
          title: t.user.used,
          cell: ({ used, limit, granted, left, lifted }) => [
            limit === null ? number(used) : t.user.usedOf(number(used), number(limit + granted)),
            granted > 0 && [" ", badge(t.user.grantedMore(number(granted)), "accent")],
            lifted && [" ", badge(t.user.lifted(lifted), "good")],
            limit === null || left === null ? "" : h("progress", { class: "short", max: String(Math.max(limit + granted, 1)), value: Math.min(used, limit + granted), "aria-label": t.user.used }),
          ],
        },
        { title: t.user.resets, cell: ({ resets }) => time(resets) },
        {
          title: t.unseen.actions,
          kind: "end",
          cell: (meter) => [
            button(t.user.grant, { kind: "small", needs: "operate", press: () => grant(meter), "aria-label": t.user.grantOf(meter.name) }),
            button(t.user.reset, { kind: "small", needs: "operate", press: () => reset(meter), "aria-label": t.user.resetOf(meter.name) }),
          ],
        },
      ],
    });
  const keys = () =>
    table({
      caption: t.user.keys,
      rows: user.api_keys,
      columns: [
        { title: t.user.keyName, kind: "main", cell: ({ name }) => name },
        { title: t.user.keyId, cell: ({ id: key }) => h("code", null, key) },
        { title: t.users.created, cell: ({ made }) => time(made) },
        { title: t.authentication.state, cell: ({ disabled }) => (disabled ? badge(t.off) : badge(t.on, "good")) },
      ],
    });

  const history = h("div");
  const loadHistory = async () => {
    try {
      const { history: entries } = await get(`${path}/history`, { signal });
      history.replaceChildren(
        entries.length === 0
          ? emptyNote(t.user.noHistory)
          : h("ol", { class: "timeline" }, entries.map(({ at, what, by, detail }) =>
              h("li", null, h("span", { class: "when" }, time(at, { seconds: true })), h("span", null, h("strong", null, t.user.did[what] ?? what), by && h("span", { class: "soft" }, ` ${t.user.by(by)}`), h("div", { class: "soft small" }, detailOf(detail)))),
            )),
      );
    } catch (error) {
      if (!signal.aborted && error.status !== 404) history.replaceChildren(errorNote(error, loadHistory));
    }
  };

  const draw = () => {
    const devices = devicesOf(user.sessions);
    const identifier = copyable(user.user_id);
    replace(
      place,
      pageHead(
        identifier,
        h("span", null, badgesOf(user)),
        user.disabled
          ? button(t.user.enable, { needs: "operate", press: enable })
          : button(t.user.disable, { needs: "operate", press: disable }),
        button(t.user.endAll, { needs: "operate", press: endAll, locked: user.sessions.length === 0 ? t.user.noSessions : undefined }),
        button(t.user.delete, { kind: "danger", needs: "operate", press: remove }),
      ),
      h(
        "div",
        { class: "columns" },
        h(
          "div",
          null,
          card(t.user.sessions, { about: t.user.sessionsAbout }, sessions()),
          card(t.user.identities, {}, identities()),
          card(t.user.meters, {}, meters()),
          user.api_keys.length > 0 && card(t.user.keys, {}, keys()),
          card(t.user.document, { about: user.data === null ? undefined : t.user.version(user.data_version) }, user.data === null ? emptyNote(t.user.noDocument) : json(user.data)),
        ),
        h(
          "div",
          null,
          card(
            t.user.about,
            {},
            facts([
              emailsOf(user).length > 0 && [t.user.email, emailsOf(user).join(", ")],
              [t.users.created, time(user.created)],
              [t.users.lastSeen, ago(user.last_seen)],
              [t.user.expires, user.expires ? time(user.expires) : t.user.never],
              user.disabled && [t.user.disabledUntil, user.disabled_until ? time(user.disabled_until) : t.user.untilEnabled],
              user.disabled_reason && [t.user.reason, user.disabled_reason],
              [t.users.providers, user.providers.length > 0 ? user.providers.join(", ") : h("span", { class: "soft" }, t.none)],
            ]),
          ),
          card(
            t.user.devices,
            {},
            table({
              caption: t.user.devices,
              rows: devices,
              empty: t.user.noDevices,
              columns: [
                { title: t.user.device, kind: "main", cell: ({ device_id }) => h("code", null, device_id) },
                { title: t.user.lastUsed, cell: ({ last_used }) => ago(last_used) },
              ],
            }),
          ),
          user.aliases.length > 0 &&
            card(t.user.aliases, { about: t.user.aliasesAbout }, h("ul", { class: "plain" }, user.aliases.map(({ id: alias, merged }) => h("li", null, h("code", null, alias), h("div", { class: "soft" }, t.user.merged, " ", time(merged)))))),
          card(t.user.history, {}, history),
        ),
      ),
    );
  };

  const load = async () => {
    try {
      user = await get(path, { signal });
      draw();
      loadHistory();
    } catch (error) {
      if (signal.aborted) return;
      const gone = error.status === 404;
      replace(
        place,
        pageHead(h("code", null, id)),
        gone ? emptyNote(t.user.gone, h("a", { class: "button", href: "#/users" }, t.users.showAll)) : errorNote(error, load),
      );
    }
  };
  await load();
}
