// Logging in: a name, a password, and a code of the second factor where it is asked for.

import { send } from "../api.js";
import { h } from "../dom.js";
import { icon } from "../icons.js";
import { t } from "../texts.js";
import { button, field, input, sentence } from "../ui.js";

export function render({ why, theme, done }) {
  const name = input({ name: "name", autocomplete: "username", required: true, autocapitalize: "none" });
  const password = input({ name: "password", type: "password", autocomplete: "current-password", required: true });
  const code = input({ name: "code", inputmode: "numeric", autocomplete: "one-time-code", maxlength: "6", pattern: "[0-9]{6}" });
  const codeField = field(t.login.code, code, { help: t.login.codeHelp });
  codeField.hidden = true;
  const said = h("div", { class: "said", role: "alert" });
  const say = (text, tone = "bad") => said.replaceChildren(h("div", { class: `note ${tone}` }, icon("warn"), h("p", null, text)));
  const enter = button(t.login.enter, { kind: "primary", type: "submit" });
  const logIn = async (event) => {
    event.preventDefault();
    if (!form.reportValidity() || form.dataset.busy) return;
    form.dataset.busy = "true";
    enter.setAttribute("aria-busy", "true");
    said.replaceChildren();
    try {
      const shown = { name: name.value.trim(), password: password.value, ...(codeField.hidden ? {} : { code: code.value }) };
      await send("POST", "/v1/admin/login", { ...shown, cookie: true });
      await done();
    } catch (error) {
      if (error.code === "code-needed" && codeField.hidden) {
        codeField.hidden = false;
        code.required = true;
        code.focus();
        say(t.login.codeNeeded, "info");
      } else {
        say(error.code === "invalid-credential" ? t.login.wrong(!codeField.hidden) : sentence(error));
        (codeField.hidden ? password : code).select();
      }
    } finally {
      delete form.dataset.busy;
      enter.removeAttribute("aria-busy");
    }
  };
  const form = h(
    "form",
    { class: "login", on: { submit: logIn } },
    h("img", { src: "/console/icon.svg", alt: "", width: "44", height: "44" }),
    h("h1", null, t.login.title),
    h("p", { class: "soft" }, t.login.about),
    said,
    field(t.login.name, name),
    field(t.login.password, password),
    codeField,
    enter,
    h("p", { class: "soft small" }, t.login.first, " ", h("code", null, "passerby admin create NAME")),
  );
  if (why === "ended") say(t.login.ended, "info");
  else if (why) say(sentence(why));
  document.body.prepend(h("main", { id: "login" }, form, h("div", { class: "corner" }, theme)));
  name.focus();
}
