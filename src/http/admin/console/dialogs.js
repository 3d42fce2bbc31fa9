// Dialogs: the browser's own, so that Escape cancels and the keyboard stays inside. What destroys something begins on Cancel.

import { h, newId } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./texts.js";
import { button, iconButton, sentence, toast, toasts } from "./ui.js";

/** What is under way in a dialog. */
const acts = new WeakMap();

/**
 * Opens a dialog. `content` is an element or a list; `actions(close)` gives the buttons beside Cancel. Resolves to what `close` was
 * called with, or `undefined` when it was cancelled. One that `stays` is closed by its buttons alone, since it is shown once.
 */
export function open({ title, content, actions, wide, cancel = t.cancel, focus, stays }) {
  return new Promise((resolve) => {
    const id = newId("dialog");
    let result;
    const dialog = h("dialog", { class: wide ? "wide" : "", "aria-labelledby": id, "data-stays": stays });
    const close = (value) => {
      result = value;
      dialog.close();
    };
    // what was begun cannot be cancelled any more
    const leave = () => !dialog.dataset.busy && close();
    const cancelButton = button(cancel, { press: leave, class: "button cancel" });
    dialog.append(
      h("header", null, h("h2", { id }, title), iconButton(t.close, "close", leave)),
      h("div", { class: "content" }, content),
      h("footer", null, cancelButton, actions?.(close, dialog)),
      toasts(),
    );
    dialog.addEventListener("close", async () => {
      document.getElementById("toasts")?.append(...dialog.querySelectorAll(".toast"));
      dialog.remove();
      // its page may be left while something is under way, whose end is told all the same
      await acts.get(dialog);
      resolve(result);
    });
    const isHeld = () => stays || dialog.dataset.busy;
    for (const kind of ["cancel", "keydown"]) {
      dialog.addEventListener(kind, (event) => (kind === "cancel" || event.key === "Escape") && isHeld() && event.preventDefault());
    }
    // a press beside it cancels, too
    dialog.addEventListener("mousedown", (event) => event.target === dialog && !stays && leave());
    document.body.append(dialog);
    dialog.showModal();
    (focus?.() || cancelButton).focus();
  });
}

/**
 * What a button in a dialog does: while it is under way nothing else can be pressed and the dialog stays, unless it `mayLeave`. What
 * went wrong is said in the dialog, or beside the page where that was left.
 */
export function doing(dialog, work, { mayLeave } = {}) {
  const act = async () => {
    const buttons = [...dialog.querySelectorAll(mayLeave ? "footer button:not(.cancel)" : "footer button, header button")].filter((one) => !one.hasAttribute("aria-disabled"));
    dialog.dataset[mayLeave ? "waits" : "busy"] = "true";
    buttons.forEach((one) => one.setAttribute("aria-disabled", "true"));
    try {
      await work();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!dialog.open) return toast(sentence(error), "warn");
      const failed = h("div", { class: "note bad failed", role: "alert" }, icon("warn"), h("p", null, sentence(error)));
      dialog.querySelector(".content").append(failed);
      failed.scrollIntoView?.({ block: "nearest" });
    } finally {
      delete dialog.dataset.busy;
      delete dialog.dataset.waits;
      buttons.forEach((one) => one.removeAttribute("aria-disabled"));
    }
    return undefined;
  };
  return (event) => {
    event?.preventDefault();
    if (dialog.dataset.busy || dialog.dataset.waits) return undefined;
    dialog.querySelector(".note.bad.failed")?.remove();
    const under = act();
    if (!mayLeave) acts.set(dialog, under);
    return under;
  };
}

/** Whom it is about. */
const named = (whom) => whom && h("p", { class: "whom" }, h("code", null, whom));

/** Says in plain words what will be done, and to whom, and does it. Resolves to whether it was. */
export const confirm = ({ title, whom, says, list, action, kind = "danger", run, wide, extra }) =>
  open({
    title,
    wide,
    content: [
      named(whom),
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

/** Asks for fields and does something with them: `run(form)` with the form's values by name. It stays open if that gives `false`. */
export const ask = ({ title, whom, fields, action, kind = "primary", run, wide }) => {
  const form = h("form", { id: newId("form"), novalidate: true }, named(whom), fields);
  return open({
    title,
    wide,
    content: form,
    focus: () => kind !== "danger" && form.querySelector("input, select, textarea"),
    actions: (close, dialog) => {
      const go = doing(dialog, async () => {
        if (!form.reportValidity()) return;
        const done = await run(Object.fromEntries(new FormData(form)), form);
        if (done !== false) close(done ?? true);
      });
      form.addEventListener("submit", go);
      return button(action, { kind, type: "submit", form: form.id });
    },
  });
};

/** Shows something once, such as a secret. */
export const show = ({ title, content, wide }) => open({ title, content, wide, cancel: t.done, stays: true });
