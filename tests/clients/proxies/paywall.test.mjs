// A site behind each proxy whose pages a meter counts.

import assert from "node:assert/strict";
import { posix } from "node:path";
import { after, before, describe, test } from "node:test";

import { addressOf, PROXIES, startFront } from "../kit/proxies.mjs";
import { newReader, SPOOFS } from "../kit/readers.mjs";
import { SUITE_DEADLINE } from "../kit/server.mjs";
import { startPasserby, startSite } from "../kit/upstream.mjs";

/** The line, or the block, of a recipe that makes a paywall; and the status of a page behind it. */
const PAYWALL = {
  nginx: [
    403,
    {
      "nginx/passerby.conf": {
        "    #location ~* ": "    location ~* ",
        "    #    set $passerby_meter": "        set $passerby_meter",
        "    #    proxy_pass http://site;\n    #}": "        proxy_pass http://site;\n    }",
      },
    },
  ],
  caddy: [
    402,
    {
      "caddy/Caddyfile": {
        "\t\t#@articles path": "\t\t@articles path",
        "\t\t#request_header @articles": "\t\trequest_header @articles",
      },
    },
  ],
  haproxy: [402, { "haproxy/haproxy.cfg": { "    #http-request set-header": "    http-request set-header" } }],
  traefik: [
    402,
    {
      "traefik/passerby.yml": {
        "    #articles:\n    #  entryPoints:": "    articles:\n      entryPoints:",
        "    #  rule:": "      rule:",
        "    #  priority: 15\n    #  tls: {}\n    #  middlewares:": "      priority: 15\n      tls: {}\n      middlewares:",
        "    #  service: site": "      service: site",
        "    #passerby-articles:\n    #  headers:": "    passerby-articles:\n      headers:",
      },
    },
  ],
  envoy: [
    402,
    {
      "envoy/envoy.yaml": Object.fromEntries(
        [
          '- match: { safe_regex: { regex: "(?i)(/articles/|.*(;|%5c)).*" } }',
          "  route: { cluster: site, timeout: 30s }",
          "  typed_per_filter_config:",
          "    passerby_headers:",
          '      "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute',
          "      mutations:",
          "        request_mutations:",
          "          - append: { header: { key: x-passerby-meter, value: articles } }",
        ].map((line) => [`                        #${line}\n`, `                        ${line}\n`]),
      ),
    },
  ],
};

/** Ways to ask for an article. */
const SPELLINGS = [
  "/%61rticles/4",
  "//articles/5",
  "/x/../articles/6",
  "/x/%2e%2e/articles/7",
  "/./articles/8",
  "/%2e/articles/9",
  "/articles%2f10",
  "/x%2f..%2farticles/11",
  "/x/..%2farticles/12",
  "/x/..//articles/13",
  "/%2farticles/14",
  "/ARTICLES/15",
  "/articles;x=1/16",
  "/;x/articles/17",
  "/x/..;/articles/18",
  "/x/..\\articles/19",
  "/articles\\20",
  "/x/..%5carticles/21",
  "/articles%5C22",
  "/articles/%zz",
];

/** Paths that no browser sends, which a recipe refuses or counts wherever they lead. */
const ODD = { nginx: ["/x#y"], haproxy: ["/x%zz", "/x%"] };

/** A path as a site might read it that decodes and resolves all it can, and minds neither case nor parameters. */
function asRead(path) {
  const decoded = path.split("?")[0].replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  const slashed = decoded.toLowerCase().replaceAll("\\", "/").replace(/;[^/]*/g, "");
  return posix.normalize(slashed).replace(/^[/]+/, "/");
}

const METER = '[meter.articles]\nlimit = 2\nwindow = "month"\n';
/** Accounts by e-mail address and password. */
const NAMES = "[provider.local_userpass.config]\nautoConfirm = true\n";

for (const name of PROXIES) {
  describe(`a site behind ${name}`, { timeout: SUITE_DEADLINE }, () => {
    let site;
    before(async () => {
      site = await startSite(null);
    });
    after(() => site?.close());

    test("is a paywall for the pages that a meter counts, each once, and for no others", async (t) => {
      const own = await startPasserby(t, {}, METER);
      const [over, edits] = PAYWALL[name];
      const paid = await startFront(t, name, { passerby: addressOf(own), site: site.address, edits });
      const { visitor, user } = await newReader(paid);
      const reads = async (path, status) => {
        site.requests.length = 0;
        const answer = await visitor.visit(path, { headers: SPOOFS });
        assert.equal(answer.status, status, path);
        if (status !== 200) assert.deepEqual([answer.page, site.requests], [null, []], path);
        const facts = new Map(answer.passerby.map(([header, value]) => [header.replace("x-passerby-", ""), value]));
        if (status === 200) assert.equal(facts.get("user"), user);
        return { ...answer, facts };
      };
      const read = [];
      // What a visitor writes is no part of what is asked.
      for (const path of ["/articles/1?x&operation=z", "/articles/1?utm_source=a&utm_medium=b", "/articles/2?item=1&operation=z"])
        read.push((await reads(path, 200)).facts);
      const { user: _, ...told } = Object.fromEntries(read[2]);
      assert.match(told["meter-resets"], /^\d{4}-\d\d-01T00:00:00Z$/);
      assert.deepEqual({ ...told, "meter-resets": "" }, {
        "anonymous": "true",
        "meter-limit": "2",
        "meter-remaining": "0",
        "meter-resets": "",
        "meter-used": "2",
      });
      assert.deepEqual(read.map((facts) => facts.get("meter-used")), ["1", "1", "2"]);
      const refused = await reads("/articles/3?operation=z", over);
      if (["nginx", "caddy", "haproxy"].includes(name)) assert.match(refused.text, /read what is free/);
      await reads("/articles/1", 200);
      assert.deepEqual([...(await reads("/", 200)).facts.keys()].toSorted(), ["anonymous", "user"]);
      for (const path of ODD[name] ?? []) {
        site.requests.length = 0;
        assert.deepEqual([(await visitor.visit(path)).page, site.requests], [null, []], path);
      }
      // However it is written.
      for (const path of SPELLINGS) {
        site.requests.length = 0;
        await visitor.visit(path).catch((error) => assert.match(error.code, /^ECONN|^HPE_/));
        const reached = site.requests.filter((line) => asRead(line.split(" ")[1]).startsWith("/articles/"));
        assert.deepEqual(reached, [], path);
      }
    });

    test("sends a visitor whose allowance is used up to the page of the meter, and lets an account read on", async (t) => {
      const page = "https://news.example/subscribe?from=wall";
      const own = await startPasserby(t, {}, `${METER}page = "${page}"\naccounts = "free"\n${NAMES}`);
      const [, edits] = PAYWALL[name];
      const paid = await startFront(t, name, { passerby: addressOf(own), site: site.address, edits });
      const { visitor, user } = await newReader(paid);
      for (const path of ["/articles/1", "/articles/2"]) assert.equal((await visitor.visit(path)).user, user);
      for (const method of ["GET", "POST"]) {
        site.requests.length = 0;
        const answer = await visitor.visit("/articles/3", { method, headers: SPOOFS });
        assert.deepEqual([answer.status, answer.headers.location], [303, page]);
        assert.deepEqual([answer.headers["x-passerby-meter-page"], site.requests], [undefined, []]);
      }

      const headers = { origin: paid.url, "content-type": "application/json" };
      const body = JSON.stringify({ provider: "local-userpass", email: "reader@example.com", password: "correct horse" });
      const { provider, ...names } = JSON.parse(body);
      const registered = await visitor.visit("/v1/registrations", { method: "POST", headers, body: JSON.stringify(names) });
      assert.ok(registered.status < 300, registered.text);
      const linked = await visitor.visit("/v1/user/identities", { method: "POST", headers, body });
      assert.ok(linked.status < 300, linked.text);
      const { status, passerby } = await visitor.visit("/articles/3", { headers: SPOOFS });
      assert.equal(status, 200);
      assert.deepEqual(passerby.toSorted(), [
        ["x-passerby-anonymous", "false"],
        ["x-passerby-meter-lifted", "accounts"],
        ["x-passerby-user", user],
      ]);
    });
  });
}
