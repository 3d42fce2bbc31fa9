// The recipes of deploy/ as a test needs them: on free ports and with files of its own.

import assert from "node:assert/strict";
import { join } from "node:path";

/** The recipe with other names in it, each of which must stand there. What is put in is not looked at again. */
export function renamed(recipe, names) {
  for (const name of Object.keys(names)) assert.ok(recipe.includes(name), `the recipe has '${name}'`);
  const quoted = Object.keys(names).map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return recipe.replace(new RegExp(quoted.join("|"), "g"), (name) => names[name]);
}

/**
 * How each proxy is started from its recipe. `files` are what it needs in its folder: recipes, with the names that a
 * publisher replaces replaced, and for the rest what is Debian's in a real installation.
 */
export const FRONTS = {
  nginx: {
    secure: true,
    files: ({ home, port, passerby, site, certificate, edit }) => ({
      "passerby.conf": renamed(edit("nginx/passerby.conf"), {
        "listen 443 ssl": `listen 127.0.0.1:${port} ssl`,
        "127.0.0.1:8080": passerby,
        "127.0.0.1:3000": site,
        "/etc/ssl/news.example.pem": certificate.cert,
        "/etc/ssl/news.example.key": certificate.key,
      }),
      "nginx.conf": [
        "daemon off;",
        `pid ${home}/pid;`,
        process.getuid() === 0 ? "user root;" : "",
        "worker_processes 2;",
        "events { worker_connections 1024; }",
        "http {",
        "access_log off;",
        ...["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${home}/${kind};`),
        `include ${home}/passerby.conf;`,
        "}",
      ].join("\n"),
    }),
    args: (home) => ["-e", "stderr", "-p", home, "-c", join(home, "nginx.conf")],
  },
  caddy: {
    secure: false,
    files: ({ home, port, passerby, site, edit }) => ({
      "passerby.caddyfile": renamed(edit("caddy/Caddyfile"), {
        "news.example {": `http://127.0.0.1:${port} {`,
        "127.0.0.1:8080": passerby,
        "127.0.0.1:3000": site,
      }),
      Caddyfile: `{\nadmin off\nservers {\nmax_header_size 64KiB\n}\n}\nimport ${home}/passerby.caddyfile\n`,
    }),
    args: (home) => ["run", "--config", join(home, "Caddyfile"), "--adapter", "caddyfile"],
  },
  haproxy: {
    secure: true,
    files: ({ home, port, otherPort, passerby, site, certificate, edit }) => ({
      "haproxy.cfg": renamed(edit("haproxy/haproxy.cfg"), {
        "bind :443": `bind 127.0.0.1:${port}`,
        "127.0.0.1:8079": `127.0.0.1:${otherPort}`,
        "127.0.0.1:8080": passerby,
        "127.0.0.1:3000": site,
        "/etc/haproxy/passerby.lua": join(home, "passerby.lua"),
        "/etc/haproxy/news.example.pem": certificate.both,
      }),
      "passerby.lua": edit("haproxy/passerby.lua"),
    }),
    args: (home) => ["-db", "-f", join(home, "haproxy.cfg")],
  },
  traefik: {
    secure: true,
    files: ({ home, port, otherPort, passerby, site, certificate, edit }) => ({
      "traefik.yml": renamed(edit("traefik/traefik.yml"), {
        '":443"': `"127.0.0.1:${port}"`,
        "address: 127.0.0.1:8079":
          `address: 127.0.0.1:${otherPort}\n    transport: { lifeCycle: { graceTimeOut: 1ms } }`,
        // By itself it waits at its end for 10 s for the connections that it has with itself, and at its start for 2 s
        // for more of such files.
        "providers:\n": "providers:\n  providersThrottleDuration: 1ms\n",
        "/etc/traefik/passerby.yml": join(home, "passerby.yml"),
      }),
      "passerby.yml": renamed(edit("traefik/passerby.yml"), {
        "Host(`news.example`)": "Host(`127.0.0.1`)",
        "127.0.0.1:8079": `127.0.0.1:${otherPort}`,
        "127.0.0.1:8080": passerby,
        "127.0.0.1:3000": site,
        "/etc/ssl/news.example.pem": certificate.cert,
        "/etc/ssl/news.example.key": certificate.key,
      }),
    }),
    args: (home) => [`--configFile=${join(home, "traefik.yml")}`],
    // It listens before it has read its routers, and says 404 itself in the meantime.
    isReady: async (visitor) => {
      const answer = await visitor.visit("/passerby.js").catch(() => null);
      return answer !== null && answer.text !== "404 page not found\n";
    },
  },
  envoy: {
    secure: true,
    files: ({ port, passerby, site, certificate, edit }) => ({
      "envoy.yaml": renamed(edit("envoy/envoy.yaml"), {
        "address: 0.0.0.0, port_value: 443": `address: 127.0.0.1, port_value: ${port}`,
        "address: 127.0.0.1, port_value: 8080": `address: 127.0.0.1, port_value: ${passerby.split(":")[1]}`,
        "address: 127.0.0.1, port_value: 3000": `address: 127.0.0.1, port_value: ${site.split(":")[1]}`,
        "/etc/ssl/news.example.pem": certificate.cert,
        "/etc/ssl/news.example.key": certificate.key,
      }),
    }),
    args: (home) => ["-c", join(home, "envoy.yaml"), "--disable-hot-restart", "--log-level", "warning"],
  },
};
