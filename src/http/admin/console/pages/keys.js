// The keys that sign tokens, and the API keys of programs that administer.

import { send } from "../api.js";
import { ask, confirm, show } from "../dialogs.js";
import { h } from "../dom.js";
import { duration, fromLocal, time } from "../format.js";
import { session } from "../session.js";
import { t } from "../texts.js";
import { badge, button, card, copyable, field, input, loaded, note, pageHead, select, table, toast } from "../ui.js";

export const title = () => t.keys.title;

const TONES = { signing: "good", published: "accent", verifying: "", retired: "quiet" };

function signingKeys(signal) {
  const place = h("div");
  const path = ({ id }) => `/v1/admin/signing-keys/${encodeURIComponent(id)}/retire`;
  const act = async (title, says, kind, run) => {
    const usage = select(Object.entries(t.keys.uses), "access", { name: "use" });
    const done = await ask({ title, fields: [h("p", null, says), field(t.keys.use, usage)], action: title, kind, run: () => run(usage.value) });
    if (!done) return;
    toast(t.keys.done);
    again();
  };
  const publish = () => act(t.keys.publish, t.keys.publishSays, "primary", (use) => send("POST", "/v1/admin/signing-keys/publish", { use }));
  const rotate = () => act(t.keys.rotate, t.keys.rotateSays, "danger", (use) => send("POST", "/v1/admin/signing-keys/rotate", { use }));
  const retire = async (key) => {
    const done = await confirm({
      title: t.keys.retireOf(key.id),
      says: [t.keys.retireSays, key.ends && t.keys.retireEnds(key.ends.what), key.ends?.users_at_most > 0 && t.keys.ofUsers(key.ends.users_at_most)],
      action: t.keys.retire,
      run: () => send("POST", path(key), {}),
    });
    if (!done) return;
    toast(t.keys.done);
    again();
  };
  const again = loaded(place, {
    path: "/v1/admin/signing-keys",
    signal,
    rows: 3,
    draw: ({ keys, missing }) => [
      missing && note("bad", h("p", null, t.keys.missing)),
      table({
        caption: t.keys.signing,
        rows: keys,
        columns: [
          { title: t.keys.id, kind: "main", cell: ({ id }) => h("code", { class: "whole" }, id) },
          { title: t.keys.use, cell: ({ use }) => t.keys.uses[use] ?? use },
          { title: t.authentication.state, cell: ({ state }) => badge(t.keys.states[state] ?? state, TONES[state]) },
          { title: t.keys.algorithm, cell: ({ algorithm }) => algorithm },
          { title: t.users.created, cell: ({ created }) => time(created) },
          { title: t.keys.age, cell: ({ age_s }) => duration(age_s) },
          {
            title: t.unseen.actions,
            kind: "end",
            cell: (key) => key.state !== "signing" && button(t.keys.retire, { kind: "small quiet-danger", needs: "owner", press: () => retire(key), "aria-label": t.keys.retireOf(key.id) }),
          },
        ],
      }),
    ],
  });
  return card(t.keys.signing, { about: t.keys.signingAbout, actions: [button(t.keys.publish, { needs: "owner", press: publish }), button(t.keys.rotate, { needs: "owner", press: rotate })] }, place);
}

function apiKeys(signal) {
  const place = h("div");
  const create = async () => {
    const name = input({ name: "name", required: true, maxlength: "64" });
    const role = select(["read", "operate", "owner"].map((one) => [one, t.roles[one]]), "read", { name: "role" });
    const ends = input({ name: "ends", type: "datetime-local" });
    const made = await ask({
      title: t.keys.create,
      fields: [field(t.keys.name, name, { help: t.keys.nameHelp }), field(t.admins.role, role), field(t.keys.ends, ends, { help: t.keys.endsHelp })],
      action: t.create,
      run: () => send("POST", "/v1/admin/keys", { name: name.value.trim(), role: role.value, ...(ends.value ? { ends: fromLocal(ends.value) } : {}) }),
    });
    if (!made) return;
    await show({ title: t.keys.created, content: [note("warn", h("p", null, t.keys.once)), copyable(made.token), h("p", { class: "soft" }, t.keys.howToUse)] });
    again();
  };
  const remove = async ({ id, name }) => {
    const done = await confirm({ title: t.keys.deleteOf(name), says: t.keys.deleteSays, action: t.delete, run: () => send("DELETE", `/v1/admin/keys/${encodeURIComponent(id)}`) });
    if (!done) return;
    toast(t.keys.deleted);
    again();
  };
  const again = session.may("owner")
    ? loaded(place, {
        path: "/v1/admin/keys",
        signal,
        rows: 3,
        draw: ({ keys }) =>
          table({
            caption: t.keys.api,
            rows: keys,
            empty: t.keys.none,
            columns: [
              { title: t.keys.name, kind: "main", cell: ({ name }) => h("strong", null, name) },
              { title: t.keys.id, cell: ({ id }) => h("code", { class: "whole" }, id) },
              { title: t.admins.role, cell: ({ role }) => badge(role) },
              { title: t.users.created, cell: ({ created }) => time(created) },
              { title: t.deployments.by, cell: ({ created_by }) => created_by ?? t.none },
              { title: t.keys.ends, cell: ({ ends }) => (ends ? time(ends) : t.user.never) },
              { title: t.unseen.actions, kind: "end", cell: (key) => button(t.delete, { kind: "small quiet-danger", needs: "owner", press: () => remove(key), "aria-label": t.keys.deleteOf(key.name) }) },
            ],
          }),
      })
    : (place.append(note("info", h("p", null, session.lacks("owner")))), () => {});
  return card(t.keys.api, { about: t.keys.apiAbout, actions: button(t.keys.create, { glyph: "plus", needs: "owner", press: create }) }, place);
}

export async function render({ root, signal }) {
  root.append(pageHead(t.keys.title, t.keys.about), signingKeys(signal), apiKeys(signal));
}
