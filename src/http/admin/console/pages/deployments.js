// What was deployed: by whom, when, from where. Any of them can be deployed again.

import { review } from "../draft.js";
import { h, replace } from "../dom.js";
import { time } from "../format.js";
import { session } from "../session.js";
import { t } from "../texts.js";
import { badge, button, card, loaded, pageHead, table } from "../ui.js";

export const title = () => t.deployments.title;

export async function render({ root, signal, refreshApp }) {
  const place = h("div");
  const draft = h("div");
  root.append(pageHead(t.deployments.title, t.deployments.about), draft, place);
  const showDraft = () => {
    const now = session.app?.draft;
    if (!now) return draft.replaceChildren();
    const actions = button(t.draft.review, { press: () => review({ refreshApp }) });
    const changes = h("ul", { class: "sentences" }, now.changes.map((text) => h("li", null, text)));
    return replace(draft, card(t.deployments.draft, { about: t.draft.by(now.by, now.changes.length), actions }, changes));
  };
  const again = loaded(place, {
    path: "/v1/admin/deployments",
    signal,
    draw: ({ deployments }) =>
      table({
        caption: t.deployments.title,
        rows: deployments,
        empty: t.deployments.none,
        columns: [
          {
            title: t.deployments.deployment,
            kind: "main",
            cell: ({ number, name, in_force }) => [
              h("a", { class: "strong", href: `#/deployments/${number}` }, t.deployments.number(number)),
              in_force && [" ", badge(t.deployments.inForce, "good")],
              name && h("div", { class: "soft" }, name),
            ],
          },
          { title: t.deployments.at, cell: ({ at }) => time(at) },
          { title: t.deployments.by, cell: ({ by }) => by ?? t.none },
          { title: t.deployments.origin, cell: originOf },
        ],
      }),
  });
  await again.first;
  let last = session.app?.deployment?.number;
  showDraft();
  const follow = () => {
    showDraft();
    const now = session.app?.deployment?.number;
    if (now !== last) again();
    last = now;
  };
  document.addEventListener("app", follow, { signal });
}

/** Where a deployment came from, in words. */
export const originOf = ({ origin, redeploy_of: again }) => (again === undefined ? (t.deployments.origins[origin] ?? origin) : t.deployments.redeployOf(again));
