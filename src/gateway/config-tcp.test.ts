/** What of a gateway file carries bytes: how it is read, and what is refused with its place. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import { parseGatewayConfig } from "./config.ts";

const FILE = `listen:
  - { name: mesh, port: 8443 }
  - { name: pg, port: 5432, protocol: tcp, alpn: postgresql, maxConnections: 500, proxyProtocol: { from: [10.0.0.0/8, "fd00::1"] } }
upstreams:
  web: { url: "http://127.0.0.1:3000" }
  postgres: { url: "unix:/run/postgresql/.s.PGSQL.5432", proxyProtocol: v2 }
  orders: { url: ["tls://orders-a:8443", "tls://[2001:db8::1]:8443"], id: "spiffe://example.org/orders", connectTimeout: 2s, health: { every: 2s } }
routes:
  - { name: web, path: "/**", upstream: web }
  - { name: db, listen: [pg], upstream: postgres, idle: 10m, maxConnectionsPerIdentity: 20 }
egress:
  - { name: orders, port: 9001, upstream: orders }
  - { name: local, socket: /run/app/orders.sock, mode: "0660", upstream: orders, idle: 5m, maxConnections: 7 }
policy:
  - { rule: web, allow: { ids: ["spiffe://example.org/web"] }, routes: [web, db] }
`;

function faults(text: string): string {
  try {
    parseGatewayConfig(text, { env: {} });
  } catch (error) {
    assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"), String(error));
    return error.message;
  }
  return "accepted";
}

describe("bytes in a gateway file", () => {
  it("are read beside HTTP, each in its own list", () => {
    const { listeners, routes, upstreams, bytes } = parseGatewayConfig(FILE);
    assert.deepEqual(
      [listeners, routes, upstreams].map((list) => list.map(({ name }) => name).join()),
      ["mesh", "web", "web"],
    );
    assert.deepEqual(routes[0]!.listeners, ["mesh"]);
    assert.deepEqual(bytes, {
      listeners: [
        {
          name: "pg",
          protocol: "tcp",
          address: "0.0.0.0",
          port: 5432,
          clientCertificate: "require",
          maxConnectionAgeMs: undefined,
          maxConnections: 500,
          proxies: ["10.0.0.0/8", "fd00::1"],
          alpn: "postgresql",
        },
      ],
      upstreams: [
        {
          name: "postgres",
          targets: [
            { url: "unix:/run/postgresql/.s.PGSQL.5432", tls: false, socketPath: "/run/postgresql/.s.PGSQL.5432" },
          ],
          id: undefined,
          unsafePlain: false,
          connectTimeoutMs: 5_000,
          proxyHeader: true,
          health: undefined,
        },
        {
          name: "orders",
          targets: [
            { url: "tls://orders-a:8443", tls: true, host: "orders-a", port: 8443 },
            { url: "tls://[2001:db8::1]:8443", tls: true, host: "2001:db8::1", port: 8443 },
          ],
          id: "spiffe://example.org/orders",
          unsafePlain: false,
          connectTimeoutMs: 2_000,
          proxyHeader: false,
          health: { everyMs: 2_000 },
        },
      ],
      routes: [{ name: "db", listeners: ["pg"], upstream: "postgres", idleMs: 600_000, maxConnectionsPerIdentity: 20 }],
      egress: [
        {
          name: "orders",
          place: { address: "127.0.0.1", port: 9001 },
          upstream: "orders",
          idleMs: 3_600_000,
          maxConnections: 1_000,
        },
        {
          name: "local",
          place: { path: "/run/app/orders.sock", mode: 0o660 },
          upstream: "orders",
          idleMs: 300_000,
          maxConnections: 7,
        },
      ],
    });
  });

  it("may be all there is: a way out needs no listener, no route and no policy", () => {
    const only = `upstreams:\n  o: { url: "tls://o:1", id: "spiffe://example.org/o" }\negress:\n  - { name: o, port: 1, upstream: o }\n`;
    const config = parseGatewayConfig(only);
    assert.deepEqual([config.listeners, config.routes, config.policy.rules], [[], [], []]);
    assert.match(faults(`${only}listen: { port: 8443 }\n`), /routes: is missing[\s\S]*policy: is missing/);
    assert.match(faults(only.replace(/egress:[\s\S]*/, "")), /listen: is missing/);
  });

  const wrong: [name: string, find: string, replace: string, said: RegExp][] = [
    [
      "a protocol that is none",
      "protocol: tcp",
      "protocol: udp",
      /^gateway\.yaml:3:\d+ listen\[1\]\.protocol: "udp" is no protocol\. Expected: http or tcp$/m,
    ],
    ["a tcp listener without port", "port: 5432, ", "", /listen\[1\]: needs "port"; a tcp listener has no usual one/],
    [
      "a tcp listener that takes no certificates",
      "protocol: tcp",
      "protocol: tcp, clientCertificate: none",
      /clientCertificate: is none on a tcp listener; nothing else than a certificate proves/,
    ],
    ["no connections", "maxConnections: 500", "maxConnections: 0", /maxConnections: 0 is no number of connections/],
    [
      "a path of a tcp route",
      "upstream: postgres,",
      'upstream: postgres, path: "/**",',
      /routes\[1\]\.path: belongs to HTTP, and this route is of a tcp listener/,
    ],
    ["a timeout of a tcp route", "idle: 10m", "timeout: 10s", /routes\[1\]\.timeout: belongs to HTTP/],
    [
      "a tcp route of an HTTP listener too",
      "listen: [pg]",
      "listen: [pg, mesh]",
      /listener "mesh" speaks HTTP, the others of this route do not/,
    ],
    [
      "a tcp listener that leads nowhere",
      "  - { name: db, listen: [pg], upstream: postgres, idle: 10m, maxConnectionsPerIdentity: 20 }\n",
      "",
      /listen\[1\]: no route is of tcp listener "pg"; its connections would go nowhere/,
    ],
    [
      "two routes of a tcp listener",
      "routes:\n",
      "routes:\n  - { name: db2, listen: [pg], upstream: postgres }\n",
      /route "db2" has listener "pg" already; nothing tells their connections apart/,
    ],
    ["two routes of one name", "name: db,", "name: web,", /a second route is called "web"/],
    [
      "a tcp route to a mistyped upstream",
      "upstream: postgres",
      "upstream: postgre",
      /there is no upstream "postgre" \(did you mean "postgres"\?/,
    ],
    [
      "an HTTP url for bytes",
      'url: "unix:/run/postgresql/.s.PGSQL.5432"',
      'url: "https://pg:5432"',
      /upstreams\.postgres\.url: "https:\/\/pg:5432" is no address for bytes/,
    ],
    ["a url without port", "tls://orders-a:8443", "tls://orders-a", /is no address for bytes/],
    ["a url with a path", "tls://orders-a:8443", "tls://orders-a:8443/x", /is no address for bytes/],
    ["a port that is none", "tls://orders-a:8443", "tls://orders-a:65536", /is no address for bytes/],
    [
      "bytes in plaintext to another machine",
      "unix:/run/postgresql/.s.PGSQL.5432",
      "tcp://pg:5432",
      /upstreams\.postgres\.url: plaintext leaves this machine; on the way everybody can read and change/,
    ],
    [
      "bytes in plaintext to a name that looks like a loopback address",
      "unix:/run/postgresql/.s.PGSQL.5432",
      "tcp://127.0.0.999:5432",
      /upstreams\.postgres\.url: plaintext leaves this machine/,
    ],
    [
      "an unsafe key where it is not needed",
      '.5432",',
      '.5432", unsafePlainUpstream: true,',
      /unsafePlainUpstream: is not needed here/,
    ],
    [
      "tls without id",
      ', id: "spiffe://example.org/orders"',
      "",
      /upstreams\.orders: tls needs "id", the SPIFFE ID that must answer/,
    ],
    ["an id in plaintext", '.5432",', '.5432", id: "spiffe://example.org/pg",', /id: cannot be checked in plaintext/],
    ["tls and plaintext in one", "tls://orders-a:8443", "tcp://127.0.0.1:1", /mixes tls with plaintext/],
    ["retries of bytes", "connectTimeout: 2s", "retries: { max: 1 }", /upstreams\.orders\.retries: unknown key/],
    [
      "an HTTP route to an upstream for bytes",
      '- { name: web, path: "/**", upstream: web }',
      '- { name: web, path: "/**", upstream: postgres }',
      /upstream "postgres" is for bytes, this route speaks HTTP/,
    ],
    [
      "an egress of everybody",
      "- { name: orders, port: 9001",
      "- { name: orders, address: 0.0.0.0, port: 9001",
      /egress\[0\]\.address: 0\.0\.0\.0 is not loopback; everybody who reaches it would speak with this gateway's identity/,
    ],
    ["an egress without a place", "port: 9001, ", "", /egress\[0\]: needs "port" or "socket"/],
    [
      "an egress with two places",
      "port: 9001",
      "port: 9001, socket: /run/a.sock",
      /egress\[0\]\.socket: stands beside address or port/,
    ],
    [
      "an egress to an upstream without id",
      "port: 9001, upstream: orders",
      "port: 9001, upstream: postgres",
      /egress\[0\]\.upstream: upstream "postgres" has no "id"; an egress goes out by mutual TLS/,
    ],
    [
      "an egress named like a listener",
      "- { name: orders, port: 9001",
      "- { name: pg, port: 9001",
      /another listener or egress is called "pg"/,
    ],
    [
      "a relative socket",
      "/run/app/orders.sock",
      "orders.sock",
      /egress\[1\]\.socket: "orders\.sock" is no path of a socket/,
    ],
    ["a socket that is too long", "/run/app/orders.sock", `/${"a".repeat(90)}`, /is no path of a socket/],
    [
      "a mode that runs",
      '"0660"',
      '"0770"',
      /egress\[1\]\.mode: "0770" is no mode of a socket; whoever may write there is let out/,
    ],
    ["a mode as a number", '"0660"', "660", /egress\[1\]\.mode: 660 is no mode/],
    [
      "proxies of everybody",
      "10.0.0.0/8",
      "0.0.0.0/0",
      /from\[0\]: "0\.0\.0\.0\/0" is everybody; whoever may send a header may take any address/,
    ],
    ["a proxy that is a name", "10.0.0.0/8", "balancer", /from\[0\]: "balancer" is no address or prefix/],
    ["a prefix that is too long", "10.0.0.0/8", "10.0.0.0/33", /from\[0\]: "10\.0\.0\.0\/33" is no address or prefix/],
    ["proxies without a list", '{ from: [10.0.0.0/8, "fd00::1"] }', "{}", /proxyProtocol: needs "from"/],
    [
      "a header of another version",
      "proxyProtocol: v2",
      "proxyProtocol: v1",
      /proxyProtocol: "v1" is no version that is sent/,
    ],
    ["a name for ALPN that is none", "alpn: postgresql", 'alpn: "a b"', /alpn: "a b" is no name of a protocol/],
    ["a path to check bytes by", "every: 2s", "path: /healthz", /health\.path: belongs to HTTP; bytes have no request/],
    ["checks without a pause", "every: 2s", "every: 10ms", /health\.every: "10ms" is too often/],
    [
      "a header of an egress",
      "connectTimeout: 2s",
      "proxyProtocol: v2",
      /egress\[0\]\.upstream: upstream "orders" is sent a PROXY header; an egress has no caller/,
    ],
    ["a mistyped key", "socket: /run", "scoket: /run", /egress\[1\]\.scoket: unknown key \(did you mean "socket"/],
    [
      "a rule that asks connections for methods",
      "routes: [web, db] }",
      "routes: [db], methods: [GET] }",
      /policy\[0\]: rule "web" allows connections of tcp routes by methods; a connection has none of these/,
    ],
    ["a rule that asks connections for a path", "routes: [web, db] }", 'routes: [db], path: "/**" }', /by path/],
  ];
  for (const [name, find, replace, said] of wrong) {
    it(`${name} is refused with its place`, () => {
      assert.ok(FILE.includes(find), find);
      assert.match(faults(FILE.replace(find, replace)), said);
      assert.equal(faults(FILE), "accepted");
    });
  }
});
