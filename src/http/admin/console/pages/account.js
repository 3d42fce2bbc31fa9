// One's own account: password, second factor, sessions.

import { get, send } from "../api.js";
import { ask } from "../dialogs.js";
import { h, replace } from "../dom.js";
import { session } from "../session.js";
import { t } from "../texts.js";
import { badge, button, card, copyable, facts, field, input, pageHead, toast } from "../ui.js";
import { sessionsOf } from "./admins.js";

export const title = () => t.account.title;

const passwordInput = (name, autocomplete) => input({ name, type: "password", autocomplete, required: true });

export async function render({ root, signal }) {
  const { who, role } = session.asker;
  const setPassword = async () => {
    const current = passwordInput("current", "current-password");
    const password = input({ name: "password", type: "password", autocomplete: "new-password", required: true, minlength: "12", maxlength: "128" });
    const done = await ask({
      title: t.account.setPassword,
      fields: [field(t.account.current, current), field(t.admins.newPassword, password, { help: t.account.passwordHelp })],
      action: t.account.setPassword,
      run: () => send("PUT", "/v1/admin/me/password", { current: current.value, password: password.value }),
    });
    if (done) (toast(t.account.passwordDone), again());
  };
  const setTotp = async () => {
    const { secret, uri } = await send("POST", "/v1/admin/me/totp", undefined, { signal });
    const password = passwordInput("password", "current-password");
    const code = input({ name: "code", inputmode: "numeric", autocomplete: "one-time-code", maxlength: "6", pattern: "[0-9]{6}", required: true });
    const done = await ask({
      title: t.account.totpTitle,
      fields: [
        h("p", null, t.account.totpHow),
        h("p", null, copyable(secret)),
        h("p", null, h("a", { href: uri }, t.account.totpOpen)),
        field(t.login.code, code, { help: t.account.codeHelp }),
        field(t.account.current, password),
      ],
      action: t.account.setTotp,
      run: () => send("PUT", "/v1/admin/me/totp", { password: password.value, secret, code: code.value }),
    });
    if (done) (toast(t.account.totpDone), showTotp());
  };
  const removeTotp = async () => {
    const password = passwordInput("password", "current-password");
    const done = await ask({
      title: t.account.removeTotpTitle,
      fields: [h("p", null, t.account.removeTotpSays), field(t.account.current, password)],
      action: t.account.removeTotp,
      kind: "danger",
      run: () => send("DELETE", "/v1/admin/me/totp", { password: password.value }),
    });
    if (done) (toast(t.account.totpRemoved), showTotp());
  };
  const factor = h("div", { class: "factor" });
  const showTotp = async () => {
    const { totp } = await get("/v1/admin/me", { signal });
    replace(
      factor,
      card(
        [t.account.totp, " ", totp ? badge(t.on, "good") : badge(t.off)],
        {
          about: t.account.totpAbout,
          actions: [button(totp ? t.account.anew : t.account.setTotp, { press: setTotp }), totp && button(t.account.removeTotp, { kind: "quiet-danger", press: removeTotp })],
        },
      ),
    );
  };
  const sessions = h("div");
  root.append(
    pageHead(t.account.title, t.account.about),
    card(t.account.who, {}, facts([[t.admins.name, h("strong", null, who)], [t.admins.role, [badge(role), " ", h("span", { class: "soft" }, t.ownRole[role])]]])),
    card(t.account.password, { about: t.account.passwordAbout, actions: button(t.account.setPassword, { press: setPassword }) }),
    factor,
    card(t.account.sessions, {}, sessions),
  );
  const again = sessionsOf(sessions, { path: "/v1/admin/me/sessions", signal, end: ({ id }) => `/v1/admin/me/sessions/${encodeURIComponent(id)}` });
  await Promise.all([again.first, showTotp()]);
}
