// The draft: saved change by change, looked at line by line, deployed or discarded. Two admins may have it open; who comes second is told.

import { get, send } from "./api.js";
import { confirm, doing, open } from "./dialogs.js";
import { h } from "./dom.js";
import { agoText } from "./format.js";
import { session } from "./session.js";
import { t } from "./texts.js";
import { button, difference, errorNote, field, input, note, skeleton, toast } from "./ui.js";

const isMoved = (error) => error.status === 409 && error.code === "draft-moved";
const whoMoved = ({ body }) => t.draft.moved(body.by ?? t.draft.someone, body.at ? agoText(body.at) : t.justNow);

/**
 * Saves a change of the app into the draft: a JSON merge patch. Where another admin's draft came first, asks. Resolves to whether
 * it was saved.
 */
export async function save(patch, { refreshApp }) {
  const put = (revision) => send("PATCH", "/v1/admin/draft", { revision, app: patch });
  try {
    await put(session.app?.draft?.revision ?? 0);
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
            const { draft } = await refreshApp();
            await put(draft?.revision ?? 0);
            close("saved");
          }),
        }),
      ],
    });
    await refreshApp();
    return choice === "saved" ? true : choice === "reload" ? "reload" : false;
  }
  await refreshApp();
  return true;
}

/** Shows what the draft would change, and deploys or discards it. */
export async function review({ refreshApp }) {
  let revision = null;
  const place = h("div", { class: "review", "aria-live": "polite" }, skeleton(5));
  const name = input({ maxlength: "100", placeholder: t.draft.namePlaceholder });
  const load = async () => {
    try {
      const diff = await get("/v1/admin/draft/diff");
      revision = diff.revision;
      const draft = session.app?.draft;
      place.replaceChildren(
        draft ? h("p", { class: "soft" }, t.draft.savedBy(draft.by, agoText(draft.at))) : "",
        h("ul", { class: "sentences" }, diff.changes.map((text) => h("li", null, text))),
        difference(diff.lines),
      );
    } catch (error) {
      place.replaceChildren(error.status === 404 ? note("info", h("p", null, t.draft.gone)) : errorNote(error, load));
    }
  };
  const loading = load();
  const done = await open({
    title: t.draft.title,
    wide: true,
    content: [place, field(t.draft.name, name, { help: t.draft.nameHelp })],
    actions: (close, dialog) => [
      button(t.draft.discard, {
        kind: "quiet-danger",
        needs: "owner",
        press: async () => {
          const gone = await confirm({
            title: t.draft.discardTitle,
            says: t.draft.discardSays,
            list: session.app?.draft?.changes,
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
          try {
            const text = name.value.trim();
            close(await send("POST", "/v1/admin/draft/deploy", { revision, ...(text ? { name: text } : {}) }));
          } catch (error) {
            if (!isMoved(error)) throw error;
            await refreshApp();
            await load();
            place.prepend(note("warn", h("p", null, whoMoved(error)), h("p", null, t.draft.lookAgain)));
          }
        }),
      }),
    ],
  });
  await refreshApp();
  if (done === "discarded") toast(t.draft.discarded);
  else if (done) toast(t.draft.deployed(done.number));
}
