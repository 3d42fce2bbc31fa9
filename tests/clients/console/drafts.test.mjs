// Two owners at one app: what is saved is what was changed, and what is deployed is what was shown.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startBrowser } from "../kit/browser.mjs";
import { Console, tokenOf, withAdmins } from "../kit/console.mjs";
import { call, startServer, SUITE_DEADLINE } from "../kit/server.mjs";

const DRAFT = "/v1/admin/draft";
const USERPASS = { name: "local-userpass", type: "local-userpass" };

describe("drafts in the console", { timeout: SUITE_DEADLINE }, () => {
  let browser;
  let server;
  let token;

  before(async () => {
    browser = await startBrowser();
    server = await withAdmins(await startServer());
    token = await tokenOf(server);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  const admin = async (method, path, body) => {
    const answer = await call(server.adminUrl, method, path, token, body);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  /** The other owner changes the draft. */
  const change = async (app) => {
    const { draft } = await admin("GET", "/v1/admin/app");
    return admin("PATCH", DRAFT, { revision: draft?.revision ?? 0, app });
  };
  const discard = async () => admin("DELETE", `${DRAFT}?revision=${(await admin("GET", DRAFT)).revision}`);
  /** The other owner deploys something else. */
  const deploy = async (edit) => {
    const app = await admin("GET", "/v1/admin/app/content");
    edit(app);
    return admin("POST", "/v1/admin/app/deploy", { app });
  };
  const changesOf = async (place) => (await admin("GET", place)).changes;

  test("saving takes nothing back that another owner changed while the form was open", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("authentication/local-userpass", "form");
    await change({ providers: { "local-userpass": { ...USERPASS, disabled: false, config: { autoConfirm: true } } } });
    // the banner tells of the draft, and the form is still as it was drawn
    await console.look();
    await console.tab.see("#draft .banner");
    await console.tab.type("[name='config.confirmEmailSubject']", "Is this yours?");
    await console.press("Save");
    assert.match(await console.dialog(), /changed the draft.+Your change is not saved/s);
    await console.decide("Save mine on top");
    await console.said("Saved into the draft");
    const { app } = await admin("GET", DRAFT);
    const { disabled, config } = app.providers["local-userpass"];
    assert.deepEqual([disabled, config.autoConfirm, config.confirmEmailSubject], [false, true, "Is this yours?"]);
    await discard();
    console.done();
  });

  test("saving what was not changed saves nothing", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("authentication/local-userpass", "form");
    await console.press("Save");
    await console.said("Nothing was changed.");
    assert.equal((await admin("GET", "/v1/admin/app")).draft, null);
    console.done();
  });

  test("origins begin as the draft has them, and a change of it meanwhile is told", async (t) => {
    await change({ allowed_request_origins: ["https://a.example"] });
    const console = await Console.of(t, browser, server);
    await console.go("authentication", "table");
    await console.press("Edit Allowed request origins");
    await console.tab.see("dialog textarea");
    const box = "dialog textarea";
    assert.equal(await console.tab.evaluate((one) => document.querySelector(one).value, box), "https://a.example");
    await change({ allowed_request_origins: ["https://a.example", "https://b.example"] });
    await console.look();
    await console.tab.type(box, "https://c.example");
    await console.decide("Save");
    await console.tab.see("dialog ::-p-text(Your change is not saved)");
    await console.decide("Show the draft");
    await console.tab.see("body:not(:has(dialog))");
    assert.deepEqual((await admin("GET", DRAFT)).app.allowed_request_origins, ["https://a.example", "https://b.example"]);
    assert.ok(!(await console.tab.evaluate(() => document.getElementById("toasts").textContent)).includes("Saved"));
    await discard();
    console.done();
  });

  test("a draft that something was deployed after is shown anew, and deployed on top of that", async (t) => {
    await change({ allowed_request_origins: ["https://a.example"] });
    const console = await Console.of(t, browser, server);
    await console.press("Review & Deploy");
    await console.tab.see("dialog .diff .after");
    const { number } = await deploy((app) => (app.providers["anon-user"].disabled = true));
    await console.decide("Deploy");
    assert.match(await console.tab.read("dialog .review .note"), new RegExp(`ada deployed ${number} .+Look at it before you deploy`));
    const told = await changesOf("/v1/admin/draft/diff");
    const shown = () => console.tab.evaluate(() => [...document.querySelectorAll("dialog .review .sentences li")].map(({ textContent }) => textContent));
    assert.equal(told.length, 2, "it would enable anonymous login again");
    assert.deepEqual(await shown(), told);
    await console.decide("Deploy");
    await console.said(`Deployment ${number + 1} is in force.`);
    const { allowed_request_origins: origins, providers } = await admin("GET", "/v1/admin/app/content");
    assert.deepEqual([origins, providers["anon-user"].disabled], [["https://a.example"], false]);
    console.done();
  });

  test("a draft that was overtaken before it is opened says so, and is deployed as shown", async (t) => {
    await change({ allowed_request_origins: ["https://d.example"] });
    const { number } = await deploy((app) => (app.providers["anon-user"].disabled = true));
    const console = await Console.of(t, browser, server);
    await console.press("Review & Deploy");
    await console.tab.see("dialog .review .note::-p-text(Something was deployed after)");
    await console.decide("Deploy");
    await console.said(`Deployment ${number + 1} is in force.`);
    console.done();
  });

  test("an older deployment is deployed again as its difference is shown, whoever else deploys meanwhile", async (t) => {
    const console = await Console.of(t, browser, server);
    await console.go("deployments/1", ".page-head");
    await deploy((app) => (app.allowed_request_origins = ["https://g.example"]));
    await console.look();
    await console.tab.see(".page .sentences ::-p-text(https://g.example)");
    // which the page does not hear of before the press
    await deploy((app) => (app.allowed_request_origins = ["https://h.example"]));
    await console.press("Deploy again");
    assert.match(await console.dialog(), /https:\/\/h\.example/);
    const { number } = await deploy((app) => (app.allowed_request_origins = ["https://i.example"]));
    await console.decide("Deploy");
    await console.tab.see(`dialog ::-p-text(ada deployed ${number})`);
    assert.match(await console.dialog(), /Look again.+https:\/\/i\.example/s);
    await console.decide("Deploy");
    await console.said(`Deployment ${number + 1} is in force.`);
    console.done();
  });

  test("what is discarded is what is shown", async (t) => {
    await change({ allowed_request_origins: ["https://e.example"] });
    const console = await Console.of(t, browser, server);
    await console.tab.see("#draft .banner");
    await change({ allowed_request_origins: ["https://f.example"] });
    await console.press("Review & Deploy");
    await console.tab.see("dialog .diff .after");
    await console.decide("Discard draft");
    assert.match(await console.dialog(), /https:\/\/f\.example/);
    await console.decide("Discard draft");
    await console.said("The draft was discarded.");
    console.done();
  });
});
