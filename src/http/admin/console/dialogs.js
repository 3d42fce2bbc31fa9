// Dialogs: the browser's own, so that Escape cancels and the keyboard stays inside. What destroys something begins on Cancel.

import { h, newId } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./texts.js";
import { button, iconButton, sentence } from "./ui.js";

/**
 * Opens a dialog. `content` is an element or a list; `actions(close)` gives the buttons beside Cancel. Resolves to what `close` was
 * called with, or `undefined` when it was cancelled.
 */
export function open({ title, content, actions, wide, cancel = t.cancel, focus }) {
  return new Promise((resolve) => {
    const id = newId("dialog");
    let result;
    const dialog = h("dialog", { class: wide ? "wide" : "", "aria-labelledby": id });
    const close = (value) => {
      result = value;
      dialog.close();
    };
    const cancelButton = button(cancel, { press: () => close(), class: "button cancel" });
    dialog.append(
      h("header", null, h("h2", { id }, title), iconButton(t.close, "close", () => close())),
      h("div", { class: "content" }, content),
      h("footer", null, cancelButton, actions?.(close, dialog)),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    // a press beside it cancels, too
    dialog.addEventListener("mousedown", (event) => event.target === dialog && close());
    document.body.append(dialog);
    dialog.showModal();
    (focus?.() ?? cancelButton).focus();
  });
}

/** What a button in a dialog does: while it is under way nothing else can be pressed, and what went wrong is said in the dialog. */
export function doing(dialog, work) {
  return async (event) => {
    event?.preventDefault();
    const buttons = [...dialog.querySelectorAll("footer button")];
    dialog.querySelector(".note.bad.failed")?.remove();
    if (dialog.dataset.busy) return;
    dialog.dataset.busy = "true";
    buttons.forEach((one) => one.setAttribute("aria-disabled", "true"));
    try {
      await work();
    } catch (error) {
      const failed = h("div", { class: "note bad failed", role: "alert" }, icon("warn"), h("p", null, sentence(error)));
      dialog.querySelector(".content").append(failed);
      failed.scrollIntoView?.({ block: "nearest" });
    } finally {
      delete dialog.dataset.busy;
      buttons.forEach((one) => one.removeAttribute("aria-disabled"));
    }
  };
}

/** Says in plain words what will be done, and does it. Resolves to whether it was. */
export const confirm = ({ title, says, list, action, kind = "danger", run, wide, extra }) =>
  open({
    title,
    wide,
    content: [
      [says].flat().filter(Boolean).map((text) => h("p", null, text)),
      list?.length > 0 && h("ul", { class: "sentences" }, list.map((text) => h("li", null, text))),
      extra,
    ],
    actions: (close, dialog) =>
      button(action, {
        kind,
        press: doing(dialog, async () => close((await run()) ?? true)),
      }),
  });

/** Asks for fields and does something with them: `run(form)` with the form's values by name. */
export const ask = ({ title, fields, action, kind = "primary", run, wide }) => {
  const form = h("form", { id: newId("form"), novalidate: true }, fields);
  return open({
    title,
    wide,
    content: form,
    focus: () => form.querySelector("input, select, textarea"),
    actions: (close, dialog) => {
      const go = doing(dialog, async () => {
        if (!form.reportValidity()) return;
        close((await run(Object.fromEntries(new FormData(form)), form)) ?? true);
      });
      form.addEventListener("submit", go);
      return button(action, { kind, type: "submit", form: form.id });
    },
  });
};

/** Shows something once, such as a secret. */
export const show = ({ title, content, wide }) => open({ title, content, wide, cancel: t.done });
