// The page at "/": asks who its visitor is when the visitor wants to know, by the script that other pages use.

import { logout, reader } from "/passerby.js";

const element = (id) => document.getElementById(id);
const [enter, leave, answer] = ["enter", "leave", "answer"].map(element);
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });

const shown = (time) => date.format(new Date(time));
const paragraph = (...content) => {
  const text = document.createElement("p");
  text.append(...content);
  return text;
};
const code = (textContent) => Object.assign(document.createElement("code"), { textContent });

/** What the server has about this browser. */
async function ask() {
  const id = await reader();
  const response = await fetch("/v1/session");
  if (response.status === 401) {
    enter.hidden = true;
    return [
      paragraph("The server created ", code(id), ", and this browser did not keep the cookie that would tell it again."),
      paragraph("Browsers keep it over HTTPS, and without only if the address is that of this machine, such as localhost."),
    ];
  }
  if (!response.ok) throw new Error(`the session was answered ${response.status}`);
  const { user_id, anonymous, created, expires } = await response.json();
  leave.hidden = !anonymous;
  const until = expires === null ? "" : `, and forgotten after ${shown(expires)} unless you come back`;
  return [
    paragraph("You are ", code(user_id), "."),
    paragraph(`Known since ${shown(created)}${until}. Load this page again and ask again: you are still the same.`),
  ];
}

async function forget() {
  await logout();
  leave.hidden = true;
  enter.focus();
  return [paragraph("The user is deleted, and the cookie is gone. Who asks now is somebody else.")];
}

let working = false;
/** Does one thing at a time, and says what came of it. */
async function attempt(task) {
  if (working) return;
  working = true;
  try {
    answer.replaceChildren(...(await task()));
  } catch (error) {
    answer.replaceChildren(paragraph(`That did not work: ${error.message}.`));
  } finally {
    working = false;
  }
}

enter.addEventListener("click", () => attempt(ask));
leave.addEventListener("click", () => attempt(forget));
element("buttons").hidden = false;
