// One way to log in: whether it is enabled, and its options. Saving makes a draft and changes nothing yet.

import { save } from "../draft.js";
import { h, newId, replace } from "../dom.js";
import { session } from "../session.js";
import { t } from "../texts.js";
import { button, card, checkbox, emptyNote, errorNote, field, iconButton, input, json, note, pageHead, select, skeleton, toast, toggle } from "../ui.js";
import { stateOf } from "./authentication.js";

export const title = ({ params }) => params.provider;

/** What is at a path of names with dots. */
const at = (object, path) => path.split(".").reduce((found, name) => found?.[name], object);

/** Puts a value there. */
function put(object, path, value) {
  const names = path.split(".");
  const last = names.pop();
  names.reduce((found, name) => (found[name] ??= {}), object)[last] = value;
}

/** A provider as the draft has it. */
const stateIn = (provider) => ({ ...provider, ...provider.draft });

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** A control for an option: how it looks, and `value()`, `undefined` if it says nothing. */
function control({ name: path, kind, choices, help, required }, value, locked) {
  const name = path.split(".").pop();
  const isShown = { name: path, disabled: locked };
  const label = required ? `${name} (${t.required})` : name;
  if (kind === "bool") {
    const { shown, control: box } = toggle(name, { checked: value === true, help, locked: locked ? (help ?? t.provider.lockedField) : undefined });
    // what was never said and is off stays unsaid
    return { shown, value: () => (box.checked || value !== undefined ? box.checked : undefined) };
  }
  if (kind === "choice") {
    const options = [...(value === undefined ? [["", t.provider.byDefault]] : []), ...choices.map((one) => [one, one])];
    const box = select(options, value ?? "", isShown);
    return { shown: field(label, box, { help }), value: () => (box.value === "" ? undefined : box.value) };
  }
  if (kind === "field-list") return fieldList(label, help, value ?? [], locked);
  if (kind === "text-list") {
    // an app folder may say a single one without brackets
    const given = [value ?? []].flat();
    const box = h("textarea", { ...isShown, rows: "3", spellcheck: "false" }, given.join("\n"));
    const read = () => box.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const said = () => (same(read(), given) ? value : read().length > 0 ? read() : undefined);
    return { shown: field(label, box, { help: [help, t.provider.aLine].filter(Boolean).join(" ") }), value: said };
  }
  const isNumber = kind === "number";
  const box = input({ ...isShown, type: isNumber ? "number" : "text", value: value ?? "" });
  return { shown: field(label, box, { help }), value: () => (box.value === "" ? undefined : isNumber ? Number(box.value) : box.value) };
}

/** Fields that a login brings along: where each is in the token, what it is called in the user's data, and whether it must be there. */
function fieldList(label, help, given, locked) {
  const rows = h("ul", { class: "rows" });
  const add = (known = {}) => {
    const box = (name, label) => input({ value: known[name] ?? "", "aria-label": label, placeholder: label, disabled: locked });
    const [name, fieldName] = [box("name", t.provider.fieldName), box("field_name", t.provider.fieldAs)];
    const required = checkbox(t.required, { checked: known.required === true, disabled: locked });
    const row = h("li", null, name, fieldName, required.shown, !locked && iconButton(t.remove, "close", () => row.remove()));
    row.read = () => {
      const { field_name: _, ...rest } = known;
      const called = fieldName.value.trim();
      return { ...rest, name: name.value.trim(), ...(called ? { field_name: called } : {}), required: required.control.checked };
    };
    rows.append(row);
    return name;
  };
  given.forEach(add);
  const id = newId("fields");
  const shown = h(
    "div",
    { class: "field", role: "group", "aria-labelledby": id },
    h("p", { class: "label", id }, label),
    help && h("p", { class: "help" }, help),
    rows,
    !locked && button(t.provider.addField, { kind: "small", glyph: "plus", press: () => add().focus() }),
  );
  return {
    shown,
    value: () => {
      const read = [...rows.children].map((row) => row.read()).filter(({ name }) => name !== "");
      return read.length > 0 || given.length > 0 ? read : undefined;
    },
  };
}

export async function render({ root, params, signal, refreshApp }) {
  const place = h("div", null, skeleton(8));
  root.append(place);
  let isEdited = () => false;

  const draw = (app) => {
    const provider = app.providers.find(({ name }) => name === params.provider);
    if (!provider) {
      place.replaceChildren(pageHead(params.provider), emptyNote(t.provider.unknown, h("a", { href: "#/authentication" }, t.provider.all)));
      return;
    }
    document.title = `${provider.title} · Passerby`;
    const now = stateIn(provider);
    const locked = !provider.editable || !session.may("owner");
    const why = !provider.editable ? (provider.locked_because ?? t.provider.locked) : session.lacks("owner");
    const enabled = toggle(t.provider.enabled, { checked: now.enabled, locked: why, help: t.provider.enabledHelp });
    const options = (provider.options ?? []).map((option) => {
      const before = at(now, option.name);
      return { ...option, before, ...control(option, before, locked) };
    });
    const known = new Set(options.map(({ name }) => name));
    const rest = Object.fromEntries(Object.entries(now.config ?? {}).filter(([name]) => ![...known].some((path) => path === `config.${name}` || path.startsWith(`config.${name}.`))));

    const changed = () => options.filter(({ before, value }) => !same(before, value()));
    const isSwitched = () => enabled.control.checked !== now.enabled;
    isEdited = () => isSwitched() || changed().length > 0;
    /** What was changed, and nothing else: the rest is as that app has it. */
    const patchOn = ({ providers }) => {
      const { enabled: isOn } = stateIn(providers.find(({ name }) => name === provider.name));
      const patch = { name: provider.name, type: provider.type, disabled: isSwitched() ? !enabled.control.checked : !isOn };
      for (const { name, value } of changed()) put(patch, name, value() ?? null);
      return { providers: { [provider.name]: patch } };
    };
    const store = async () => {
      if (!isEdited()) return toast(t.provider.unchanged, "warn");
      const saved = await save(patchOn, { app, refreshApp });
      if (saved && !signal.aborted) draw(session.app);
      if (saved === true) toast(t.draft.saved);
      return undefined;
    };
    const form = h("form", { class: "provider" });
    const said = h("div", null);
    form.append(
      card(t.provider.state, {}, enabled.shown),
      options.length > 0 ? card(t.provider.options, { about: t.provider.optionsAbout }, options.map(({ shown }) => shown)) : "",
      Object.keys(rest).length > 0 ? card(t.provider.rest, { about: t.provider.restAbout }, json(rest)) : "",
      said,
      h(
        "div",
        { class: "form-actions" },
        button(t.save, { kind: "primary", type: "submit", locked: why }),
        h("a", { class: "button", href: "#/authentication" }, t.cancel),
        h("p", { class: "soft" }, t.provider.saveHelp),
      ),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (why) return;
      said.replaceChildren();
      try {
        await store();
      } catch (error) {
        said.replaceChildren(errorNote(error));
      }
    });
    replace(
      place,
      h("nav", { class: "crumbs", "aria-label": t.crumbs }, h("a", { href: "#/authentication" }, t.authentication.title)),
      pageHead([provider.title, " ", stateOf(provider)]),
      why ? note("info", h("p", null, why)) : "",
      form,
    );
  };

  const load = async () => {
    try {
      draw(await refreshApp({ signal }));
    } catch (error) {
      if (!signal.aborted) place.replaceChildren(pageHead(params.provider), errorNote(error, load));
    }
  };
  await load();
  // after the draft was deployed or discarded the page shows what is so now
  let deployed = session.app?.deployment?.number;
  let revision = session.app?.draft?.revision;
  const follow = () => {
    const { deployment, draft } = session.app ?? {};
    const isOther = deployment?.number !== deployed || (revision !== undefined && draft === null);
    [deployed, revision] = [deployment?.number, draft?.revision];
    // what is being edited is not thrown away: saving says that the draft was changed
    if (isOther && session.app && !isEdited()) draw(session.app);
  };
  document.addEventListener("app", follow, { signal });
}
