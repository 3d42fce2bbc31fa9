// One deployment: what deploying it again would change.

import { get, send } from "../api.js";
import { confirm } from "../dialogs.js";
import { h } from "../dom.js";
import { time } from "../format.js";
import { t } from "../texts.js";
import { badge, button, card, difference, emptyNote, facts, loaded, pageHead, toast } from "../ui.js";
import { originOf } from "./deployments.js";

export const title = ({ params }) => t.deployments.number(params.number);

export async function render({ root, params, signal, refreshApp }) {
  const place = h("div");
  root.append(h("nav", { class: "crumbs", "aria-label": t.crumbs }, h("a", { href: "#/deployments" }, t.deployments.title)), place);
  const path = `/v1/admin/deployments/${encodeURIComponent(params.number)}`;
  const again = loaded(place, {
    path: () => get(path, { signal }),
    draw: (it) => {
      const deployAgain = async () => {
        const done = await confirm({
          title: t.deployments.again(it.number),
          says: t.deployments.againSays(it.number),
          list: it.changes,
          action: t.draft.deploy,
          kind: "primary",
          run: () => send("POST", `${path}/deploy`, { seen: it.deployment }),
        });
        if (!done) return;
        toast(t.draft.deployed(done.number));
        await refreshApp();
        again();
      };
      return [
        pageHead(
          [t.deployments.number(it.number), it.in_force && [" ", badge(t.deployments.inForce, "good")]],
          it.name,
          !it.in_force && button(t.deployments.deployAgain, { kind: "primary", needs: "owner", press: deployAgain }),
        ),
        card(t.deployments.what, {}, facts([[t.deployments.at, time(it.at)], [t.deployments.by, it.by ?? t.none], [t.deployments.origin, originOf(it)]])),
        it.in_force
          ? ""
          : card(
              t.deployments.difference,
              { about: t.deployments.differenceAbout },
              it.changes.length === 0
                ? emptyNote(t.deployments.same)
                : [h("ul", { class: "sentences" }, it.changes.map((text) => h("li", null, text))), difference(it.lines)],
            ),
      ];
    },
    signal,
  });
  await again.first;
}
