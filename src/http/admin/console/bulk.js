// One action on all users whom a filter takes: counted first, begun on purpose, watched, and stopped if need be.

import { get, send } from "./api.js";
import { doing, open } from "./dialogs.js";
import { h, pause, replace } from "./dom.js";
import { number } from "./format.js";
import { icon } from "./icons.js";
import { t } from "./texts.js";
import { button, errorNote, field, note, select, toast } from "./ui.js";

const ACTIONS = ["end-sessions", "disable", "enable", "delete"];
const LOOK_MS = 300;

/** Booleans as the body of a bulk job has them. */
const bodyOf = (filter) =>
  Object.fromEntries(Object.entries(filter).map(([name, value]) => [name, value === "true" ? true : value === "false" ? false : value]));

/** A filter in words. */
export function inWords(filter) {
  const parts = Object.entries(filter).map(([name, value]) => t.bulk.filters[name](value));
  return parts.length === 0 ? t.bulk.everybody : t.bulk.usersWho(parts);
}

/**
 * A job when it has ended; `null` where another one was begun meanwhile, since the server tells of the last one alone. `look` is given
 * each answer on the way.
 */
async function endOf(begun, { signal, look }) {
  for (let job = begun; ; ) {
    if (job.number !== begun.number) return null;
    look?.(job);
    if (job.state !== "running") return job;
    await pause(LOOK_MS, signal);
    job = await get("/v1/admin/bulk", { signal, unattended: true });
  }
}

/** Asks what to do to the users of this filter, counts them by a dry run, and begins. */
export async function beginBulk({ filter, begun }) {
  const action = select(ACTIONS.map((name) => [name, t.bulk.actions[name]]), "end-sessions", { name: "action" });
  const told = h("div", { class: "counted", "aria-live": "polite" });
  const alone = new AbortController();
  /** What was counted: it is begun as it was counted. */
  let ready = null;
  const body = (dry_run) => ({ action: action.value, filter: bodyOf(filter), dry_run });
  let go;
  const show = () => {
    const label = ready ? t.bulk.begin(action.value, ready.changed + ready.removed) : t.bulk.count;
    go.querySelector("span").textContent = label;
    go.className = `button ${ready ? (action.value === "enable" ? "primary" : "danger") : "primary"}`;
  };
  action.addEventListener("change", () => {
    ready = null;
    told.replaceChildren();
    show();
  });
  const count = async () => {
    told.replaceChildren(h("p", { class: "soft" }, h("span", { class: "spinner" }), " ", t.bulk.counting));
    action.disabled = true;
    try {
      const job = await endOf(await send("POST", "/v1/admin/bulk", body(true)), { signal: alone.signal });
      if (job === null) throw new Error(t.bulk.otherCount);
      const { state, users, error } = job;
      if (state !== "done") throw new Error(error ?? t.bulk.stopped);
      ready = users.changed + users.removed > 0 ? users : null;
      told.replaceChildren(
        ready
          ? note(action.value === "enable" ? "info" : "warn", h("p", null, h("strong", null, t.bulk.will(action.value, users))), h("p", null, t.bulk.says[action.value]))
          : note("info", h("p", null, t.bulk.nobody)),
      );
      show();
    } catch (error) {
      told.replaceChildren();
      throw error;
    } finally {
      action.disabled = false;
    }
  };
  const started = await open({
    title: t.bulk.title,
    content: [h("p", null, t.bulk.takes, " ", h("strong", null, inWords(filter)), "."), field(t.bulk.action, action), told],
    focus: () => action,
    actions: (close, dialog) => {
      const counting = doing(
        dialog,
        async () => {
          await count();
          dialog.querySelector(".cancel").focus();
        },
        { mayLeave: true },
      );
      const beginning = doing(dialog, async () => close(await send("POST", "/v1/admin/bulk", body(false))));
      go = button(t.bulk.count, { kind: "primary", needs: "operate", press: (event) => (ready ? beginning : counting)(event) });
      return go;
    },
  });
  alone.abort(new DOMException("closed", "AbortError"));
  if (started) begun(started);
}

/** Shows the job that runs, with how far it is and a way to stop it. Returns what follows one that was begun. */
export function bulkPanel(place, { signal, ended: whenEnded }) {
  const bar = h("progress", { "aria-label": t.bulk.progress });
  const figures = h("p", { class: "soft" });
  const head = h("strong");
  const live = h("p", { class: "unseen", role: "status" });
  let job = null;
  const stop = button(t.bulk.stop, {
    needs: "operate",
    press: async () => {
      await send("POST", `/v1/admin/bulk/${job.number}/stop`);
      toast(t.bulk.stopping);
    },
  });
  const panel = h("section", { class: "card job", "aria-label": t.bulk.progress }, h("div", { class: "job-head" }, icon("bolt"), head, stop), bar, figures, live);
  const draw = (now) => {
    job = now;
    const { users, about, action, state } = job;
    const done = users.changed + users.removed + users.unchanged + users.busy;
    head.textContent = t.bulk.running(action);
    bar.max = Math.max(about, users.matched, 1);
    if (state === "running") bar.value = done;
    figures.textContent = t.bulk.figures(number(done), number(Math.max(about, users.matched)), users);
  };
  const resultOf = ({ state, action, users, error }) =>
    note(state === "done" ? "good" : "warn", h("p", null, h("strong", null, t.bulk.endedAs[state](action)), " ", t.bulk.result(users)), error && h("p", null, error));
  let turn = 0;
  const follow = async (begun) => {
    const own = (turn += 1);
    const show = (content) => own === turn && replace(place, content);
    show(panel);
    live.textContent = t.bulk.running(begun.action);
    try {
      const end = await endOf(begun, { signal, look: draw });
      show(end === null ? note("warn", h("p", null, t.bulk.otherJob(begun.number))) : resultOf(end));
      whenEnded();
    } catch (error) {
      if (!signal.aborted) show(errorNote(error, () => follow(begun)));
    }
  };
  const watch = async () => {
    try {
      const last = await get("/v1/admin/bulk", { signal });
      if (last.state === "running" && !last.dry_run) follow(last);
    } catch (error) {
      // no job since the start
      if (!signal.aborted && error.status !== 404) replace(place, errorNote(error, watch));
    }
  };
  watch();
  return follow;
}
