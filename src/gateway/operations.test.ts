import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createFetch } from "../tls/index.ts";
import type { GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  http2Client,
  idOf,
  rawExchange,
  rawRequest,
  statusOf,
  until,
  World,
} from "./world.testing.ts";

let world: World;
let upstream: CountingUpstream;
let web: Changeable;
let guest: Changeable;

before(async () => {
  world = await World.create();
  [web, guest] = await Promise.all([world.identity("web"), world.identity("guest")]);
  upstream = await countingUpstream();
});
after(() => upstream.close());

const config = (more: Partial<GatewayInput> = {}): GatewayInput => ({
  status: { port: 0 },
  listen: { name: "mesh", address: "127.0.0.1", port: 0 },
  upstreams: { up: { url: upstream.url }, gone: { url: "http://127.0.0.1:1", retries: { max: 1 } } },
  routes: [
    { name: "up", path: "/**", upstream: "up" },
    { name: "gone", path: "/gone", upstream: "gone" },
  ],
  policy: {
    rules: [
      { rule: "web", allow: { ids: [idOf("web")] } },
      { rule: "soon", deny: { ids: [idOf("web")] }, path: "/soon", mode: "audit", until: "2099-01-01T00:00:00Z" },
    ],
    candidate: [{ rule: "guest", allow: { ids: [idOf("guest"), idOf("web")] }, methods: ["GET"] }],
  },
  ...more,
});
const url = (gateway: Gateway, path: string) => `https://127.0.0.1:${gateway.listeners[0]!.port}${path}`;
const statusText = async (gateway: Gateway, path: string) =>
  (await fetch(`http://127.0.0.1:${gateway.status.port}${path}`)).text();

describe("metrics of operations", () => {
  it("tell identity, handshakes, connections, decisions, upstreams, candidate and audits", async () => {
    const identity = await world.identity("gateway");
    await using gateway = await createGateway(config(), { workload: identity });
    const call = createFetch(web, { peer: GATEWAY });
    const ask = async (path: string, init?: RequestInit) => {
      const response = await call(url(gateway, path), init);
      await response.text();
      return response.status;
    };
    const get = createFetch(guest, { peer: GATEWAY });
    assert.equal(await ask("/"), 200);
    assert.equal(await ask("/soon"), 200);
    assert.equal(await ask("/", { method: "POST" }), 200);
    assert.equal(await ask("/gone"), 502);
    assert.equal((await get(url(gateway, "/"))).status, 403);
    await identity.update({ svid: await world.ca.issue({ id: GATEWAY }) });
    type Report = { identity: { rotations: number } };
    await until(() => (gateway.report() as Report).identity.rotations === 1);
    const text = await statusText(gateway, "/metrics");
    const lines = new Set(text.split("\n"));
    for (const line of [
      'handshakes_total{listener="mesh",reason="",result="over-limit"} 0',
      "requests_running 0",
      "svid_rotations_total 1",
      'decisions_total{verdict="allow",reason="policy.allowed"} 4',
      'decisions_total{verdict="deny",reason="policy.default-deny"} 1',
      'audit_passthroughs_total{verdict="deny",rule="soon"} 1',
      'candidate_total{result="would-allow"} 1',
      'candidate_total{result="would-deny"} 1',
      'candidate_total{result="same"} 3',
      'upstream_tries_total{upstream="up",outcome="answered"} 3',
      'upstream_tries_total{upstream="gone",outcome="unreachable"} 2',
      'upstream_retries_total{upstream="gone",granted="yes"} 1',
      'upstream_retry_budget{upstream="up"} 10',
      'upstream_breaker{upstream="up",state="closed"} 1',
      'upstream_breaker{upstream="up",state="open"} 0',
      'upstream_addresses{upstream="up",health="healthy"} 1',
      "config_last_reload_successful 1",
      "access_log_dropped_total 0",
    ])
      assert.ok(lines.has(`spiffe_edge_${line}`), line);
    assert.match(text, /^spiffe_edge_handshakes_total\{listener="mesh",reason="",result="accepted"\} [2-5]$/m);
    assert.match(text, /^spiffe_edge_svid_rotated_timestamp_seconds \d/m);
    // every label value is a name of the configuration or of a closed list
    assert.doesNotMatch(text, /127\.0\.0\.1|spiffe:\/\/|\/gone/);
  });

  it("a connection over limits.connections is closed before TLS and counted; a head over limits.headers is 431", async () => {
    const limits = { connections: 1, headers: "1KiB" };
    await using gateway = await createGateway(config({ limits }), { workload: await world.identity("gateway") });
    const { port } = gateway.listeners[0]!;
    type Report = { listeners: { counters: { open: number; overLimit: number } }[] };
    const counters = () => (gateway.report() as Report).listeners[0]!.counters;
    const long = await rawExchange(web, port, rawRequest("/", [`x-long: ${"a".repeat(2_000)}`]));
    assert.equal(statusOf(long), 431);
    await until(() => counters().open === 0);
    assert.equal(statusOf(await rawExchange(web, port, rawRequest("/"))), 200);
    await until(() => counters().open === 0);
    const session = await http2Client(web, port);
    await assert.rejects(createFetch(guest, { peer: GATEWAY })(url(gateway, "/")));
    assert.equal(counters().overLimit, 1);
    session.destroy();
    await until(() => counters().open === 0);
    assert.equal((await createFetch(web, { peer: GATEWAY })(url(gateway, "/"))).status, 200);
    assert.match(await statusText(gateway, "/metrics"), /over-limit"\} 1$/m);
  });
});
