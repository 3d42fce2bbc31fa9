// The ways to log in, in the order of the original console, and what goes with them.

import { get } from "../api.js";
import { h, replace } from "../dom.js";
import { duration } from "../format.js";
import { icon } from "../icons.js";
import { drafted, save } from "../draft.js";
import { ask } from "../dialogs.js";
import { session } from "../session.js";
import { t } from "../texts.js";
import { badge, button, card, errorNote, facts, field, input, pageHead, skeleton, table, toast } from "../ui.js";

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

export const title = () => t.authentication.title;

export function stateOf(provider) {
  const shown = provider.enabled ? badge(t.on, "good") : badge(t.off);
  const draft = provider.draft;
  if (!draft) return shown;
  const says = draft.enabled === provider.enabled ? t.authentication.edited : draft.enabled ? t.authentication.willBeOn : t.authentication.willBeOff;
  return [shown, " ", badge(says, "accent")];
}

function providers(app) {
  return table({
    caption: t.authentication.providers,
    rows: app.providers,
    columns: [
      {
        title: t.authentication.provider,
        kind: "main",
        cell: (provider) => [
          h("a", { href: `#/authentication/${encodeURIComponent(provider.name)}`, class: "strong" }, provider.title),
          h("div", { class: "soft" }, h("code", null, provider.name), provider.origin === "settings" && [" · ", t.authentication.fromSettings]),
        ],
      },
      { title: t.authentication.state, cell: stateOf },
      {
        title: t.unseen.actions,
        kind: "end",
        cell: (provider) => h(
          "a",
          { class: "button small", href: `#/authentication/${encodeURIComponent(provider.name)}`, "aria-label": provider.editable ? t.authentication.editOf(provider.title) : t.authentication.viewOf(provider.title) },
          provider.editable ? t.edit : t.view,
        ),
      },
    ],
  });
}

export async function render({ root, signal, refreshApp }) {
  const place = h("div", null, skeleton(8));
  root.append(pageHead(t.authentication.title, t.authentication.about), place);

  /** What the draft says of it, or what is in force: the content, and what a change of it is made on. */
  const latest = async (app) => {
    if (app.draft === null) return [app, app];
    const draft = await get("/v1/admin/draft", { signal, once: true });
    return [draft.app, { ...app, draft }];
  };
  const store = async (patch, app) => {
    const saved = await save(() => patch, { app, refreshApp });
    if (saved === true) toast(t.draft.saved);
    // who cancels has not lost what was entered
    return saved !== false;
  };
  const editOrigins = async (shown) => {
    const [{ allowed_request_origins: before }, app] = await latest(shown);
    const text = h("textarea", { rows: "6", name: "origins", spellcheck: "false" }, before.join("\n"));
    return ask({
      title: t.authentication.origins,
      fields: field(t.authentication.originsLabel, text, { help: t.authentication.originsHelp }),
      action: t.save,
      run: async () => {
        const origins = text.value.split(/\s+/).filter(Boolean);
        return origins.join() === before.join() || store({ allowed_request_origins: origins }, app);
      },
    });
  };
  const editExpiration = async (shown) => {
    const [{ refresh_token_expiration_s: before = null }, app] = await latest(shown);
    const days = input({ name: "seconds", type: "number", min: "1800", max: "15552000", step: "1", value: before ?? "" });
    return ask({
      title: t.authentication.expiration,
      fields: field(t.authentication.expirationLabel, days, { help: t.authentication.expirationHelp }),
      action: t.save,
      run: async () => {
        const seconds = days.value === "" ? null : Number(days.value);
        return seconds === before || store({ refresh_token_expiration_s: seconds }, app);
      },
    });
  };

  const originsOf = (origins) =>
    origins.length > 0 ? h("ul", { class: "plain" }, origins.map((origin) => h("li", null, h("code", null, origin)))) : h("span", { class: "soft" }, t.authentication.noOrigins);
  const expirationOf = (seconds) => (seconds === null ? h("span", { class: "soft" }, t.authentication.noExpiration) : h("span", null, duration(seconds)));
  /** What the draft makes of it, if that is something else. */
  const inDraft = (now, then, shown) => !same(now, then) && h("div", { class: "in-draft" }, badge(t.authentication.edited, "accent"), shown(then));

  const draw = (app, draft) => {
    const { deployment } = app;
    const { allowed_request_origins: origins, refresh_token_expiration_s: seconds = null } = app;
    const { allowed_request_origins: nextOrigins, refresh_token_expiration_s: nextSeconds = null } = draft ?? app;
    replace(
      place,
      card(t.authentication.providers, { about: t.authentication.providersAbout }, providers(app)),
      card(
        t.authentication.app,
        {},
        facts([
          [t.authentication.appId, h("code", null, app.client_app_id)],
          deployment && [
            t.authentication.inForce,
            h("a", { href: `#/deployments/${deployment.number}` }, t.deployments.number(deployment.number)),
          ],
          [
            t.authentication.origins,
            h(
              "div",
              { class: "with-action" },
              h("div", null, originsOf(origins), inDraft(origins, nextOrigins, originsOf)),
              button(t.edit, { kind: "small", needs: "owner", locked: app.origins_editable === false ? app.origins_locked_because : undefined, press: () => editOrigins(app), "aria-label": t.authentication.editOf(t.authentication.origins) }),
            ),
          ],
          [
            t.authentication.expiration,
            h(
              "div",
              { class: "with-action" },
              h("div", null, expirationOf(seconds), inDraft(seconds, nextSeconds, expirationOf)),
              button(t.edit, { kind: "small", needs: "owner", locked: app.session_lifetime_editable === false ? t.authentication.lifetimeLocked : undefined, press: () => editExpiration(app), "aria-label": t.authentication.editOf(t.authentication.expiration) }),
            ),
          ],
        ]),
      ),
      h("p", { class: "soft hint" }, icon("deployments"), t.authentication.hint),
    );
  };

  const show = async (app) => draw(app, await drafted(app, { signal }));
  const load = async () => {
    try {
      await show(await refreshApp({ signal }));
    } catch (error) {
      if (!signal.aborted) place.replaceChildren(errorNote(error, load));
    }
  };
  await load();
  // somebody may change the draft, also in the dialog that deploys it
  let last = JSON.stringify(session.app);
  const follow = () => {
    const now = JSON.stringify(session.app);
    if (now === last || !session.app) return;
    last = now;
    show(session.app).catch(() => {});
  };
  document.addEventListener("app", follow, { signal });
}
