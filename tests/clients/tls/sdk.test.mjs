// The unmodified realm-web, and a WebSocket, with a server that speaks TLS itself.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { dirname } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { testCertificate } from "../kit/proxies.mjs";
import { startServerWith, SUITE_DEADLINE } from "../kit/server.mjs";

/** A program of its own, because node reads whom to trust when it begins. */
const CLIENT = `
  import * as Realm from "realm-web";
  import WebSocket from "ws";
  const app = new Realm.App({ id: "passerby", baseUrl: process.argv[1] });
  const user = await app.logIn(Realm.Credentials.anonymous());
  const socket = new WebSocket(process.argv[1].replace("https", "wss") + "/v1/socket", ["passerby.v1"], {
    headers: { authorization: "Bearer " + user.accessToken },
  });
  const hello = await new Promise((resolve, reject) => socket.once("message", resolve).once("error", reject));
  socket.terminate();
  await user.refreshAccessToken();
  console.log(JSON.stringify({ user: user.id, isLoggedIn: user.isLoggedIn, hello: JSON.parse(hello).type }));
`;

test("realm-web logs in and a socket opens over TLS of the server's own", { timeout: SUITE_DEADLINE }, async (t) => {
  const { cert, key } = await testCertificate();
  const server = await startServerWith(t, `[tls]\ncert = "${cert}"\nkey = "${key}"\n`);
  assert.match(server.url, /^https:/);
  const folder = dirname(dirname(fileURLToPath(import.meta.url)));
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", CLIENT, server.url], {
    cwd: folder,
    env: { ...process.env, NODE_EXTRA_CA_CERTS: cert },
  });
  const told = JSON.parse(stdout);
  assert.match(told.user, /^[0-9a-f]{24}$/);
  assert.deepEqual({ ...told, user: "" }, { user: "", isLoggedIn: true, hello: "hello" });
});
