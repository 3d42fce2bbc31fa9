// The pages' script: the meter, a new reader, and the reader's account. All that it knows of readers comes from /passerby.js
// and the API below /v1/.

import { logout, reader } from "/passerby.js";

const element = (id) => document.getElementById(id);

async function call(path, body) {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail ?? `${response.status}`);
  return answer;
}

async function showMeter() {
  if (document.body.dataset.kind === "member") {
    element("used").textContent = "read as much as you like";
    element("meter").hidden = true;
    return;
  }
  const response = await fetch("/v1/meters");
  // a reader of one page is not stored yet, so nothing is used
  const { meters } = response.ok ? await response.json() : { meters: [{ used: 0, limit: 3 }] };
  const { used, limit } = meters[0];
  Object.assign(element("meter"), { max: limit, value: used });
  element("used").textContent = `${used} of ${limit} free articles today`;
}

element("new-reader").addEventListener("click", async () => {
  await logout();
  location.assign("/");
});

element("account")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { email, password } = Object.fromEntries(new FormData(event.target));
  try {
    await reader();
    await call("/v1/registrations", { email, password });
    // a user who has the account already goes on as that reader, with what was read here
    await call("/v1/user/identities", { provider: "local-userpass", email, password, on_conflict: "merge" });
    location.assign("/");
  } catch (error) {
    element("trouble").textContent = error.message;
  }
});

await showMeter();
document.body.dataset.ready = "";
