// The draft: saved change by change, looked at line by line, deployed or discarded. Two admins may have it open; who comes second is told.

import { get, send } from "./api.js";
import { confirm, doing, open } from "./dialogs.js";
import { h } from "./dom.js";
import { agoText } from "./format.js";
import { session } from "./session.js";
import { t } from "./texts.js";
import { button, difference, errorNote, field, input, note, skeleton, toast } from "./ui.js";

const isMoved = (error) => error.status === 409 && error.code === "draft-moved";
/** Something else was deployed since. */
export const isBehind = (error) => error.status === 409 && error.code === "deployment-moved";
const when = (at) => (at ? agoText(at) : t.justNow);
const whoMoved = ({ body }) => t.draft.moved(body.by ?? t.draft.someone, when(body.at));
export const whoDeployed = ({ body }) => t.draft.overtaken(body.by ?? t.draft.someone, body.number, when(body.at));

/** Hears of the draft as it is now; where the server cannot say, the next look does. */
export async function heard(refreshApp) {
  try {
    await refreshApp();
  } catch {
    // what was done is done
  }
}

/** What would be deployed by the draft; `null` if there is none. */
export async function drafted(app, { signal } = {}) {
  if (!app.draft) return null;
  try {
    return (await get("/v1/admin/draft", { signal, unattended: true })).app;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/**
 * Saves a change of the app into the draft: `patchOn(app)` is a JSON merge patch on an app, and `app` what the change was made on. Where
 * the draft was changed since, asks. Resolves to whether it was saved.
 */
export async function save(patchOn, { app, refreshApp }) {
  const put = (now) => send("PATCH", "/v1/admin/draft", { revision: now.draft?.revision ?? 0, app: patchOn(now) });
  try {
    await put(app);
  } catch (error) {
    if (!isMoved(error)) throw error;
    const choice = await open({
      title: t.draft.movedTitle,
      content: [h("p", null, whoMoved(error)), h("p", null, t.draft.movedChoice)],
      actions: (close, dialog) => [
        button(t.draft.reload, { press: () => close("reload") }),
        button(t.draft.onTop, {
          kind: "primary",
          press: doing(dialog, async () => {
            await put(await refreshApp());
            close("saved");
          }),
        }),
      ],
    });
    await heard(refreshApp);
    return choice === "saved" ? true : choice === "reload" ? "reload" : false;
  }
  await heard(refreshApp);
  return true;
}

/** Shows what the draft would change, and deploys or discards it. */
export async function review({ refreshApp }) {
  const place = h("div", { class: "review", "aria-live": "polite" }, skeleton(5));
  const name = input({ maxlength: "100", placeholder: t.draft.namePlaceholder });
  /** What is shown: the draft's revision, and the deployment that its difference is from. */
  let seen = null;
  const load = async (...before) => {
    seen = null;
    try {
      const [diff] = await Promise.all([get("/v1/admin/draft/diff", { once: true }), heard(refreshApp)]);
      seen = diff;
      const draft = session.app?.draft;
      const isOfThis = draft?.revision === diff.revision;
      place.replaceChildren(
        ...before,
        isOfThis && before.length === 0 && draft.base !== diff.deployment ? note("warn", h("p", null, t.draft.behind)) : "",
        isOfThis ? h("p", { class: "soft" }, t.draft.savedBy(draft.by, agoText(draft.at))) : "",
        h("ul", { class: "sentences" }, diff.changes.map((text) => h("li", null, text))),
        difference(diff.lines),
      );
    } catch (error) {
      place.replaceChildren(error.status === 404 ? note("info", h("p", null, t.draft.gone)) : errorNote(error, () => load()));
    }
  };
  const loading = load();
  /** Shows the difference as it is now, and says why. */
  const reload = (says) => load(note("warn", h("p", null, says), h("p", null, t.draft.lookAgain)));
  /** Deploys what is shown, if it is still what is shown. */
  const deploy = () => {
    const text = name.value.trim();
    const { revision, deployment } = seen;
    return send("POST", "/v1/admin/draft/deploy", { revision, seen: deployment, ...(text ? { name: text } : {}) });
  };
  const done = await open({
    title: t.draft.title,
    wide: true,
    content: [place, field(t.draft.name, name, { help: t.draft.nameHelp })],
    actions: (close, dialog) => [
      button(t.draft.discard, {
        kind: "quiet-danger",
        needs: "owner",
        press: async () => {
          await loading;
          if (seen === null) return;
          const { revision, changes } = seen;
          const gone = await confirm({
            title: t.draft.discardTitle,
            says: t.draft.discardSays,
            list: changes,
            action: t.draft.discard,
            run: () => send("DELETE", `/v1/admin/draft?revision=${revision}`),
          });
          if (gone) close("discarded");
        },
      }),
      button(t.draft.deploy, {
        kind: "primary",
        needs: "owner",
        press: doing(dialog, async () => {
          await loading;
          if (seen === null) return;
          try {
            close(await deploy());
          } catch (error) {
            if (isMoved(error)) await reload(whoMoved(error));
            else if (isBehind(error)) await reload(whoDeployed(error));
            else throw error;
          }
        }),
      }),
    ],
  });
  await heard(refreshApp);
  if (done === "discarded") toast(t.draft.discarded);
  else if (done) toast(t.draft.deployed(done.number));
}
