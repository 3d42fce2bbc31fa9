#!/usr/bin/env bash
# Clients of HTTP that are given null for a body send the four letters "null".
#
# Version:  npm axios 1.21.1, got 16.1.0, ky 2.1.0, superagent 10.4.2.
# Source:   https://axios-http.com/docs/req_config (data), https://github.com/sindresorhus/got/blob/main/documentation/2-options.md#json,
#           https://github.com/sindresorhus/ky#json, https://ladjs.github.io/superagent/.
# Expected: no body, as for undefined.
# Seen:     a body of "null" where the content type is JSON; axios without one sends none.
source "$(dirname "$0")/common.sh"
npm_packages axios@1.21.1 got@16.1.0 ky@2.1.0 superagent@10.4.2

cat >"$work/send.mjs" <<'END'
import http from "node:http";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import axios from "axios";
import got from "got";
import ky from "ky";
import superagent from "superagent";

let body;
const server = http.createServer(async (request, response) => {
  body = await text(request);
  response.writeHead(200, { "content-type": "application/json" }).end("{}");
}).listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${server.address().port}/`;
const json = { headers: { "content-type": "application/json" } };
for (const [name, send] of Object.entries({
  "axios": () => axios.post(url, null, json),
  "axios-plain": () => axios.post(url, null),
  "got": () => got.post(url, { json: null }),
  "ky": () => ky.post(url, { json: null }),
  "superagent": () => superagent.post(url).type("json").send(null),
})) {
  await send();
  console.log(name, `"${body}"`);
}
server.close();
server.closeAllConnections();
END
said=$(node "$work/send.mjs")
of() { sed -n "s/^$1 //p" <<<"$said"; }
for name in axios got ky superagent; do seen "$name" '"null"' "$(of "$name")"; done
seen "axios without a content type" '""' "$(of axios-plain)"
finish
