// One deployment: what deploying it again would change.

import { get, send } from "../api.js";
import { confirm } from "../dialogs.js";
import { heard, isBehind, whoDeployed } from "../draft.js";
import { h } from "../dom.js";
import { time } from "../format.js";
import { session } from "../session.js";
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
      // what is shown is from what was in force just now, and deployed in its place alone
      const deployAgain = async (why) => {
        const { changes, deployment } = await get(path, { signal, once: true });
        const done = await confirm({
          title: t.deployments.again(it.number),
          says: [why, t.deployments.againSays(it.number)],
          list: changes,
          action: t.draft.deploy,
          kind: "primary",
          run: async () => {
            try {
              return await send("POST", `${path}/deploy`, { seen: deployment });
            } catch (error) {
              if (!isBehind(error)) throw error;
              return { overtaken: whoDeployed(error) };
            }
          },
        });
        if (!done) return;
        if (done.overtaken) {
          if (!signal.aborted) await deployAgain(`${done.overtaken} ${t.deployments.lookAgain}`);
          return;
        }
        toast(t.draft.deployed(done.number));
        again();
        await heard(refreshApp);
      };
      return [
        pageHead(
          [t.deployments.number(it.number), it.in_force && [" ", badge(t.deployments.inForce, "good")]],
          it.name,
          !it.in_force && button(t.deployments.deployAgain, { kind: "primary", needs: "owner", press: () => deployAgain() }),
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
  let last = session.app?.deployment?.number;
  const follow = () => {
    const now = session.app?.deployment?.number;
    if (now !== last) again();
    last = now;
  };
  document.addEventListener("app", follow, { signal });
}
