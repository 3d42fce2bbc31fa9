#!/usr/bin/env bash
# realm-web before 2.0.1 refreshes its token and repeats a request after each 401, however often.
#
# Version:  npm realm-web 1.0.0, 1.7.1, 2.0.0; 2.0.1 does not.
# Source:   https://github.com/realm/realm-js/blob/main/packages/realm-web/CHANGELOG.md.
# Expected: after a refresh that succeeded, a request that is refused again is refused.
# Seen:     5 requests and 4 refreshes against a server that says 401 four times and then 400.
#           A link with a wrong password is such a request: App Services answered it 401.
source "$(dirname "$0")/common.sh"

cat >"$work/link.mjs" <<'END'
import { once } from "node:events";
import http from "node:http";
import { createRequire } from "node:module";

const Realm = createRequire(`${process.argv[2]}/`)("realm-web");
const part = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");
const token = `${part({ alg: "HS256" })}.${part({ sub: "1", exp: 4_000_000_000 })}.signature`;
let [links, refreshes] = [0, 0];
const server = http.createServer((request, response) => {
  const answer = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  const url = `http://${request.headers.host}`;
  if (request.url.endsWith("/location")) {
    return answer(200, { deployment_model: "GLOBAL", location: "US-VA", hostname: url, ws_hostname: url });
  }
  if (request.url.endsWith("/profile")) return answer(200, { user_id: "1", identities: [], type: "normal", data: {} });
  if (request.url.endsWith("/session")) {
    refreshes += 1;
    return answer(201, { access_token: token });
  }
  if (request.url.includes("link=true")) {
    links += 1;
    return answer(links < 5 ? 401 : 400, { error: "invalid username/password", error_code: "InvalidPassword" });
  }
  return answer(200, { access_token: token, refresh_token: token, user_id: "1", device_id: "0".repeat(24) });
}).listen(0, "127.0.0.1");
await once(server, "listening");
const app = new Realm.App({ id: "app", baseUrl: `http://127.0.0.1:${server.address().port}` });
const user = await app.logIn(Realm.Credentials.anonymous());
await user.linkCredentials(Realm.Credentials.emailPassword("a@example.com", "wrong password")).catch(() => {});
console.log(`${links} requests, ${refreshes} refreshes`);
process.exit();
END
for version in 1.0.0 1.7.1 2.0.0 2.0.1; do
    npm install --prefix "$work/$version" --silent --no-audit --no-fund "realm-web@$version" >/dev/null
    expected="5 requests, 4 refreshes"
    [ "$version" != 2.0.1 ] || expected="1 requests, 0 refreshes"
    seen "realm-web $version" "$expected" "$(node "$work/link.mjs" "$work/$version")"
done
finish
