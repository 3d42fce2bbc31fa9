// One action on all users whom a filter takes: counted first, begun on purpose, watched, and stopped if need be.

import { get, send } from "./api.js";
import { doing, open } from "./dialogs.js";
import { h, pause } from "./dom.js";
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

async function ended(number, signal) {
  for (;;) {
    const job = await get("/v1/admin/bulk", { signal });
    if (job.number !== number || job.state !== "running") return job;
    await pause(LOOK_MS, signal);
  }
}

/** Asks what to do to the users of this filter, counts them by a dry run, and begins. */
export async function beginBulk({ filter, begun }) {
  const action = select(ACTIONS.map((name) => [name, t.bulk.actions[name]]), "end-sessions", { name: "action" });
  const told = h("div", { class: "counted", "aria-live": "polite" });
  const alone = new AbortController();
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
    try {
      const job = await send("POST", "/v1/admin/bulk", body(true));
      const { state, users, error } = await ended(job.number, alone.signal);
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
    }
  };
  const started = await open({
    title: t.bulk.title,
    content: [h("p", null, t.bulk.takes, " ", h("strong", null, inWords(filter)), "."), field(t.bulk.action, action), told],
    focus: () => action,
    actions: (close, dialog) => {
      go = button(t.bulk.count, {
        kind: "primary",
        needs: "operate",
        press: doing(dialog, async () => {
          if (!ready) {
            await count();
            dialog.querySelector(".cancel").focus();
            return;
          }
          close(await send("POST", "/v1/admin/bulk", body(false)));
        }),
      });
      return go;
    },
  });
  alone.abort(new DOMException("closed", "AbortError"));
  if (started) begun(started);
}

/** Shows the job that runs, with how far it is and a way to stop it. Returns what looks again. */
export function bulkPanel(place, { signal, ended: whenEnded }) {
  const bar = h("progress", { "aria-label": t.bulk.progress });
  const figures = h("p", { class: "soft" });
  const head = h("strong");
  const live = h("p", { class: "unseen", role: "status" });
  const stop = button(t.bulk.stop, { needs: "operate" });
  let job = null;
  stop.addEventListener("click", async () => {
    if (job === null || stop.getAttribute("aria-disabled")) return;
    try {
      await send("POST", `/v1/admin/bulk/${job.number}/stop`);
      toast(t.bulk.stopping);
    } catch (error) {
      place.append(errorNote(error));
    }
  });
  const panel = h("section", { class: "card job", "aria-label": t.bulk.progress }, h("div", { class: "job-head" }, icon("bolt"), head, stop), bar, figures, live);
  const draw = () => {
    const { users, about, action, state } = job;
    const done = users.changed + users.removed + users.unchanged + users.busy;
    head.textContent = t.bulk.running(action);
    bar.max = Math.max(about, users.matched, 1);
    if (state === "running") bar.value = done;
    figures.textContent = t.bulk.figures(number(done), number(Math.max(about, users.matched)), users);
  };
  const watch = async () => {
    try {
      job = await get("/v1/admin/bulk", { signal });
      if (job.state !== "running" || job.dry_run) return;
      place.replaceChildren(panel);
      live.textContent = t.bulk.running(job.action);
      while (job.state === "running") {
        draw();
        await pause(LOOK_MS, signal);
        job = await get("/v1/admin/bulk", { signal });
      }
    } catch (error) {
      // no job since the start
      if (signal.aborted || error.status === 404) return;
      place.replaceChildren(errorNote(error, watch));
      return;
    }
    place.replaceChildren(
      note(job.state === "done" ? "good" : "warn", h("p", null, h("strong", null, t.bulk.endedAs[job.state](job.action)), " ", t.bulk.result(job.users)), job.error && h("p", null, job.error)),
    );
    whenEnded();
  };
  watch();
  return async (started) => {
    await watch(started);
    // a short job is over before it is looked at
    if (place.childElementCount === 0) {
      job = await get("/v1/admin/bulk", { signal });
      if (job.dry_run) return;
      place.replaceChildren(note(job.state === "done" ? "good" : "warn", h("p", null, h("strong", null, t.bulk.endedAs[job.state](job.action)), " ", t.bulk.result(job.users))));
      whenEnded();
    }
  };
}
