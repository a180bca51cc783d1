import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import { parseGatewayConfig } from "./config.ts";
import { loadGatewayConfig } from "./config-file.ts";
import { parseDuration, parseSize } from "./units.ts";
import { parseUpstreamUrl } from "./upstream-url.ts";

const FILE = `identity:
  socket: "\${SOCKET}"
  startupTimeout: 10s
status:
  port: 9464
listen:
  - { name: mesh, port: 8443, clientCertificate: require }
  - name: edge
    port: 8444
    clientCertificate: none
upstreams:
  orders:
    url: https://orders:8443
    id: spiffe://example.org/orders
  reports:
    url: unix:/run/reports.sock
routes:
  - name: orders
    listen: [mesh, edge]
    path: /orders/**
    audience: [spiffe://example.org/gateway]
    upstream: orders
    timeout: 10s
  - name: reports
    listen: [mesh]
    path: /reports
    upstream: reports
policy:
  - rule: web-reads
    allow: { ids: ["spiffe://example.org/web"] }
    methods: [GET]
    routes: [orders]
limits:
  handshake: 5s
  body: 1MiB
  idle: 20s
drain: { deadline: 3s }
`;
const env = { SOCKET: "unix:///run/agent.sock", TIME: "9s", ODD: "s3cret" };

function faults(text: string): string {
  try {
    parseGatewayConfig(text, { env });
  } catch (error) {
    assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"), String(error));
    return error.message;
  }
  return "accepted";
}

describe("gateway file", () => {
  it("is read whole", () => {
    const config = parseGatewayConfig(FILE, { env });
    assert.equal(config.identity.socket, "unix:///run/agent.sock");
    assert.equal(config.identity.startupTimeoutMs, 10_000);
    assert.deepEqual(config.status, { address: "127.0.0.1", port: 9464 });
    assert.deepEqual(
      config.listeners.map((one) => [one.name, one.address, one.port, one.clientCertificate]),
      [
        ["mesh", "0.0.0.0", 8443, "require"],
        ["edge", "0.0.0.0", 8444, "none"],
      ],
    );
    assert.deepEqual(
      config.upstreams.map((one) => [one.name, one.id, one.targets[0]?.hostname, one.targets[0]?.socketPath]),
      [
        ["orders", "spiffe://example.org/orders", "orders", undefined],
        ["reports", undefined, undefined, "/run/reports.sock"],
      ],
    );
    assert.deepEqual(
      config.routes.map((one) => [one.name, one.path.text, one.timeoutMs, one.audience.length]),
      [
        ["orders", "/orders/**", 10_000, 1],
        ["reports", "/reports", 30_000, 0],
      ],
    );
    assert.deepEqual(config.policy.rules, ["web-reads"]);
    assert.deepEqual(config.limits, {
      connections: 10_000,
      headerBytes: 32_768,
      handshakeMs: 5_000,
      bodyBytes: 1_048_576,
      idleMs: 20_000,
    });
    assert.equal(config.drain.deadlineMs, 3_000);
  });

  it("upstreams: tries, retries and health, and what holds without them", () => {
    const with_ = (more: string) =>
      parseGatewayConfig(
        FILE.replace("    url: unix:/run/reports.sock\n", `    url: unix:/run/reports.sock\n${more}`),
        {
          env,
        },
      ).upstreams[1]!;
    const { tryTimeoutMs, retries, health } = with_("");
    assert.deepEqual([tryTimeoutMs, retries, health], [undefined, { max: 1, budget: 0.1 }, undefined]);
    assert.equal(with_("    tryTimeout: 3s\n").tryTimeoutMs, 3_000);
    assert.deepEqual(with_("    retries: { max: 0, budget: 100% }\n").retries, { max: 0, budget: 1 });
    assert.deepEqual(with_("    retries: { budget: 0% }\n").retries, { max: 1, budget: 0 });
    assert.deepEqual(with_("    health: { path: /healthz }\n").health, { path: "/healthz", everyMs: 5_000 });
    assert.deepEqual(with_('    health: { path: "/h?a=1", every: 1s }\n').health, { path: "/h?a=1", everyMs: 1_000 });
  });

  it("may be JSON, or an object of the same shape", () => {
    const input = {
      listen: { port: 8443 },
      upstreams: { a: { url: "http://127.0.0.1:1" } },
      routes: [{ name: "a", path: "/**", upstream: "a" }],
      policy: [{ rule: "r", allow: { ids: ["spiffe://example.org/web"] } }],
    } as const;
    assert.equal(parseGatewayConfig(input).listeners[0]?.name, "main");
    assert.deepEqual(parseGatewayConfig(JSON.stringify(input)).routes, parseGatewayConfig(input).routes);
  });

  it("says the sentence of an https upstream without id", () => {
    const said = faults(FILE.replace("    id: spiffe://example.org/orders\n", ""));
    assert.equal(
      said,
      'gateway.yaml:12:3 upstreams.orders: https needs "id", the SPIFFE ID that must answer; host names prove nothing here. Expected: id: "spiffe://<domain>/<path>"',
    );
  });

  it("is loaded from disk with its own name in messages", async () => {
    const directory = await mkdtemp(join(tmpdir(), "gateway-config-"));
    try {
      const good = join(directory, "good.yaml");
      const bad = join(directory, "bad.yaml");
      await writeFile(good, FILE);
      await writeFile(bad, FILE.replace("drain:", "drian:"));
      assert.equal((await loadGatewayConfig(good, { env })).routes.length, 2);
      await assert.rejects(loadGatewayConfig(bad, { env }), (error: Error) =>
        error.message.startsWith(`${bad}:37:1 drian: unknown key`),
      );
      await writeFile(bad, `${FILE}${"# \n".repeat(400_000)}`);
      await assert.rejects(loadGatewayConfig(bad, { env }), /bad\.yaml: is longer than 1 MiB/);
      await assert.rejects(loadGatewayConfig(join(directory, "none.yaml"), { env }), /cannot be read \(ENOENT\)/);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  const cases: [title: string, from: string | RegExp, to: string, message: RegExp][] = [
    [
      "a mistyped key at the top",
      "upstreams:",
      "upstream:",
      /^gateway\.yaml:11:1 upstream: unknown key \(did you mean "upstreams"\?\); .* Expected: one of identity, /m,
    ],
    [
      "a mistyped key further in",
      "clientCertificate: none",
      "clientCert: none",
      /^gateway\.yaml:10:5 listen\[1\]\.clientCert: unknown key \(did you mean "clientCertificate"\?/m,
    ],
    [
      "a key of a later version",
      "    timeout: 10s",
      "    timeout: 10s\n    retries: 1",
      /^gateway\.yaml:24:5 routes\[0\]\.retries: unknown key/m,
    ],
    [
      "an unset variable",
      "${SOCKET}",
      "${SOKET}",
      /^gateway\.yaml:2:3 identity\.socket: the variable SOKET is not set/,
    ],
    ["a variable without proper name", "${SOCKET}", "${SOCK ET}", /variable without a proper name/],
    ["an open variable", "${SOCKET}", "${SOCKET", /variable without a proper name/],
    [
      "a duration without unit",
      "startupTimeout: 10s",
      "startupTimeout: 10",
      /^gateway\.yaml:3:3 identity\.startupTimeout: 10 is no duration\. Expected: such as/,
    ],
    ["a duration with an unknown unit", "startupTimeout: 10s", "startupTimeout: 10d", /"10d" is no duration/],
    ["no duration at all", "startupTimeout: 10s", "startupTimeout: 0s", /"0s" is no duration/],
    [
      "a handshake longer than allowed",
      "handshake: 5s",
      "handshake: 11s",
      /limits\.handshake: "11s" is too long\. Expected: at most 10s/,
    ],
    [
      "no connections",
      "body: 1MiB",
      "connections: 0",
      /limits\.connections: 0 is no number of them\. Expected: .* 1 to/,
    ],
    ["heads that fit nothing", "body: 1MiB", "headers: 512B", /limits\.headers: "512B" is out of range/],
    ["a size in decimal units", "body: 1MiB", "body: 1MB", /limits\.body: "1MB" is no size/],
    ["a port too large", "port: 9464", "port: 65536", /status\.port: 65536 is no port/],
    ["a port as text", "port: 9464", 'port: "9464"', /status\.port: "9464" is no port/],
    ["a listener without name among several", "name: edge\n    port", "port", /listen\[1\]: needs "name"/],
    ["two listeners of one name", "name: edge", "name: mesh", /listen\[1\]\.name: a second listener is called "mesh"/],
    ["two listeners on one port", "port: 8444", "port: 8443", /listen\[1\]\.port: another listener has port 8443/],
    [
      "an unknown client certificate mode",
      "clientCertificate: require",
      "clientCertificate: requried",
      /listen\[0\]\.clientCertificate: "requried" is no mode/,
    ],
    [
      "an upstream without url",
      "    url: unix:/run/reports.sock\n",
      "    id: spiffe://example.org/x\n",
      /upstreams\.reports: needs "url"/,
    ],
    [
      "an id on a plain upstream",
      "unix:/run/reports.sock",
      "unix:/run/reports.sock\n    id: spiffe://example.org/r",
      /upstreams\.reports\.id: cannot be checked in plaintext/,
    ],
    [
      "unsafe by another word than true",
      "unix:/run/reports.sock",
      "http://reports:80\n    unsafePlainUpstream: yes",
      /upstreams\.reports\.unsafePlainUpstream: is not true/,
    ],
    [
      "a plain upstream on another machine",
      "unix:/run/reports.sock",
      "http://reports:80",
      /upstreams\.reports\.url: plaintext leaves this machine/,
    ],
    [
      "plaintext by a number that is no loopback",
      "unix:/run/reports.sock",
      "http://0.0.0.0:80",
      /plaintext leaves this machine/,
    ],
    [
      "plaintext to a name that only begins alike",
      "unix:/run/reports.sock",
      "http://127.0.0.1.example.org",
      /plaintext leaves this machine/,
    ],
    [
      "an unsafe key where it is not needed",
      "unix:/run/reports.sock",
      "unix:/run/reports.sock\n    unsafePlainUpstream: true",
      /unsafePlainUpstream: is not needed/,
    ],
    [
      "https and plaintext in one upstream",
      "url: https://orders:8443",
      "url: [https://orders:8443, http://127.0.0.1:80]",
      /mixes https with plaintext/,
    ],
    [
      "a try without a time",
      "url: unix:/run/reports.sock",
      "url: unix:/run/reports.sock\n    tryTimeout: fast",
      /upstreams\.reports\.tryTimeout: "fast" is no duration. Expected: such as 500ms/,
    ],
    [
      "too many retries",
      "url: unix:/run/reports.sock",
      "url: unix:/run/reports.sock\n    retries: { max: 11 }",
      /upstreams\.reports\.retries\.max: 11 is no number of retries; every one is load on an upstream that has trouble already. Expected: a whole number from 0 to 10$/m,
    ],
    [
      "half a retry",
      "url: unix:/run/reports.sock",
      "url: unix:/run/reports.sock\n    retries: { max: 0.5 }",
      /retries\.max: 0\.5 is no number of retries/,
    ],
    [
      "a budget that is no share",
      "url: unix:/run/reports.sock",
      "url: unix:/run/reports.sock\n    retries: { budget: 0.1 }",
      /upstreams\.reports\.retries\.budget: 0\.1 is no share of the requests; without one, retries multiply an outage. Expected: a percentage such as 10%$/m,
    ],
    [
      "a budget above all requests",
      "url: unix:/run/reports.sock",
      "url: unix:/run/reports.sock\n    retries: { budget: 101% }",
      /retries\.budget: "101%" is no share/,
    ],
    [
      "a mistyped budget",
      "url: unix:/run/reports.sock",
      "url: unix:/run/reports.sock\n    retries: { budgt: 10% }",
      /retries\.budgt: unknown key \(did you mean "budget"/,
    ],
    [
      "health without a path",
      "url: unix:/run/reports.sock",
      "url: unix:/run/reports.sock\n    health: { every: 5s }",
      /upstreams\.reports\.health: needs "path"; the address alone does not say whether the upstream can serve. Expected: health: \{ path/,
    ],
    [
      "a health path that no upstream gets",
      "url: unix:/run/reports.sock",
      "url: unix:/run/reports.sock\n    health: { path: /a/../b }",
      /health\.path: "\/a\/\.\.\/b" is no path to ask for; every check would fail/,
    ],
    [
      "health checks without pause",
      "url: unix:/run/reports.sock",
      "url: unix:/run/reports.sock\n    health: { path: /healthz, every: 999ms }",
      /health\.every: "999ms" is too often; checks would be a load of their own. Expected: at least 1s$/m,
    ],
    [
      "an upstream address that is there twice",
      "url: https://orders:8443",
      'url: ["https://orders:8443", "https://orders:8443"]',
      /upstreams\.orders\.url\[1\]: "https:\/\/orders:8443" is there twice; it would get twice its share/,
    ],
    [
      "more addresses than anybody dials",
      "url: https://orders:8443",
      `url: [${Array.from({ length: 65 }, (_, i) => `"https://orders-${i}:8443"`).join(", ")}]`,
      /upstreams\.orders\.url: 65 addresses are too many; each is dialled and checked by itself. Expected: at most 64/,
    ],
    [
      "a try that may take longer than all of them",
      "    id: spiffe://example.org/orders\n",
      "    id: spiffe://example.org/orders\n    tryTimeout: 11s\n",
      /^gateway\.yaml:\d+:\d+ upstreams\.orders\.tryTimeout: 11000 ms are longer than the 10000 ms of route "orders"; no try/m,
    ],
    [
      "a protocol that nobody speaks",
      "    id: spiffe://example.org/orders\n",
      "    id: spiffe://example.org/orders\n    protocol: h3\n",
      /upstreams\.orders\.protocol: "h3" is no protocol. Expected: http1 or h2/,
    ],
    [
      "an unknown way to explain",
      "limits:\n",
      "explain: all\nlimits:\n",
      /explain: "all" is none of the three. Expected: full, code or none/,
    ],
    [
      "a rate limit without a rate",
      "limits:\n",
      "limits:\n  perIdentity: { burst: 5 }\n",
      /limits\.perIdentity: needs "rate"; without one there is no limit/,
    ],
    [
      "a rate that is none",
      "limits:\n",
      "limits:\n  perIdentity: { rate: 50 }\n",
      /limits\.perIdentity\.rate: 50 is no rate. Expected: requests per s, m or h, such as 50\/s/,
    ],
    [
      "a burst of nothing",
      "limits:\n",
      "limits:\n  perIdentity: { rate: 50/s, burst: 0 }\n",
      /limits\.perIdentity\.burst: 0 is no number of requests; with less than one, nobody would be served/,
    ],
    ["an upstream url with a path", "https://orders:8443", "https://orders:8443/base", /is no address of an upstream/],
    ["an upstream url with userinfo", "https://orders:8443", "https://a@orders:8443", /is no address of an upstream/],
    [
      "an upstream id that is none",
      "id: spiffe://example.org/orders",
      "id: example.org/orders",
      /did you mean "spiffe:\/\/example\.org\/orders"\?/,
    ],
    [
      "a route to a mistyped upstream",
      "upstream: orders",
      "upstream: order",
      /routes\[0\]\.upstream: there is no upstream "order" \(did you mean "orders"\?/,
    ],
    [
      "a route of a mistyped listener",
      "listen: [mesh, edge]",
      "listen: [mesh, egde]",
      /routes\[0\]\.listen\[1\]: there is no listener "egde" \(did you mean "edge"\?/,
    ],
    ["a route without path", "    path: /reports\n", "", /routes\[1\]: needs "path"/],
    ["a route path with a wildcard inside", "path: /reports\n", "path: /re*/x\n", /routes\[1\]\.path: .*wildcard/],
    [
      "a route path with a capture inside",
      "path: /reports\n",
      'path: "/re{t}"\n',
      /routes\[1\]\.path: .*is no capture/,
    ],
    ["a capture twice", "path: /reports\n", 'path: "/{t}/{t}"\n', /routes\[1\]\.path: .*names \{t\} twice/],
    ["a route path with ** inside", "path: /reports\n", 'path: "/**/a"\n', /routes\[1\]\.path: .*before its end/],
    ["two routes of one name", "name: reports", "name: orders", /a second route is called "orders"/],
    [
      "two routes of one path on one listener",
      "path: /reports\n",
      "path: /orders/**\n",
      /route "orders" takes the same paths on the same listener/,
    ],
    [
      "a route of a listener without certificates and no audience",
      "    audience: [spiffe://example.org/gateway]\n",
      "",
      /^gateway\.yaml:18:5 routes\[0\]: listener "edge" takes no certificates, so this needs "audience"/,
    ],
    [
      "an empty audience",
      "audience: [spiffe://example.org/gateway]",
      "audience: []",
      /routes\[0\]\.audience: is empty/,
    ],
    [
      "an audience that is no list",
      "audience: [spiffe://example.org/gateway]",
      "audience: spiffe://example.org/gateway",
      /routes\[0\]\.audience: is not a list/,
    ],
    [
      "a rule for a mistyped route",
      "routes: [orders]",
      "routes: [oders]",
      /policy\[0\]\.routes\[0\]: there is no route "oders" \(did you mean "orders"\?/,
    ],
    [
      "a rule with a mistyped key",
      "methods: [GET]",
      "method: [GET]",
      /policy\[0\]\.method: unknown key \(did you mean "methods"\?/,
    ],
    [
      "an empty policy",
      /policy:[\s\S]*limits:/,
      "policy: []\nlimits:",
      /policy: is empty; every request would be denied/,
    ],
    ["no policy", /policy:[\s\S]*limits:/, "limits:", /policy: is missing; every request would be denied/],
    ["no listener", /listen:[\s\S]*upstreams:/, "upstreams:", /listen: is missing/],
    [
      "[S-26] a duplicate key",
      "drain: { deadline: 3s }",
      "drain: { deadline: 3s }\ndrain: { deadline: 4s }",
      /^gateway\.yaml:38:1 .*unique/,
    ],
    [
      "[S-26] a duplicate key further in",
      "    url: unix:/run/reports.sock\n",
      "    url: unix:/run/reports.sock\n    url: http://evil\n",
      /unique/,
    ],
    ["[S-26] an alias", "drain: { deadline: 3s }", "drain: &d { deadline: 3s }", /"&d" is an anchor/],
    ["[S-26] several documents", "drain: { deadline: 3s }", "---\ndrain: { deadline: 3s }", /second document/],
    ["an unknown tag", "deadline: 3s", "deadline: !secret 3s", /^gateway\.yaml:37:\d+ .*tag/i],
    ["a truncated file", "drain: { deadline: 3s }", "drain: { deadline: 3s", /^gateway\.yaml:\d+:\d+ /],
    ["a merge key", "drain: { deadline: 3s }", "drain: { <<: { deadline: 3s } }", /drain\.<<: unknown key/],
    [
      "a prototype key",
      "drain: { deadline: 3s }",
      "drain: { __proto__: { deadline: 3s } }",
      /no key of a configuration/,
    ],
    ["a list where a block belongs", "drain: { deadline: 3s }", "drain: [3s]", /drain: is not a block of keys/],
  ];
  for (const [title, from, to, message] of cases) {
    it(`refuses ${title}`, () => {
      assert.equal(faults(FILE), "accepted");
      const changed = FILE.replace(from, () => to);
      assert.notEqual(changed, FILE, "the case changes nothing");
      assert.match(faults(changed), message);
    });
  }

  it("refuses an empty file and one that is a list", () => {
    for (const text of ["", "# only a comment\n", "---\n"]) assert.match(faults(text), /is empty/);
    assert.match(faults("[]"), /is not a block of keys/);
  });

  it("refuses what would exhaust the reader", () => {
    const stairs = Array.from({ length: 200 }, (_, i) => `${" ".repeat(i)}a:`).join("\n");
    for (const text of ["[".repeat(60_000), `{ a: ${"{ a: ".repeat(100)}`, stairs]) {
      assert.match(faults(text), /nested too deeply/);
    }
    assert.match(faults(`x: ${"y".repeat(1_100_000)}`), /longer than 1 MiB/);
  });

  it("puts a variable in as one value, never as more YAML", () => {
    const text = FILE.replace("startupTimeout: 10s", 'startupTimeout: "${TIME}"');
    assert.equal(parseGatewayConfig(text, { env }).identity.startupTimeoutMs, 9_000);
    const sly = parseGatewayConfig(FILE, { env: { SOCKET: "unix:///a\nstatus: { port: 1 }" } });
    assert.equal(sly.status.port, 9464);
  });

  it("does not repeat what a variable held", () => {
    const said = faults(FILE.replace("startupTimeout: 10s", 'startupTimeout: "${ODD}"'));
    assert.match(said, /"\$\{ODD\}" is no duration/);
    assert.doesNotMatch(said, /s3cret/);
  });

  it("does not repeat a password or token of an upstream's address, and tells the rest of it", () => {
    for (const [url, shown] of [
      ["https://web:hidden@orders:8443", "https://…@orders:8443"],
      ["https://orders:8443/?token=hidden", "https://orders:8443/?…"],
      ["tls://web:hid@den:hidden@orders:8443", "tls://…@orders:8443"],
      ["https://orders:8443/base", "https://orders:8443/base"],
    ] as const) {
      const said = faults(FILE.replace("https://orders:8443", url));
      assert.equal(said.includes("hidden"), false, said);
      assert.ok(said.includes(`"${shown}" is no address`), said);
    }
  });

  it("tells every fault at once", () => {
    const said = faults(FILE.replace("drain:", "drian:").replace("port: 9464", "port: -1").replace("[GET]", "[get]"));
    assert.equal(said.split("\n").length, 3);
  });

  it("allows plaintext to another machine only under the key that says unsafe", () => {
    const text = FILE.replace("unix:/run/reports.sock", "http://reports:80\n    unsafePlainUpstream: true");
    assert.equal(parseGatewayConfig(text, { env }).upstreams[1]?.unsafePlain, true);
  });
});

describe("units", () => {
  it("durations", () => {
    assert.deepEqual(["500ms", "30s", "5m", "1h"].map(parseDuration), [500, 30_000, 300_000, 3_600_000]);
    for (const bad of ["", "5", "0s", "-1s", "1.5s", " 1s", "1s ", "1 s", "1S", "1d", "999999999h", "1constructor"]) {
      assert.equal(parseDuration(bad), undefined, bad);
    }
  });
  it("sizes", () => {
    assert.deepEqual(["512B", "32KiB", "10MiB", "1GiB"].map(parseSize), [512, 32_768, 10_485_760, 1_073_741_824]);
    for (const bad of ["", "5", "0B", "1KB", "1kib", "1.5MiB", "999999999999GiB"])
      assert.equal(parseSize(bad), undefined, bad);
  });
  it("upstream addresses", () => {
    assert.equal(parseUpstreamUrl("http://[::1]:80")?.hostname, "::1");
    assert.equal(parseUpstreamUrl("http://localhost:3000")?.plainRemote, false);
    assert.equal(parseUpstreamUrl("http://127.1:80")?.plainRemote, false);
    assert.equal(parseUpstreamUrl("http://[::ffff:127.0.0.1]:80")?.plainRemote, true);
    assert.equal(parseUpstreamUrl("http://10.0.0.1")?.plainRemote, true);
    assert.equal(parseUpstreamUrl("https://orders")?.port, 443);
    assert.equal(parseUpstreamUrl("unix:///run/a.sock")?.socketPath, "/run/a.sock");
    for (const bad of [
      "",
      "orders:80",
      "ftp://a",
      "http://",
      "http://a?b",
      "http://a#b",
      "http://a\\b",
      "unix:a",
      "unix:/",
      "http://a b",
      5,
      null,
    ]) {
      assert.equal(parseUpstreamUrl(bad), undefined, String(bad));
    }
  });
});
