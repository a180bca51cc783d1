import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { isSpiffeError } from "../base/index.ts";
import { createFetch } from "../tls/index.ts";
import { parseGatewayConfig } from "./config.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  idOf,
  valuesOf,
  World,
} from "./world.testing.ts";

describe("[S-21] [A-13] a route that hands tokens on", () => {
  let world: World;
  let web: Changeable;
  let upstream: CountingUpstream;
  let gateway: Gateway;

  before(async () => {
    world = await World.create();
    web = await world.identity("web");
    upstream = await countingUpstream();
    const route = { audience: [GATEWAY], upstream: "up" };
    gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { address: "127.0.0.1", port: 0, clientCertificate: "optional" },
        upstreams: { up: { url: upstream.url } },
        routes: [
          { ...route, name: "keeps", path: "/keeps/**" },
          { ...route, name: "hands", path: "/hands/**", unsafeForwardToken: true },
          { name: "plain", path: "/plain/**", upstream: "up" },
        ],
        policy: [{ rule: "all", allow: { trustDomains: ["example.org"] } }],
      },
      { workload: await world.identity("gateway") },
    );
  });
  beforeEach(() => {
    upstream.seen.length = 0;
    upstream.heads = 0;
  });
  after(async () => {
    await gateway?.close({ deadlineMs: 0 });
    await upstream?.close();
  });
  const call = async (path: string, authorization?: string) => {
    const headers = authorization === undefined ? {} : { authorization };
    const url = `https://127.0.0.1:${gateway.listeners[0]!.port}${path}`;
    const response = await createFetch(web, { peer: GATEWAY })(url, { headers });
    await response.text();
    return response.status;
  };
  const seen = () => valuesOf(upstream.seen.at(-1)!.raw, "authorization");

  it("the token reaches the upstream by that route alone, beside the identity that was verified", async () => {
    const token = `Bearer ${await world.token("cron")}`;
    for (const [path, authorization] of [
      ["/keeps/1", []],
      ["/hands/1", [token]],
      ["/plain/1", []],
      ["/keeps/2", []],
    ] as const) {
      assert.equal(await call(path, token), 200, path);
      assert.deepEqual(seen(), authorization, path);
      assert.deepEqual(valuesOf(upstream.seen.at(-1)!.raw, "x-spiffe-id"), [idOf("web")]);
    }
  });

  it("what does not verify goes nowhere, what is no token goes on everywhere", async () => {
    const stale = `Bearer ${await world.token("cron", { exp: Math.floor(Date.now() / 1_000) - 60 })}`;
    const foreign = `Bearer ${await world.token("cron", { aud: ["other"] })}`;
    for (const wrong of [stale, foreign]) {
      assert.equal(await call("/hands/1", wrong), 401);
      assert.equal(await call("/keeps/1", wrong), 401);
    }
    assert.equal(upstream.heads, 0);
    for (const path of ["/hands/1", "/keeps/1", "/plain/1"]) {
      assert.equal(await call(path, "Basic eA=="), 200);
      assert.deepEqual(seen(), ["Basic eA=="]);
    }
  });

  it("is told of at the status port", () => {
    assert.deepEqual(gateway.readiness().warnings, ["route hands hands JWT-SVIDs of its callers on to upstream up"]);
  });

  it("needs an audience, and an upstream to which nobody listens in", () => {
    const said = (route: object, up: object = { url: "http://127.0.0.1:1" }) => {
      try {
        parseGatewayConfig({
          listen: { port: 8443 },
          upstreams: { up: up as { url: string } },
          routes: [{ name: "r", path: "/", upstream: "up", audience: [GATEWAY], ...route }],
          policy: [{ rule: "all", allow: { via: ["x509"] } }],
        });
        return "accepted";
      } catch (error) {
        assert.ok(isSpiffeError(error, "ERR_SPIFFE_CONFIG"));
        return error.message;
      }
    };
    const on = { unsafeForwardToken: true };
    assert.match(said({ ...on, audience: undefined }), /routes\[0\]\.unsafeForwardToken: needs "audience" beside it/);
    assert.match(said({ unsafeForwardToken: false }), /routes\[0\]\.unsafeForwardToken: is not true/);
    const plain = { url: "http://10.0.0.1:80", unsafePlainUpstream: true };
    assert.match(said(on, plain), /upstreams\.up\.unsafePlainUpstream: route "r" forwards tokens/);
    assert.equal(said({}, plain), "accepted");
    assert.equal(said(on), "accepted");
    assert.equal(said(on, { url: "https://a.test", id: idOf("up") }), "accepted");
  });
});
