// Networks: what of their budgets is spent, and which of them are blocked.

import { send } from "../api.js";
import { ask, confirm } from "../dialogs.js";
import { h } from "../dom.js";
import { fromLocal, number, time } from "../format.js";
import { t } from "../texts.js";
import { badge, button, card, field, input, loaded, note, pageHead, table, toast } from "../ui.js";

export const title = () => t.networks.title;

/** What is spent and left of each budget. */
const budgetOf = (budget) =>
  h(
    "ul",
    { class: "plain" },
    Object.entries(budget).map(([name, { burst, left, spent }]) => h("li", null, h("span", { class: "soft" }, `${t.networks.budgetNames[name] ?? name}: `), t.networks.left(number(spent), number(left), number(burst)))),
  );

export async function render({ root, query, signal, go }) {
  const place = h("div");
  const block = async (network = "") => {
    const address = input({ name: "network", value: network, required: true, placeholder: "203.0.113.0/24" });
    const until = input({ name: "until", type: "datetime-local" });
    const reason = input({ name: "reason", maxlength: "200" });
    const done = await ask({
      title: t.networks.block,
      fields: [h("p", null, t.networks.blockSays), field(t.networks.network, address, { help: t.networks.networkHelp }), field(t.user.until, until, { help: t.networks.untilHelp }), field(t.user.reason, reason)],
      action: t.networks.block,
      kind: "danger",
      run: () => send("POST", "/v1/admin/networks/block", { network: address.value.trim(), ...(until.value ? { until: fromLocal(until.value) } : {}), ...(reason.value.trim() ? { reason: reason.value.trim() } : {}) }),
    });
    if (done) {
      toast(t.networks.blockedNow);
      again();
    }
  };
  const lift = async (network) => {
    const done = await confirm({ title: t.networks.lift, says: t.networks.liftSays(network), action: t.networks.lift, kind: "primary", run: () => send("POST", "/v1/admin/networks/lift", { network }) });
    if (done) {
      toast(done.blocked ? t.networks.stillBlocked(done.blocked.network) : t.networks.lifted, done.blocked ? "warn" : "good");
      again();
    }
  };
  const form = h(
    "form",
    { class: "filters", role: "search", "aria-label": t.networks.find },
    field(t.networks.network, input({ name: "network", value: query.network ?? "", placeholder: "203.0.113.7" })),
    h("div", { class: "filter-actions" }, button(t.networks.find, { type: "submit", kind: "primary" }), query.network && h("a", { class: "button", href: "#/networks" }, t.clear)),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go("networks", { network: new FormData(form).get("network").trim() });
  });
  root.append(pageHead(t.networks.title, t.networks.about, button(t.networks.block, { kind: "danger", needs: "operate", press: () => block() })), form, place);
  const blockedBadge = ({ blocked }) => (blocked ? badge(t.networks.blocked, "bad") : badge(t.networks.open, "good"));
  const again = loaded(place, {
    path: "/v1/admin/networks",
    query: { network: query.network },
    signal,
    draw: ({ networks, blocked, limits }) => [
      !limits && note("info", h("p", null, t.networks.noLimits)),
      card(
        t.networks.blockedTitle,
        {},
        table({
          caption: t.networks.blockedTitle,
          rows: blocked,
          empty: t.networks.noneBlocked,
          columns: [
            { title: t.networks.network, kind: "main", cell: ({ network }) => h("code", { class: "whole" }, network) },
            { title: t.user.until, cell: ({ until }) => (until ? time(until) : t.networks.forGood) },
            { title: t.user.reason, cell: ({ reason }) => reason ?? h("span", { class: "soft" }, t.none) },
            { title: t.deployments.by, cell: ({ by, at }) => [by, h("div", { class: "soft small" }, time(at))] },
            { title: t.unseen.actions, kind: "end", cell: ({ network }) => button(t.networks.lift, { kind: "small", needs: "operate", press: () => lift(network) }) },
          ],
        }),
      ),
      card(
        query.network ? t.networks.oneTitle(query.network) : t.networks.budgets,
        { about: t.networks.budgetsAbout },
        table({
          caption: t.networks.budgets,
          rows: networks,
          empty: t.networks.none,
          columns: [
            { title: t.networks.network, kind: "main", cell: ({ network }) => h("code", { class: "whole" }, network) },
            { title: t.networks.budget, cell: ({ budget }) => budgetOf(budget) },
            { title: t.authentication.state, cell: blockedBadge },
            {
              title: t.unseen.actions,
              kind: "end",
              cell: ({ network, blocked: isBlocked }) => [
                button(t.networks.lift, { kind: "small", needs: "operate", press: () => lift(network), "aria-label": t.networks.liftOf(network) }),
                !isBlocked && button(t.networks.block, { kind: "small quiet-danger", needs: "operate", press: () => block(network), "aria-label": t.networks.blockOf(network) }),
              ],
            },
          ],
        }),
      ),
    ],
  });
  await again.first;
}
