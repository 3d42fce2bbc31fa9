// Every dialog of the console: what axe finds in it, in light and dark, that it fits on a phone, and where the keyboard begins.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Console, named, withAdmins } from "../kit/console.mjs";
import { call, startServerWith, SUITE_DEADLINE } from "../kit/server.mjs";

const SETTINGS = "[meter.articles]\nlimit = 3\n";
const SCREENS = [[1280, "light"], [390, "dark"]];
const CANCEL = "Cancel";
const DONE = "Done";

/** Dialogs by page: what opens them, with what is done in them, and what has the keyboard then. */
const DIALOGS = {
  USER: [
    ["Disable", CANCEL],
    ["End all sessions", CANCEL],
    ["Delete user", CANCEL],
    ["Grant more of articles", "amount"],
    ["Reset articles", CANCEL],
  ],
  users: [
    ["Create users", "kind"],
    ["Bulk action", "action", (console) => console.decide("Count users").then(() => console.tab.see("dialog .note")), CANCEL],
  ],
  authentication: [
    ["Edit Allowed request origins", "origins"],
    ["Edit Refresh token expiration", "seconds"],
  ],
  networks: [
    ["Block network", CANCEL, (console) => console.tab.type("dialog input", "nonsense").then(() => console.decide("Block network")).then(() => console.tab.see("dialog .failed")), "Block network"],
  ],
  keys: [
    ["Publish next", "use"],
    ["Rotate", CANCEL],
    ["Create API key", "name", (console) => console.tab.type("dialog input", "nightly").then(() => console.decide("Create")).then(() => console.tab.see("dialog .copyable")), DONE],
  ],
  account: [
    ["Change password", "current"],
    ["Set up", "code"],
    ["End session ", CANCEL],
  ],
  admins: [
    ["Create admin", "name"],
    ["Change rob", "role"],
    ["Disable rob", CANCEL],
    ["Delete rob", CANCEL],
    ["End session of ada", CANCEL],
  ],
};

describe("dialogs of the console", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;
  let user;

  before(async () => {
    browser = await startBrowser();
    server = await withAdmins(await startServerWith(undefined, SETTINGS));
    user = (await call(server.url, "POST", "/v1/sessions")).body.user_id;
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  /** What has the keyboard: the name of a field, or what stands on a button. */
  const keyboard = ({ tab }) => tab.evaluate(() => document.activeElement.name || document.activeElement.textContent);
  async function look(console, what) {
    for (const [width, scheme] of SCREENS) {
      await console.tab.show(width, scheme);
      assert.deepEqual(await console.faults("dialog"), [], `${what}, ${scheme}`);
      const beside = await console.tab.evaluate(() => {
        const dialog = document.querySelector("dialog");
        const { left, top, right, bottom } = dialog.getBoundingClientRect();
        return left < 0 || top < 0 || right > innerWidth || bottom > innerHeight || dialog.querySelector(".content").scrollWidth > dialog.querySelector(".content").clientWidth;
      });
      assert.ok(!beside, `${what} fits on ${width} pixels`);
    }
    await console.tab.show(1280, "light");
  }

  for (const [page, dialogs] of Object.entries(DIALOGS)) {
    test(`those of ${page === "USER" ? "one user" : page} can be read and begin where one types, or on Cancel`, async (t) => {
      const console = await Console.of(t, browser, server);
      await console.go(page === "USER" ? `users/${user}` : page, page === "users" ? "#users table" : ".card, table");
      for (const [opener, begins, act, then] of dialogs) {
        if (opener.endsWith(" ")) await console.tab.click(`main [aria-label^="${opener}"]`);
        else await console.press(opener);
        await console.dialog();
        assert.equal(await keyboard(console), begins, opener);
        await look(console, opener);
        if (act) {
          await act(console);
          assert.equal(await keyboard(console), then, opener);
          await look(console, `${opener}, then`);
        }
        if (then === DONE) await console.decide(DONE);
        else await console.cancel();
        if (!act) {
          const back = await console.tab.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent);
          assert.ok(back.startsWith(opener.trim()), `the keyboard is back where it was: ${back}`);
        }
      }
      console.done();
    });
  }

  test("the review of a draft can be read, and so can what is asked before it is discarded", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("authentication/anon-user", "form");
    await console.press("Provider Enabled", "switch");
    await console.press("Save");
    await console.press("Review & Deploy");
    await console.tab.see("dialog .diff .after");
    await look(console, "Review & Deploy");
    await console.decide("Discard draft");
    await console.tab.see(`dialog + dialog ${named("Discard draft")}`);
    assert.equal(await console.focused(), CANCEL);
    assert.deepEqual(await console.faults(), []);
    await console.tab.press("Escape");
    await console.cancel();
    await console.tab.see("#draft .banner");
    console.done();
  });
});
