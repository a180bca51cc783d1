import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Authority, ManualClock } from "../authority/testing.ts";
import { TrustDomain } from "../id/index.ts";
import type { LogFields } from "../telemetry/logger.ts";
import type { GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import { GATEWAY, idOf, until, World } from "./world.testing.ts";

let world: World;

before(async () => {
  world = await World.create();
});

/** A gateway with one upstream, which has to have this ID. */
const config = (id: string, more: Partial<GatewayInput> = {}): GatewayInput => ({
  status: { port: 0 },
  listen: { address: "127.0.0.1", port: 0 },
  upstreams: { up: { url: "https://127.0.0.1:1", id } },
  routes: [{ name: "up", path: "/**", upstream: "up" }],
  policy: [{ rule: "web", allow: { ids: [idOf("web")] } }],
  ...more,
});

describe("warnings about the identity", () => {
  it("tell of an upstream whose trust domain has no bundle, which nobody can prove to be", async () => {
    const workload = await world.identity("gateway");
    await using gateway = await createGateway(config(idOf("orders", "other.example")), { workload });
    assert.deepEqual(gateway.readiness(), {
      ready: true,
      reasons: [],
      warnings: [
        "upstream up has to be spiffe://other.example/orders, but there is no bundle of other.example to prove it by",
      ],
    });
    await using twin = await createGateway(config(idOf("orders", "partner.example")), { workload });
    assert.deepEqual(twin.readiness().warnings, []);
  });

  it("tell of a tcp upstream whose trust domain has no bundle", async () => {
    const workload = await world.identity("gateway");
    const bytes = (domain: string): GatewayInput => ({
      status: { port: 0 },
      upstreams: { db: { url: "tls://127.0.0.1:1", id: idOf("db", domain) } },
      egress: [{ name: "db", address: "127.0.0.1", port: 0, upstream: "db" }],
    });
    await using gateway = await createGateway(bytes("other.example"), { workload });
    assert.match(gateway.readiness().warnings.join(), /^upstream db has to be .*no bundle of other\.example/);
    await using twin = await createGateway(bytes("example.org"), { workload });
    assert.deepEqual(twin.readiness().warnings, []);
  });

  it("tell of rules that let nobody in, as nothing vouches for those they allow: a line for each trust domain", async () => {
    const identity = await world.identity("gateway");
    const policy = [
      { rule: "exact", allow: { ids: [idOf("web", "other.example"), idOf("web")] } },
      { rule: "pattern", allow: { ids: ["spiffe://other.example/ns/*"] } },
      { rule: "domain", allow: { trustDomains: ["other.example", "partner.example"] } },
      { rule: "token", allow: { ids: [idOf("cron", "partner.example")], via: ["jwt"] } },
      { rule: "certificate", allow: { ids: [idOf("cron", "partner.example")], via: ["x509"] } },
      { rule: "keeps-out", deny: { trustDomains: ["third.example"] } },
    ] as const;
    await using gateway = await createGateway(config(idOf("orders"), { policy }), { workload: identity });
    assert.deepEqual(gateway.readiness(), {
      ready: true,
      reasons: [],
      warnings: [
        "rules exact, pattern, domain allow callers of other.example, but there is no bundle of other.example to verify them by",
        "rule token allows callers of partner.example, but there is no bundle of partner.example to verify them by",
      ],
    });
    const known = idOf("cron", "example.org");
    const jwtBundleFor = () => identity.jwt.jwtBundleFor(TrustDomain.parse("example.org"));
    const workload = { x509: identity.x509, jwt: { jwtBundleFor } };
    const tokens = [{ rule: "token", allow: { ids: [known, idOf("cron", "partner.example")], via: ["jwt"] } }] as const;
    await using twin = await createGateway(config(idOf("orders"), { policy: tokens }), { workload });
    assert.deepEqual(twin.readiness().warnings, []);
  });

  it("name three rules of many", async () => {
    const policy = ["a", "b", "c", "d", "e"].map((rule) => ({ rule, allow: { trustDomains: ["other.example"] } }));
    const workload = await world.identity("gateway");
    await using gateway = await createGateway(config(idOf("orders"), { policy }), { workload });
    assert.match(gateway.readiness().warnings.join(), /^rules a, b, c and 2 more allow callers of other\.example, /);
  });

  it("tell of a Workload API that is away, while what it sent last still serves", async () => {
    const entries = [{ id: GATEWAY, socket: "gateway" }];
    const authority = await Authority.start({ trustDomain: "example.org", entries });
    const identity = { socket: authority.socketFor("gateway") };
    await using gateway = await createGateway(config(idOf("orders"), { identity }));
    assert.deepEqual(gateway.readiness(), { ready: true, reasons: [], warnings: [] });
    await authority.close();
    await until(() => gateway.readiness().warnings.length > 0, "the warning");
    assert.deepEqual(gateway.readiness(), {
      ready: true,
      reasons: [],
      warnings: ["the Workload API sends nothing new at the moment: what it sent last is in use until it ends"],
    });
  });
});

describe("the log", () => {
  it("has a line when the gateway stops being ready, one when it is again, and none between", async () => {
    const lines: [string, string, LogFields | undefined][] = [];
    const say = (level: string) => (message: string, fields?: LogFields) => {
      if (/ready/.test(message)) lines.push([level, message, fields]);
    };
    const logger = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
    const clock = new ManualClock();
    const workload = await world.identity("gateway");
    const svid = workload.x509.x509Svid();
    await using gateway = await createGateway(config(idOf("orders")), { workload, logger, clock });
    await clock.advance(3_000);
    assert.deepEqual(lines, []);
    await workload.update({ svid: null });
    await clock.advance(3_000);
    const reasons = ["ERR_SPIFFE_REVOKED: The test took the identity away"];
    assert.deepEqual(gateway.readiness().reasons, reasons);
    assert.deepEqual(lines, [["error", "not ready", { reasons }]]);
    await workload.update({ svid });
    await clock.advance(3_000);
    assert.deepEqual(lines.slice(1), [["info", "ready again", undefined]]);
    await gateway.close();
    await clock.advance(3_000);
    assert.equal(lines.length, 2);
  });
});
